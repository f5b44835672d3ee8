"""Members say how likely they are to recommend the mall; the newest word of each counts."""

import asyncio
from datetime import date, timedelta
from typing import Any

import pytest

from schema.ids import encode_id
from services.kpis.satisfaction import MOST_ANSWERS_A_DAY, Answer, submit_answer
from services.mall import Mall
from services.transaction import transaction
from services.users.erase import erase_user
from tests.client import Client
from tests.clock import MovableClock
from tests.factories import add_item, add_user, execute, fingerprint_of_database, give_points
from tests.journeys.steps import exchange
from tests.journeys.test_kpis import kpis

_SUBMIT = """
mutation ($input: SubmitSatisfactionInput!) { submitSatisfaction(input: $input) {
  __typename
  ... on SubmitSatisfactionSuccess { recorded }
  ... on Problem { code message }
  ... on InvalidInput { field }
  ... on LimitReached { limit period availableAgainAt }
} }
"""
RECORDED = {"__typename": "SubmitSatisfactionSuccess", "recorded": True}
TODAY = date(2026, 11, 20)


async def submit(client: Client, name: str, score: int, **more: Any) -> dict[str, Any]:
    """An answer of the member of that name."""
    asked = {"input": {"score": score, **more}}
    return (await client.data(_SUBMIT, asked, as_=name))["submitSatisfaction"]


@pytest.fixture(autouse=True)
async def members(mall: Mall) -> list[int]:
    """Ten of them, who signed in before."""
    return [await add_user(mall, f"m{n}", last_login_at=mall.clock()) for n in range(10)]


async def score_of(client: Client, first: date = TODAY, last: date = TODAY) -> float | None:
    """The net promoter score of those days."""
    return (await kpis(client, first, last))["netPromoterScore"]


async def test_promoters_less_detractors(client: Client) -> None:
    """Of ten: 9 and 10 promote, up to 6 detract, 7 and 8 do neither."""
    assert await score_of(client) is None
    for number, score in enumerate((10, 10, 9, 9, 9, 8, 7, 6, 3, 0)):
        assert await submit(client, f"m{number}", score) == RECORDED
    assert await score_of(client) == 20


async def test_the_newest_of_each_counts(
    mall: Mall, client: Client, clock: MovableClock, members: list[int]
) -> None:
    """In the period that is asked for; what was said before is kept."""
    await submit(client, "m0", 2, comment="  slow  ")
    await submit(client, "m1", 10)
    clock.advance(days=1)
    await submit(client, "m0", 9)
    tomorrow = TODAY + timedelta(days=1)
    assert await score_of(client) == 0
    assert await score_of(client, TODAY, tomorrow) == 100
    assert await score_of(client, tomorrow, tomorrow) == 100
    sql = "SELECT user_id, score, comment FROM satisfaction_answers ORDER BY id"
    kept = await execute(mall, sql)
    assert kept == [(members[0], 2, "slow"), (members[1], 10, None), (members[0], 9, None)]


async def test_about_an_exchange(mall: Mall, client: Client, members: list[int]) -> None:
    """Of one's own, and no other's."""
    await give_points(mall, members[0], 500)
    taken = await exchange(client, "m0", await add_item(mall))
    named = taken["exchange"]["id"]
    assert await submit(client, "m0", 10, exchangeId=named) == RECORDED
    before = await fingerprint_of_database(mall)
    never = encode_id("Exchange", "00000000-0000-7000-8000-000000000001")
    for name, which in (("m1", named), ("m0", never)):
        refused = await submit(client, name, 10, exchangeId=which)
        assert (refused["code"], refused["field"]) == ("INVALID_INPUT", ["exchangeId"])
        assert refused["message"] == "这不是您的兑换。"
    item = {"input": {"score": 1, "exchangeId": encode_id("ExchangeItem", 1)}}
    assert await client.error_code(_SUBMIT, item, as_="m0") == "BAD_USER_INPUT"
    assert await fingerprint_of_database(mall) == before


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({"score": -1}, "score"),
        ({"score": 11}, "score"),
        ({"score": 5, "comment": "x" * 1001}, "comment"),
        ({"score": 5, "comment": "nul\x00"}, "comment"),
    ],
)
async def test_what_no_answer_can_be(
    mall: Mall, client: Client, values: dict[str, Any], field: str
) -> None:
    """Refused, naming the field, and nothing is kept."""
    before = await fingerprint_of_database(mall)
    refused = await submit(client, "m0", **values)
    assert (refused["code"], refused["field"]) == ("INVALID_INPUT", [field])
    assert await fingerprint_of_database(mall) == before


async def test_the_longest_and_the_emptiest_comment(mall: Mall, client: Client) -> None:
    """Both are fine; blanks are none."""
    assert await submit(client, "m0", 0, comment="字" * 1000) == RECORDED
    assert await submit(client, "m1", 10, comment="   ") == RECORDED
    comments = await execute(mall, "SELECT comment FROM satisfaction_answers ORDER BY score")
    assert comments == [("字" * 1000,), (None,)]


async def test_five_times_a_day(mall: Mall, client: Client, clock: MovableClock) -> None:
    """Then not before the mall's midnight; others are not held up."""
    for _ in range(MOST_ANSWERS_A_DAY):
        assert await submit(client, "m0", 5) == RECORDED
    before = await fingerprint_of_database(mall)
    assert await submit(client, "m0", 5) == {
        "__typename": "LimitReached",
        "code": "LIMIT_REACHED",
        "message": "您今天已多次评价，感谢您的反馈！",
        "limit": 5,
        "period": "DAY",
        "availableAgainAt": "2026-11-20T16:00:00Z",
    }
    assert await fingerprint_of_database(mall) == before
    assert await submit(client, "m1", 5) == RECORDED
    clock.advance(hours=12)
    assert await submit(client, "m0", 5) == RECORDED


async def test_never_more_however_many_at_once(mall: Mall, members: list[int]) -> None:
    """Twenty at the same time: five are kept."""

    async def answer() -> None:
        async with transaction(mall.stores.write) as session:
            await submit_answer(session, Answer(members[0], 5), mall.clock(), mall.zone)

    outcomes = await asyncio.gather(*(answer() for _ in range(20)), return_exceptions=True)
    assert sum(outcome is None for outcome in outcomes) == MOST_ANSWERS_A_DAY
    assert await execute(mall, "SELECT count(*) FROM satisfaction_answers") == [(5,)]


async def test_of_who_is_erased_the_score_stays(mall: Mall, client: Client) -> None:
    """Their words go; and they say no more."""
    await submit(client, "m0", 10, comment="call me on 13800000000")
    async with transaction(mall.stores.write) as session:
        await erase_user(session, "m0", mall.clock(), timezone="Asia/Shanghai")
    assert await execute(mall, "SELECT score, comment FROM satisfaction_answers") == [(10, None)]
    assert await client.error_code(_SUBMIT, {"input": {"score": 1}}, as_="m0") == "UNAUTHENTICATED"
    assert await score_of(client) == 100
