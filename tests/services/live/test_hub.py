"""The hub: what it asks the stores for, and what it notices by itself."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from datetime import UTC, datetime

import pytest

from models.leaderboard import LeaderboardPeriod
from services.announcements import Announcement, announce
from services.leaderboard.boards import CHANNEL
from services.live.hub import Hub, open_hub
from services.live.places import read_boards
from services.mall import Mall
from services.transaction import transaction
from tests.boards import build
from tests.clock import MovableClock
from tests.factories import add_user, give_points
from tests.services.statements import Statements

ALL_TIME, DAILY = LeaderboardPeriod.ALL_TIME, LeaderboardPeriod.DAILY
MEMBERS = 40


@pytest.fixture
async def hub(statements: Statements, mall: Mall) -> AsyncIterator[Hub]:
    del statements  # listens to connections that the mall opens
    async with open_hub(mall) as opened:
        yield opened


async def tell(mall: Mall, *user_ids: int, ranked: bool = False) -> None:
    """Announce that these balances moved, in one message."""
    async with transaction(mall.stores.write) as session:
        moved = set(user_ids)
        announce(session, Announcement(moved=moved, ranked=moved if ranked else set()))


async def listening(mall: Mall) -> None:
    """Wait until a hub listens: what is announced from now on, it hears."""
    async with asyncio.timeout(30):
        asked = mall.stores.redis.pubsub_numsub
        while not dict(await asked(CHANNEL))[CHANNEL]:  # noqa: ASYNC110 - Redis says it
            await asyncio.sleep(0.01)


def balance_reads(statements: Statements) -> int:
    return sum(seen.startswith("SELECT users.id AS user_id") for seen in statements.seen)


async def test_many_balances_are_one_statement(
    statements: Statements, mall: Mall, hub: Hub, clock: MovableClock
) -> None:
    """At the start, and at each tick: only of those who moved."""
    users = [await add_user(mall, f"member{number}") for number in range(MEMBERS)]
    for user in users:
        await give_points(mall, user, 5)
    await mall.movements.told()
    following = [hub.follow_balance(user) for user in users for _ in range(2)]
    first = await asyncio.gather(*map(anext, following))
    assert [balance and balance.available for balance in first] == [5] * 2 * MEMBERS
    await listening(mall)
    await give_points(mall, users[1], 1)
    # What the beginning of listening touched was read before, or along with it.
    assert (await anext(following[2])) != first[2]
    moved = users[::2]
    clock.advance(days=800)  # all points have ended, which nobody announces
    statements.seen.clear()
    await tell(mall, *moved, 10**15)
    after = [
        balances for user, balances in zip(users, following[::2], strict=True) if user in moved
    ]
    told = await asyncio.gather(*map(anext, after))
    assert [balance and balance.available for balance in told] == [0] * len(moved)
    assert balance_reads(statements) == 1
    for balances in following:
        await balances.aclose()
    assert hub.watched == 0


async def test_balances_are_read_in_portions(
    statements: Statements, mall: Mall, hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many come back at once, one statement asks for so many at most."""
    assert hub.balances._most_at_once == 1_000
    monkeypatch.setattr(hub.balances, "_most_at_once", MEMBERS // 4)
    users = [await add_user(mall, f"member{number}") for number in range(MEMBERS)]
    statements.seen.clear()
    following = [hub.follow_balance(user) for user in users]
    first = await asyncio.gather(*map(anext, following))
    assert [balance and balance.user_id for balance in first] == users
    assert balance_reads(statements) == 4
    for balances in following:
        await balances.aclose()


async def test_a_day_ends_by_itself(mall: Mall, hub: Hub, clock: MovableClock) -> None:
    """At the mall's midnight, without any movement: the day's ranks and lines are gone."""
    clock.now = datetime(2026, 11, 20, 15, 59, 59, 500_000, tzinfo=UTC)
    alice = await add_user(mall)
    await give_points(mall, alice, 5)
    await build(mall)
    async with (
        aclosing(hub.follow_place(DAILY, alice)) as places,
        aclosing(hub.follow_board(DAILY, 10)) as boards,
        asyncio.timeout(10),
    ):
        place, board = await anext(places), await anext(boards)
        assert place
        assert board
        assert (place.rank, place.points, len(board.entries)) == (1, 5, 1)
        clock.advance(seconds=1)
        board = await anext(boards)
        assert board
        assert (await anext(places), board.entries) == (None, ())


async def test_what_nobody_announced_is_found_in_time(mall: Mall, clock: MovableClock) -> None:
    """A message may be lost: everything is looked at now and then."""
    alice = await add_user(mall)
    await give_points(mall, alice, 5)
    hub = Hub(mall, heal_every_s=0.3)
    async with aclosing(hub.follow_balance(alice)) as balances, asyncio.timeout(10):
        await anext(balances)
        clock.advance(days=800)  # which nobody announces
        balance = await anext(balances)
        assert balance
        assert balance.available == 0
    await hub.aclose()


async def test_a_board_is_read_once_for_all_lengths(mall: Mall) -> None:
    for number in range(12):
        await give_points(mall, await add_user(mall, f"member{number}"), 100 - number)
    await build(mall)
    keys = [(ALL_TIME, 3), (ALL_TIME, 10), (DAILY, 1)]
    found = await read_boards(mall, keys, mall.clock())
    ranks = {
        key: [(entry.rank, entry.points) for entry in top.entries] for key, top in found.items()
    }
    lines = [(number + 1, 100 - number) for number in range(12)]
    assert ranks == {(ALL_TIME, 3): lines[:3], (ALL_TIME, 10): lines[:10], (DAILY, 1): lines[:1]}
    assert found[ALL_TIME, 3].total == found[ALL_TIME, 10].total == 12
