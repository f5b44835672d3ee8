"""Why an exchange is refused: every Problem, when it ends, and that nothing has changed."""

from datetime import datetime, timedelta
from typing import Any

import pytest

from schema.ids import encode_id
from services.mall import Mall
from tests.client import Client
from tests.clock import MovableClock
from tests.factories import (
    add_item,
    add_user,
    execute,
    fingerprint_of_database,
    give_points,
)
from tests.journeys.steps import exchange


@pytest.fixture
async def alice(mall: Mall) -> int:
    """Alice, with 1,000 points, signed in before."""
    user_id = await add_user(mall, "alice", last_login_at=mall.clock())
    await give_points(mall, user_id, 1000)
    return user_id


async def refused(mall: Mall, client: Client, item_id: int, **more: Any) -> dict[str, Any]:
    """The refusal of an exchange, after which the database is as it was."""
    before = await fingerprint_of_database(mall)
    answer = await exchange(client, "alice", item_id, "refused", **more)
    assert answer["message"]
    assert await fingerprint_of_database(mall) == before
    return answer


@pytest.mark.usefixtures("alice")
async def test_an_item_that_does_not_exist_is_not_found(mall: Mall, client: Client) -> None:
    """The id asked for comes back."""
    answer = await refused(mall, client, 4711)
    assert (answer["code"], answer["id"]) == ("NOT_FOUND", encode_id("ExchangeItem", 4711))


@pytest.mark.usefixtures("alice")
async def test_too_few_points_say_how_many_are_needed(mall: Mall, client: Client) -> None:
    """One short is too few."""
    answer = await refused(mall, client, await add_item(mall, points=1001))
    assert answer["code"] == "INSUFFICIENT_POINTS"
    assert (answer["required"], answer["available"]) == (1001, 1000)


@pytest.mark.usefixtures("alice")
async def test_points_past_their_expiry_do_not_pay(
    mall: Mall, client: Client, clock: MovableClock
) -> None:
    """Though the lot is not settled yet: what is due counts for nothing."""
    soon = clock.now + timedelta(days=1)
    bob = await add_user(mall, "bob", last_login_at=clock.now)
    await give_points(mall, bob, 150, expires_at=soon)
    await give_points(mall, bob, 60)
    clock.now = soon
    item_id = await add_item(mall, points=100)
    answer = await exchange(client, "bob", item_id)
    assert (answer["required"], answer["available"]) == (100, 60)


@pytest.mark.usefixtures("alice")
async def test_an_item_that_is_gone_is_out_of_stock(mall: Mall, client: Client) -> None:
    """The last unit goes to one; the next is told which item it was."""
    item_id = await add_item(mall, stock=1)
    assert (await exchange(client, "alice", item_id))["exchange"]["item"]["stock"] == 0
    answer = await refused(mall, client, item_id)
    assert (answer["code"], answer["item"]) == (
        "OUT_OF_STOCK",
        {"id": encode_id("ExchangeItem", item_id)},
    )


@pytest.mark.usefixtures("alice")
async def test_an_item_that_is_not_on_sale_is_unavailable(
    mall: Mall, client: Client, clock: MovableClock
) -> None:
    """Not yet, no longer (its end is the first instant of that), or switched off."""
    second = timedelta(seconds=1)
    for columns in (
        {"available_from": clock.now + second},
        {"available_until": clock.now},
        {"is_active": False},
    ):
        item_id = await add_item(mall, **columns)
        answer = await refused(mall, client, item_id)
        assert answer["code"] == "ITEM_UNAVAILABLE"
        assert answer["item"] == {"id": encode_id("ExchangeItem", item_id)}
    window = {"available_from": clock.now, "available_until": clock.now + second}
    assert "pointsUsed" in await exchange(client, "alice", await add_item(mall, **window))


@pytest.mark.usefixtures("alice")
async def test_a_physical_item_needs_a_whole_address(mall: Mall, client: Client) -> None:
    """None, blank, overlong, or with a character that cannot be stored; the field is named."""
    item_id = await add_item(mall, type="physical", config={})
    good = {"recipient": "收" * 100, "phone": "1" * 40, "address": "地" * 500}
    assert (await refused(mall, client, item_id))["field"] == ["shipping"]
    assert (await refused(mall, client, item_id, shipping=None))["code"] == "INVALID_INPUT"
    for field, longest in {"recipient": 100, "phone": 40, "address": 500}.items():
        for value in ("", " \t\n　", "x" * (longest + 1), "a\x00"):
            answer = await refused(mall, client, item_id, shipping={**good, field: value})
            assert (answer["code"], answer["field"]) == ("INVALID_INPUT", ["shipping", field])
    assert "pointsUsed" in await exchange(client, "alice", item_id, shipping=good)


