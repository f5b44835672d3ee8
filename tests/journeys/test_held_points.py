"""Points that are gained too fast: held, seen by operators, released or taken."""

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from jobs.registry import JOBS
from models.base import MAX_POINTS
from schema.ids import decode_id, encode_id
from services.mall import Mall
from services.points.account import OPENING_BALANCE
from services.points.activate import Activated, activate_batch
from services.transaction import transaction
from settings import LimitSettings, Settings
from tests.client import Client
from tests.clock import MovableClock
from tests.factories import (
    add_task,
    add_user,
    execute,
    fingerprint_of_database,
    give_points,
    points_of,
)
from tests.jobs.due import run_due
from tests.journeys.money import grant, reverse
from tests.journeys.steps import check_in, complete
from tests.sharing import add_invite, reward

HELD = """
query ($user: ID, $first: Int, $after: String) {
  heldPoints(userId: $user, first: $first, after: $after) {
    nodes { points reason heldAt user { username } pointsRecord { id status source } }
    pageInfo { hasNextPage endCursor }
  }
}
"""
_DECIDED = """
    ... on DecideHeldPointsSuccess {
      replayed pointsRecord { status points } balance { available pending lifetimeEarned }
    }
    ... on Problem { code }
    ... on InvalidState { state }
"""
RELEASE = (
    "mutation ($input: DecideHeldPointsInput!) {"
    f" releaseHeldPoints(input: $input) {{ __typename {_DECIDED} }} }}"
)
REJECT = RELEASE.replace("releaseHeldPoints", "rejectHeldPoints")


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """A mall that holds what is above 100 points an hour."""
    limits = LimitSettings(rate_limit_factor=1_000, gains_held_above=100, invites_held_above=1)
    return replace(settings, limits=limits)


@pytest.fixture
async def alice(mall: Mall, client: Client) -> int:
    """A member, and the staff who decide on her."""
    user_id = await add_user(mall, "alice")
    for name in ("shop", "boss", "till"):
        await client.user_id(name, "service", "operator")
    return user_id


async def held(client: Client, **variables: Any) -> list[dict[str, Any]]:
    """What an operator sees."""
    answer = await client.post(HELD, variables, client.token("boss", "operator"))
    return answer["data"]["heldPoints"]["nodes"]


async def decide(client: Client, mutation: str, lot_id: str, key: str = "k") -> dict[str, Any]:
    """What an operator is answered."""
    asked = {"pointsRecordId": lot_id, "reason": "looked into it", "idempotencyKey": key}
    answer = await client.post(mutation, {"input": asked}, client.token("boss", "operator"))
    (value,) = answer["data"].values()
    return value


async def test_what_is_gained_too_fast_is_held(mall: Mall, client: Client, alice: int) -> None:
    """It counts nowhere, no job activates it, and operators are told; what fits is gained."""
    first = await grant(client, alice, 100, "a")
    above = await grant(client, alice, 1, "b")
    assert first["pointsRecord"]["status"] == "ACTIVE"
    assert above["pointsRecord"]["status"] == "PENDING"
    assert above["balance"] == {
        "available": 100,
        "pending": 1,
        "lifetimeEarned": 100,
        "lifetimeRedeemed": 0,
    }
    assert await grant(client, alice, 1, "b") == {**above, "replayed": True}
    async with transaction(mall.stores.write) as session:
        assert await activate_batch(session, mall.clock, zone=mall.zone) is None
    assert await client.data("{ leaderboard(period: ALL_TIME) { entries { points } } }") == {
        "leaderboard": {"entries": [{"points": 100}]}
    }
    [found] = await held(client)
    assert (found["points"], found["reason"]) == (1, "GAINS")
    assert found["user"] == {"username": "alice"}
    assert found["pointsRecord"]["id"] == above["pointsRecord"]["id"]
    await run_due(mall, {"alert_of_holds": JOBS["alert_of_holds"]})
    alerts = await execute(mall, "SELECT kind, facts FROM alerts")
    assert [tuple(each) for each in alerts] == [
        ("abnormal_gains", {"user_ids": [alice], "held_points": 1})
    ]


async def test_what_drips_in_is_gained(
    mall: Mall, client: Client, clock: MovableClock, alice: int
) -> None:
    """An hour's points at once, then so many an hour; more than that at once is always held."""
    assert (await grant(client, alice, 100, "a"))["pointsRecord"]["status"] == "ACTIVE"
    clock.advance(minutes=30)
    statuses = [
        (await grant(client, alice, points, f"b{points}"))["pointsRecord"]["status"]
        for points in (51, 50, 1)
    ]
    assert statuses == ["PENDING", "ACTIVE", "PENDING"]
    clock.advance(days=1)
    assert (await grant(client, alice, 101, "c"))["pointsRecord"]["status"] == "PENDING"
    assert (await grant(client, alice, 100, "d"))["pointsRecord"]["status"] == "ACTIVE"


