"""Points that come back to lots which were extended, which ended, or which were taken back."""

from datetime import timedelta
from typing import Any

import pytest

from schema.ids import encode_id
from services.mall import Mall
from tests.client import Client
from tests.clock import MovableClock
from tests.factories import add_item, add_user, execute, give_points
from tests.journeys.money import ask
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
