"""Points that come back to lots which were extended, which ended, or which were taken back."""

from datetime import timedelta
from typing import Any

import pytest

from schema.ids import encode_id
from services.mall import Mall
from services.points.activate import Activated, activate_batch
from services.transaction import transaction
from tests.client import Client
from tests.clock import MovableClock
from tests.factories import add_item, add_user, execute, give_points, points_of
from tests.journeys.money import ask, grant, reverse
from tests.journeys.steps import exchange


@pytest.fixture
async def member(mall: Mall) -> int:
    """A member without points; shop and operator have signed in before."""
    for name in ("shop", "boss"):
        await add_user(mall, name, last_login_at=mall.clock())
    return await add_user(mall, "alice")


async def _spend(mall: Mall, client: Client, points: int, key: str = "key") -> str:
    item_id = await add_item(mall, points=points, type="coupon", config={"generate": True})
    return (await exchange(client, "alice", item_id, key))["exchange"]["id"]


async def _cancel(client: Client, exchange_id: str) -> Any:
    return await ask(client, "cancelExchange", "alice", "member", exchangeId=exchange_id)


async def _extend(client: Client, lot_id: object) -> Any:
    record = encode_id("PointsRecord", lot_id)
    return await ask(
        client, "extendPoints", "alice", "member", pointsRecordId=record, idempotencyKey="extend"
    )


async def test_points_cannot_be_elsewhere_while_their_lot_is_extended(
    mall: Mall, client: Client, clock: MovableClock, member: int
) -> None:
    """What an exchange held meanwhile pays its fee when it comes back, in a row that says why."""
    lot = await give_points(mall, member, 100_000, expires_at=clock() + timedelta(days=3))
    taken = await _spend(mall, client, 99_980)
    clock.advance(seconds=1)
    assert (await _extend(client, lot.id))["fee"] == 1
    done = await _cancel(client, taken)
    assert (done["refundedPoints"], done["expiredPoints"]) == (99_980, 0)
    assert done["balance"]["available"] == 99_980 + 19 - 4_999
    rows = await execute(
        mall,
        "SELECT amount, reference, details ? 'exchange' FROM points_audit_log"
        " WHERE action = 'extend' ORDER BY sequence",
    )
    assert rows == [(-1, str(lot.id), False), (-4_999, str(lot.id), True)]


async def test_points_drawn_after_the_extension_have_paid_already(
    mall: Mall, client: Client, clock: MovableClock, member: int
) -> None:
    """The fee was taken of all that the lot held then."""
    lot = await give_points(mall, member, 1_000, expires_at=clock() + timedelta(days=3))
    assert (await _extend(client, lot.id))["fee"] == 50
    clock.advance(seconds=1)
    done = await _cancel(client, await _spend(mall, client, 900))
    assert (done["refundedPoints"], done["balance"]["available"]) == (900, 950)


async def test_a_single_point_that_comes_back_is_the_fee(
    mall: Mall, client: Client, clock: MovableClock, member: int
) -> None:
    """At least one, and never more than what came back."""
    lot = await give_points(mall, member, 21, expires_at=clock() + timedelta(days=3))
    taken = await _spend(mall, client, 1)
    clock.advance(seconds=1)
    assert (await _extend(client, lot.id))["fee"] == 1
    done = await _cancel(client, taken)
    assert (done["refundedPoints"], done["balance"]["available"]) == (1, 19)


@pytest.mark.parametrize("first", ["cancel", "reverse"])
async def test_it_does_not_matter_what_is_taken_back_first(
    mall: Mall, client: Client, clock: MovableClock, member: int, first: str
) -> None:
    """The points of a purchase that was refunded lapse with a cancelled exchange: nothing is owed.

    What is taken back of the grant afterwards finds them gone, too.
    """
    ends = "2026-11-22T04:00:00Z"
    await grant(client, member, 100, "grant", reference="order-1", expiresAt=ends)
    taken = await _spend(mall, client, 60)
    clock.advance(days=3)
    if first == "cancel":
        await _cancel(client, taken)
    done = await reverse(client, "order-1", "part", 70)
    assert (done["reversedPoints"], done["owedPoints"]) == (0, 30 if first == "reverse" else 0)
    if first == "reverse":
        done = await _cancel(client, taken)
        assert (done["refundedPoints"], done["expiredPoints"]) == (0, 60)
    rest = await reverse(client, "order-1", "rest")
    assert (rest["reversedPoints"], rest["owedPoints"]) == (0, 0)
    assert (await grant(client, member, 50, "next"))["balance"]["available"] == 50
    rows = await execute(mall, "SELECT owed_points FROM users WHERE id = :id", id=member)
    assert rows == [(0,)]