async def test_a_check_in_is_held_like_anything_else(client: Client, alice: int) -> None:
    """The day is signed in; its points wait."""
    await grant(client, alice, 100, "a")
    answer = await check_in(client, "alice")
    assert answer["__typename"] == "CheckInSuccess"
    assert [each["pointsRecord"]["source"] for each in await held(client)] == ["check_in"]


async def test_released_points_count(mall: Mall, client: Client, alice: int) -> None:
    """Once, however often the operator says so; under whose name it happened is noted."""
    lot = (await grant(client, alice, 150, "a", reference="order"))["pointsRecord"]["id"]
    decided = await decide(client, RELEASE, lot)
    assert decided == {
        "__typename": "DecideHeldPointsSuccess",
        "replayed": False,
        "pointsRecord": {"status": "ACTIVE", "points": 150},
        "balance": {"available": 150, "pending": 0, "lifetimeEarned": 150},
    }
    assert await decide(client, RELEASE, lot) == {**decided, "replayed": True}
    other = {"code": "IDEMPOTENCY_CONFLICT", "__typename": "IdempotencyConflict"}
    assert await decide(client, REJECT, lot) == other
    again = await decide(client, REJECT, lot, "other")
    assert (again["__typename"], again["state"]) == ("InvalidState", "ACTIVE")
    assert await held(client) == []
    noted = await execute(mall, "SELECT action, kind, key, details FROM operator_actions")
    [(action, kind, key, details)] = noted
    assert (action, kind, key) == ("release_points", *map(str, decode_id(lot)))
    assert details["points"] == 150
    last = "SELECT created_by FROM points_audit_log ORDER BY sequence DESC LIMIT 1"
    assert (await execute(mall, last))[0][0].startswith("operator:")
    assert (await reverse(client, "order", "r"))["reversedPoints"] == 150
    assert await points_of(mall, alice) == 0


async def test_rejected_points_are_gone(mall: Mall, client: Client, alice: int) -> None:
    """They never reached the balance, and whoever takes them back owes nothing for them."""
    lot = (await grant(client, alice, 150, "a", reference="order"))["pointsRecord"]["id"]
    decided = await decide(client, REJECT, lot)
    assert decided["pointsRecord"] == {"status": "REVERSED", "points": 0}
    assert decided["balance"] == {"available": 0, "pending": 0, "lifetimeEarned": 0}
    assert await decide(client, REJECT, lot) == {**decided, "replayed": True}
    for key, points in (("r1", 60), ("r2", None)):
        taken = await reverse(client, "order", key, points)
        assert taken["owedPoints"] == 0
    owed = await execute(mall, "SELECT owed_points, ranked_points FROM users WHERE id = 1")
    assert [tuple(each) for each in owed] == [(0, 0)]


async def test_part_of_what_is_held_may_be_taken_back_first(
    mall: Mall, client: Client, alice: int
) -> None:
    """What is left is decided on."""
    lot = (await grant(client, alice, 150, "a", reference="order"))["pointsRecord"]["id"]
    await reverse(client, "order", "r", 40)
    assert (await decide(client, RELEASE, lot))["balance"]["available"] == 110
    assert await points_of(mall, alice) == 110


async def test_points_held_back_until_a_day_are_held_on_that_day(
    mall: Mall, client: Client, clock: MovableClock, alice: int
) -> None:
    """A start in the future is no way around."""
    starts = clock.now + timedelta(days=2)
    await grant(client, alice, 150, "a", availableAt=starts.isoformat())
    assert await held(client) == []
    clock.advance(days=3)
    for _ in range(2):
        async with transaction(mall.stores.write) as session:
            await activate_batch(session, mall.clock, zone=mall.zone)
    [found] = await held(client)
    waiting = await execute(mall, "SELECT job, due_at FROM outbox WHERE job = 'alert_of_holds'")
    assert [row.due_at for row in waiting] == [clock.now]
    assert (found["points"], await points_of(mall, alice)) == (150, 0)
    assert (await decide(client, RELEASE, found["pointsRecord"]["id"]))["balance"][
        "available"
    ] == 150


async def test_what_does_not_fit_was_not_gained(
    mall: Mall, client: Client, clock: MovableClock, alice: int
) -> None:
    """Points of an account without room for them do not count as gained too fast."""
    await give_points(mall, alice, MAX_POINTS - 50, source=OPENING_BALANCE)
    starts = (clock.now + timedelta(days=2)).isoformat()
    for key in ("a", "b"):
        await grant(client, alice, 30, key, availableAt=starts)
    clock.advance(days=3)
    async with transaction(mall.stores.write) as session:
        activated = await activate_batch(session, mall.clock, zone=mall.zone)
    assert activated == Activated(1, 30)
    assert await held(client) == []
    [(full_at,)] = await execute(mall, "SELECT gains_full_at FROM users WHERE id = :id", id=alice)
    assert full_at == clock.now + timedelta(hours=30 / 100)


