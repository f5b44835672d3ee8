"""Suspended: nothing by one's own hand, everything that others report as fact (decision 0013)."""

from datetime import datetime, timedelta
from typing import Any

import pytest

from schema.ids import encode_id
from services.mall import Mall
from tests.client import Client
from tests.clock import MovableClock
from tests.factories import (
    add_item,
    add_task,
    add_user,
    execute,
    fingerprint_of_database,
    give_points,
    points_of,
)
from tests.journeys.money import ask, grant, reverse
from tests.journeys.steps import check_in, complete, event, exchange, record
from tests.journeys.test_after_erasure import moving_in
from tests.journeys.test_profile import update
from tests.journeys.test_wishes import wish


@pytest.fixture
def until(clock: MovableClock) -> datetime:
    """When the suspension ends."""
    return clock.now + timedelta(days=7)


@pytest.fixture
async def alice(mall: Mall, client: Client, until: datetime) -> int:
    """Alice with 200 points from an order, 60 of them spent on a coupon; suspended then."""
    user_id = await add_user(mall, "alice", last_login_at=mall.clock())
    for name in ("shop", "boss", "till"):
        await client.user_id(name, "service", "operator")
    await grant(client, user_id, 200, "key", reference="order-1")
    coupon = await add_item(mall, type="coupon", config={"generate": True}, points=60)
    await exchange(client, "alice", coupon)
    await suspend(mall, user_id, until)
    return user_id


async def suspend(mall: Mall, user_id: int, until: datetime) -> None:
    """Suspend as an operator would."""
    await execute(mall, "UPDATE users SET suspended_until = :u WHERE id = :i", u=until, i=user_id)


async def test_nothing_by_their_own_hand(mall: Mall, client: Client, alice: int) -> None:
    """Tasks, check-ins, exchanges and extensions are refused, and change nothing."""
    task, item = await add_task(mall), await add_item(mall)
    lot = await give_points(mall, alice, 40, expires_at=mall.clock() + timedelta(days=3))
    extension = {"pointsRecordId": encode_id("PointsRecord", lot.id), "idempotencyKey": "new"}
    before = await fingerprint_of_database(mall)
    refused = [
        await complete(client, "alice", task),
        await check_in(client, "alice"),
        await exchange(client, "alice", item, "new"),
        await ask(client, "extendPoints", "alice", "member", **extension),
    ]
    assert [each["code"] for each in refused] == ["MEMBER_SUSPENDED"] * 4
    assert await fingerprint_of_database(mall) == before


async def test_what_others_report_is_booked(
    mall: Mall, client: Client, clock: MovableClock, alice: int
) -> None:
    """Purchases, grants at once and held back, opening balances, corrections, reversals."""
    who = encode_id("User", alice)
    assert (await record(client, event(alice, "e", clock.now, "purchase", amount=10)))[
        "pointsEarned"
    ] == 10
    tomorrow = (clock.now + timedelta(days=1)).isoformat().replace("+00:00", "Z")
    await grant(client, alice, 20, "now")
    await grant(client, alice, 40, "later", availableAt=tomorrow)
    assert (await moving_in(mall, "alice,80")).imported == 1
    correction: dict[str, Any] = {"userId": who, "points": -1, "reason": "r"}
    await ask(client, "adjustPoints", "boss", "operator", **correction, idempotencyKey="new")
    assert await points_of(mall, alice) == 140 + 10 + 20 + 80 - 1
    assert (await reverse(client, "order-1", "back"))["reversedPoints"] == 200
    assert await points_of(mall, alice) == 140 + 10 + 20 + 80 - 1 - 200
    clock.advance(days=1)
    run = "mutation { runExpiry { expiredPoints } }"
    assert "errors" not in await client.post(run, None, client.token("boss", "operator"))
    assert await points_of(mall, alice) == 140 + 10 + 20 + 80 - 1 - 200 + 40


async def test_it_can_be_spent_once_the_suspension_ends(
    mall: Mall, client: Client, clock: MovableClock, alice: int, until: datetime
) -> None:
    """To the point."""
    await record(client, event(alice, "e", clock.now, "purchase", amount=10))
    item = await add_item(mall, points=150)
    assert (await exchange(client, "alice", item, "new"))["code"] == "MEMBER_SUSPENDED"
    clock.now = until
    assert (await exchange(client, "alice", item, "new"))["remainingPoints"] == 0


async def test_an_automatic_task_waits_with_its_progress(
    mall: Mall, client: Client, clock: MovableClock, alice: int, until: datetime
) -> None:
    """Counted while suspended, completed by the next event or by a claim, once."""
    config = {"event": "read", "claim": "auto", "target": 2}
    by_event, by_claim = [
        await add_task(mall, frequency="once", config={**config, "event": kind})
        for kind in ("read", "see")
    ]
    for number in range(4):
        kind = ("read", "see")[number % 2]
        answer = await record(client, event(alice, f"e{number}", clock.now, kind))
        assert (answer["recorded"], answer["tasksCompleted"], answer["pointsEarned"]) == (1, 0, 0)
    states = "SELECT progress, completed_at IS NULL FROM user_tasks ORDER BY task_id"
    assert await execute(mall, states) == [(2, True)] * 2
    clock.now = until
    assert (await record(client, event(alice, "last", clock.now)))["tasksCompleted"] == 1
    assert (await complete(client, "alice", by_claim))["pointsEarned"] == 10
    for task in (by_event, by_claim):
        assert (await complete(client, "alice", task))["reason"] == "ALREADY_COMPLETED"


async def test_what_gains_nothing_stays_possible(mall: Mall, client: Client, alice: int) -> None:
    """Giving a coupon back, by oneself or by an operator, a wish, the profile."""
    item = await add_item(mall)
    [(coupon,)] = await execute(mall, "SELECT id FROM exchanges")
    assert (await wish(client, "alice", item))["item"]["isWished"] is True
    assert (await update(client, locale="en-GB"))["user"]["locale"] == "en-GB"
    cancel = {"exchangeId": encode_id("Exchange", coupon)}
    done = await ask(client, "cancelExchange", "alice", "member", **cancel)
    assert done["refundedPoints"] == 60
    assert await points_of(mall, alice) == 200