@pytest.mark.usefixtures("alice")
async def test_a_key_has_1_to_128_characters(mall: Mall, client: Client) -> None:
    """Characters, not bytes; none of them NUL."""
    item_id = await add_item(mall)
    for key in ("", "k" * 129, "a\x00b"):
        before = await fingerprint_of_database(mall)
        answer = await exchange(client, "alice", item_id, key)
        assert (answer["code"], answer["field"]) == ("INVALID_INPUT", ["idempotencyKey"])
        assert await fingerprint_of_database(mall) == before
    for key in ("k", "键" * 128, " ", "🛒\u202e"):
        assert (await exchange(client, "alice", item_id, key))["replayed"] is False


async def test_a_suspended_member_spends_nothing(
    mall: Mall, client: Client, clock: MovableClock, alice: int
) -> None:
    """Until the suspension is over."""
    until = clock.now + timedelta(days=3)
    await execute(mall, "UPDATE users SET suspended_until = :u WHERE id = :i", u=until, i=alice)
    item_id = await add_item(mall)
    answer = await refused(mall, client, item_id)
    assert (answer["code"], answer["until"]) == ("MEMBER_SUSPENDED", "2026-11-23T04:00:00Z")
    clock.now = until
    assert (await exchange(client, "alice", item_id))["pointsUsed"] == 100


@pytest.mark.parametrize(
    ("period", "again"),
    [
        ("day", "2026-11-20T16:00:00Z"),
        ("week", "2026-11-22T16:00:00Z"),
        ("month", "2026-11-30T16:00:00Z"),
        ("lifetime", None),
    ],
)
@pytest.mark.usefixtures("alice")
async def test_a_member_takes_an_item_as_often_as_its_limit_allows(
    mall: Mall, client: Client, clock: MovableClock, period: str, again: str | None
) -> None:
    """By day, week, month (all at the mall's midnight) or for ever; others have their own."""
    limit = {"per_user_limit_count": 2, "per_user_limit_period": period}
    item_id = await add_item(mall, **limit)
    for number in range(2):
        assert "pointsUsed" in await exchange(client, "alice", item_id, f"key {number}")
    answer = await refused(mall, client, item_id)
    assert (answer["code"], answer["limit"]) == ("LIMIT_REACHED", 2)
    assert (answer["period"], answer["availableAgainAt"]) == (period.upper(), again)
    await give_points(mall, await add_user(mall, "bob", last_login_at=clock.now), 100)
    assert "pointsUsed" in await exchange(client, "bob", item_id)
    clock.now = datetime.fromisoformat(again or "2027-06-20T04:00:00Z") - timedelta(microseconds=1)
    await execute(mall, "UPDATE users SET last_login_at = :now", now=clock.now)
    assert (await refused(mall, client, item_id))["code"] == "LIMIT_REACHED"
    clock.advance(microseconds=1)
    later = await exchange(client, "alice", item_id, "later")
    assert later["__typename"] == ("OneClickExchangeSuccess" if again else "LimitReached")


@pytest.mark.usefixtures("alice")
async def test_cancelled_exchanges_do_not_count_towards_a_limit(mall: Mall, client: Client) -> None:
    """What was given back may be taken again."""
    limit = {"per_user_limit_count": 1, "per_user_limit_period": "lifetime"}
    item_id = await add_item(mall, type="coupon", config={"generate": True}, **limit)
    taken = await exchange(client, "alice", item_id)
    cancel = "mutation($id: ID!) { cancelExchange(input: {exchangeId: $id}) { __typename } }"
    done = await client.data(cancel, {"id": taken["exchange"]["id"]}, as_="alice")
    assert done["cancelExchange"]["__typename"] == "CancelExchangeSuccess"
    assert (await exchange(client, "alice", item_id, "again"))["replayed"] is False


@pytest.mark.parametrize(
    ("locale", "message"),
    [
        ("zh-CN", "积分不够哦：需要 1,001 积分，您现有 1,000 积分。"),
        ("en", "You need 1,001 points and have 1,000."),
    ],
)
async def test_a_refusal_speaks_the_members_language(
    mall: Mall, client: Client, locale: str, message: str
) -> None:
    """Numbers included."""
    user_id = await add_user(mall, "alice", locale=locale, last_login_at=mall.clock())
    await give_points(mall, user_id, 1000)
    answer = await refused(mall, client, await add_item(mall, points=1001))
    assert answer["message"] == message


@pytest.mark.usefixtures("alice")
async def test_a_missing_address_is_told_in_the_members_language(
    mall: Mall, client: Client
) -> None:
    """No English words in a Chinese message."""
    item_id = await add_item(mall, type="physical", config={})
    blank = {"recipient": "", "phone": "1", "address": "x"}
    for more in ({}, {"shipping": blank}):
        message = (await refused(mall, client, item_id, **more))["message"]
        assert not any(letter.isascii() and letter.isalpha() for letter in message), message