@pytest.mark.parametrize("mutation", [RELEASE, REJECT])
async def test_what_is_not_held_cannot_be_decided_on(
    mall: Mall, client: Client, alice: int, mutation: str
) -> None:
    """Nothing changes: an active lot, one that waits for its day, none at all, and no reason."""
    lots = [
        (await grant(client, alice, 10, "a"))["pointsRecord"]["id"],
        (await grant(client, alice, 10, "b", availableAt="2027-01-01T00:00:00Z"))["pointsRecord"][
            "id"
        ],
    ]
    before = await fingerprint_of_database(mall)
    answers = [await decide(client, mutation, lot) for lot in lots]
    assert [each["state"] for each in answers] == ["ACTIVE", "PENDING"]
    nothing = encode_id("PointsRecord", "00000000-0000-7000-8000-000000000001")
    assert (await decide(client, mutation, nothing))["code"] == "NOT_FOUND"
    asked = {"pointsRecordId": nothing, "reason": " ", "idempotencyKey": "k"}
    answer = await client.post(mutation, {"input": asked}, client.token("boss", "operator"))
    (problem,) = answer["data"].values()
    assert problem["code"] == "INVALID_INPUT"
    assert await fingerprint_of_database(mall) == before


async def test_held_points_are_listed_page_by_page(mall: Mall, client: Client, alice: int) -> None:
    """Newest first; of one member, where that is asked for."""
    bob = await add_user(mall, "bob")
    for number in range(3):
        await grant(client, alice, 101 + number, f"a{number}")
    await grant(client, bob, 500, "b")
    token = client.token("boss", "operator")
    first = (await client.post(HELD, {"first": 3}, token))["data"]["heldPoints"]
    assert [each["points"] for each in first["nodes"]] == [500, 103, 102]
    after = first["pageInfo"]["endCursor"]
    assert [each["points"] for each in await held(client, after=after)] == [101]
    whose = await held(client, user=encode_id("User", bob))
    assert [each["points"] for each in whose] == [500]


async def test_too_many_invites_in_an_hour_are_held(
    mall: Mall, client: Client, clock: MovableClock, alice: int
) -> None:
    """For who invites; the invited are paid. An hour later it counts anew."""
    task = await add_task(mall, frequency="once")
    guests = [await add_user(mall, f"guest{number}") for number in range(3)]
    for number, guest in enumerate(guests):
        if number == 2:
            assert [each["reason"] for each in await held(client)] == ["INVITES"]
            assert await points_of(mall, guests[1]) == 10 + 50
            clock.advance(hours=2)
        await add_invite(mall, alice, guest)
        await complete(client, f"guest{number}", task)
        await reward(mall)
    assert len(await held(client)) == 1
    assert await points_of(mall, alice) == 200


async def test_held_points_become_available_at_no_time(
    mall: Mall, client: Client, clock: MovableClock, alice: int
) -> None:
    """So a worker that knows of no holds passes over them; a release is when they do."""
    instants = "SELECT available_at FROM points_records ORDER BY id"
    first = (await grant(client, alice, 150, "a"))["pointsRecord"]["id"]
    await grant(client, alice, 150, "b")
    clock.advance(hours=1)
    assert (await decide(client, RELEASE, first))["__typename"] == "DecideHeldPointsSuccess"
    assert [row[0] for row in await execute(mall, instants)] == [clock.now, None]


async def test_many_who_decide_and_take_back_at_once(
    mall: Mall, client: Client, alice: int
) -> None:
    """One decision of all on a lot is done; each point is released, rejected or taken back once."""
    for number in range(6):
        name = f"order-{number}"
        given = await grant(client, alice, 150, name, reference=name)
        lot = given["pointsRecord"]["id"]
        answers = await asyncio.gather(
            *(decide(client, RELEASE, lot, f"{name} release {each}") for each in range(2)),
            *(decide(client, REJECT, lot, f"{name} reject {each}") for each in range(2)),
            *(reverse(client, name, f"{name} back {each}", 50) for each in range(2)),
        )
        decided = [each["__typename"] for each in answers[:4]]
        assert sorted(decided) == ["DecideHeldPointsSuccess", *["InvalidState"] * 3]
        assert [each["reversedPoints"] for each in answers[4:]] == [50, 50]
        assert [each["owedPoints"] for each in answers[4:]] == [0, 0]
    sums = """
        SELECT sum(points + withheld_points + rejected_points) + coalesce(
                   (SELECT sum(points) FROM lot_draws), 0) AS accounted,
               sum(points) FILTER (WHERE status = 'active') AS active FROM points_records
    """
    [(accounted, active)] = await execute(mall, sums)
    assert (accounted, active or 0) == (6 * 150, await points_of(mall, alice))