async def test_only_what_the_lot_itself_lacked_is_not_owed(
    mall: Mall, client: Client, clock: MovableClock, member: int
) -> None:
    """Another grant's debt stays; what its own lot gave back of a grant counts for nothing."""
    ends = "2026-11-22T04:00:00Z"
    await grant(client, member, 100, "first", reference="order-1", expiresAt=ends)
    await grant(client, member, 80, "other", reference="order-2")
    taken = await _spend(mall, client, 50)
    await _spend(mall, client, 120, "more")
    assert (await reverse(client, "order-2", "all"))["owedPoints"] == 70
    assert (await reverse(client, "order-1", "some", 20))["owedPoints"] == 20
    clock.advance(days=3)
    assert (await _cancel(client, taken))["expiredPoints"] == 50
    rows = await execute(mall, "SELECT owed_points FROM users WHERE id = :id", id=member)
    assert rows == [(70,)]


async def test_points_that_ended_while_held_back_pay_no_debt(
    mall: Mall, client: Client, clock: MovableClock, member: int
) -> None:
    """The job came too late for them: earned and expired, and the debt is what it was."""
    await grant(client, member, 50, "first", reference="order-1")
    await _spend(mall, client, 50)
    assert (await reverse(client, "order-1", "back"))["owedPoints"] == 50
    held = {"availableAt": "2026-11-23T04:00:00Z", "expiresAt": "2026-11-25T04:00:00Z"}
    await grant(client, member, 80, "held", **held)
    clock.advance(days=5)
    async with transaction(mall.stores.bulk) as session:
        assert await activate_batch(session, mall.clock, zone=mall.zone) == Activated(1, 80)
    assert await execute(
        mall,
        "SELECT points, owed_points, lifetime_earned, lifetime_expired FROM users WHERE id = :id",
        id=member,
    ) == [(0, 50, 130, 80)]
    assert await execute(mall, "SELECT status FROM points_records WHERE points > 0") == [
        ("expired",)
    ]


async def test_the_default_end_is_counted_from_when_points_can_be_spent(
    client: Client, member: int
) -> None:
    """Held back for a year and a day they would else have ended before anybody could spend them."""
    held = await grant(client, member, 40, "key", availableAt="2027-11-21T04:00:00Z")
    assert held["pointsRecord"]["expiresAt"] == "2028-11-21T04:00:00Z"
    ends = {"availableAt": "2027-11-21T04:00:00Z", "expiresAt": "2027-11-21T04:00:00Z"}
    refused = await grant(client, member, 40, "other", **ends)
    assert (refused["code"], refused["field"]) == ("INVALID_INPUT", ["expiresAt"])


async def test_a_membership_that_has_run_out_is_not_refunded(
    mall: Mall, client: Client, clock: MovableClock, member: int
) -> None:
    """Nothing of it can be taken back, so nothing of its price is given back."""
    await give_points(mall, member, 200)
    item_id = await add_item(mall, type="vip", config={"level": 2, "days": 30})
    taken = (await exchange(client, "alice", item_id))["exchange"]["id"]
    step = {"exchangeId": taken, "status": "CANCELLED"}
    clock.advance(days=30)
    refused = await ask(client, "updateExchange", "boss", "operator", **step)
    assert (refused["code"], refused["state"]) == ("INVALID_STATE", "COMPLETED")
    assert await points_of(mall, member) == 100


async def test_points_that_came_back_before_the_extension_pay_with_the_lot(
    mall: Mall, client: Client, clock: MovableClock, member: int
) -> None:
    """They are part of what is extended: no fee of their own is due."""
    lot = await give_points(mall, member, 1_000, expires_at=clock() + timedelta(days=3))
    await _cancel(client, await _spend(mall, client, 900))
    clock.advance(seconds=1)
    done = await _extend(client, lot.id)
    assert (done["fee"], done["balance"]["available"]) == (50, 950)
