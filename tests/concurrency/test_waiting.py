"""A movement that waited for a lock decides on what it finds then, not on what it saw before.

Each test holds a lock in a transaction of its own, lets a request run into it, changes what the
request is about, and lets go.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from services.catalogue.items import ItemUnavailable, OutOfStock
from services.errors import MemberSuspended
from services.exchange.decide import ExchangeRequest, Placed
from services.exchange.place import exchange_request, place_exchanges
from services.identifiers import new_id
from services.mall import Mall
from services.points.ledger import InsufficientPoints
from services.tasks.check_in import CheckedIn, CheckInRequest
from services.transaction import transaction
from tests.clock import MovableClock
from tests.factories import add_item, add_user, execute, give_points

_WAITING = """
    SELECT count(*) FROM pg_stat_activity
    WHERE datname = current_database() AND wait_event_type = 'Lock'
"""


async def _until_somebody_waits(mall: Mall) -> None:
    async with asyncio.timeout(5):
        while (await execute(mall, _WAITING))[0][0] == 0:  # noqa: ASYNC110 - it waits elsewhere
            await asyncio.sleep(0.01)


def _request(user_id: int, item_id: int, key: str = "key") -> ExchangeRequest:
    return exchange_request(user_id, item_id, key, None, is_verified=False)


@asynccontextmanager
async def _waiting_exchange(
    mall: Mall, lock: str, request: ExchangeRequest
) -> AsyncIterator[tuple[AsyncSession, "asyncio.Task[Placed]"]]:
    """The request waits for `lock`, held by the session until the block ends."""
    async with transaction(mall.stores.write) as session:
        await session.execute(text(lock))
        waiting = asyncio.create_task(mall.exchanges.submit(request))
        await _until_somebody_waits(mall)
        yield session, waiting


@pytest.fixture
async def member(mall: Mall, clock: MovableClock) -> int:
    """A member with 20, 20 and 30 points; the first 20 end in an hour."""
    user_id = await add_user(mall, "alice")
    for hours, points in ((1, 20), (2, 20), (3, 30)):
        await give_points(mall, user_id, points, expires_at=clock() + timedelta(hours=hours))
    return user_id


_ITEM_LOCK = "SELECT 1 FROM exchange_items FOR UPDATE"
_MEMBER_LOCK = "SELECT 1 FROM users FOR UPDATE"


async def test_a_price_that_rose_meanwhile_is_paid_in_full(mall: Mall, member: int) -> None:
    """The new price, from as many lots as it takes."""
    item = await add_item(mall, points=10)
    async with _waiting_exchange(mall, _ITEM_LOCK, _request(member, item)) as (session, waiting):
        await session.execute(text("UPDATE exchange_items SET points = 60"))
    placed = await waiting
    assert (placed.points_used, placed.remaining_points) == (60, 10)
    assert [draw.points for draw in placed.paid_from or ()] == [20, 20, 20]


async def test_a_price_that_rose_beyond_the_balance_is_refused(mall: Mall, member: int) -> None:
    """Refused by the new price, whole."""
    item = await add_item(mall, points=10)
    async with _waiting_exchange(mall, _ITEM_LOCK, _request(member, item)) as (session, waiting):
        await session.execute(text("UPDATE exchange_items SET points = 71"))
    with pytest.raises(InsufficientPoints) as refused:
        await waiting
    assert (refused.value.required, refused.value.available) == (71, 70)


@pytest.mark.parametrize(
    ("change", "refusal"),
    [("total_stock = 0, stock = 0", OutOfStock), ("is_active = false", ItemUnavailable)],
)
async def test_an_item_that_went_meanwhile_is_refused(
    mall: Mall, member: int, change: str, refusal: type[Exception]
) -> None:
    """Sold out, or taken off sale, while the request waited for it."""
    item = await add_item(mall, points=10, stock=1)
    async with _waiting_exchange(mall, _ITEM_LOCK, _request(member, item)) as (session, waiting):
        await session.execute(text(f"UPDATE exchange_items SET {change}"))
    with pytest.raises(refusal):
        await waiting


async def test_points_spent_meanwhile_are_not_spent_again(mall: Mall, member: int) -> None:
    """The lots are read after the member's lock: the trap that once drew a lot below zero."""
    item = await add_item(mall, points=60)
    options = {"clock": mall.clock, "zone": mall.zone, "captcha": lambda: None}
    async with _waiting_exchange(mall, _MEMBER_LOCK, _request(member, item, "late")) as (
        session,
        waiting,
    ):
        (first,) = await place_exchanges(session, [_request(member, item, "early")], **options)
        assert isinstance(first, Placed)
    with pytest.raises(InsufficientPoints) as refused:
        await waiting
    assert refused.value.available == 10


async def test_a_key_settled_meanwhile_is_replayed(mall: Mall, member: int) -> None:
    """Earlier keys, too, are looked up after the member's lock."""
    item = await add_item(mall, points=30)
    options = {"clock": mall.clock, "zone": mall.zone, "captcha": lambda: None}
    async with _waiting_exchange(mall, _MEMBER_LOCK, _request(member, item)) as (session, waiting):
        (first,) = await place_exchanges(session, [_request(member, item)], **options)
        assert isinstance(first, Placed)
    placed = await waiting
    assert (placed.replayed, placed.exchange_id) == (True, first.exchange_id)


async def test_points_that_expired_meanwhile_are_not_spent(
    mall: Mall, member: int, clock: MovableClock
) -> None:
    """The time of a movement is that of its decision, after all waiting."""
    item = await add_item(mall, points=60)
    async with _waiting_exchange(mall, _MEMBER_LOCK, _request(member, item)) as (_, waiting):
        clock.advance(hours=1)
    with pytest.raises(InsufficientPoints) as refused:
        await waiting
    assert refused.value.available == 50


async def test_a_suspension_meanwhile_holds(mall: Mall, member: int, clock: MovableClock) -> None:
    """A member suspended while the request waited gets nothing."""
    item = await add_item(mall, points=10)
    until = clock() + timedelta(days=1)
    async with _waiting_exchange(mall, _MEMBER_LOCK, _request(member, item)) as (session, waiting):
        await session.execute(text("UPDATE users SET suspended_until = :until"), {"until": until})
    with pytest.raises(MemberSuspended):
        await waiting


async def test_a_check_in_that_waited_past_midnight_is_of_the_new_day(
    mall: Mall, member: int, clock: MovableClock
) -> None:
    """Asked for at noon, decided the next day: that day is signed in."""
    async with transaction(mall.stores.write) as session:
        await session.execute(text(_MEMBER_LOCK))
        request = CheckInRequest(member, is_verified=False, lot_id=new_id())
        waiting = asyncio.create_task(mall.check_ins.submit(request))
        await _until_somebody_waits(mall)
        clock.advance(days=1)
    done = await waiting
    assert isinstance(done, CheckedIn)
    assert done.day.isoformat() == "2026-11-21"
