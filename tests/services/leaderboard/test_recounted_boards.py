"""What a recount moves or takes away leaves the boards in Redis, and nobody waits for it long."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import datetime

import pytest
from sqlalchemy import text

from services.identifiers import new_id
from services.leaderboard.period_sums import lock_sums
from services.leaderboard.recount import Recounted, recount_page
from services.mall import Mall, open_mall
from services.points.grant import grant_request
from services.tasks.check_in import CheckInRequest
from services.transaction import transaction
from settings import MallSettings, Settings
from tests.boards import build, require_ranks_of_the_log
from tests.clock import MovableClock
from tests.commands import run_command
from tests.factories import add_user, execute, give_points

_WAITING = "SELECT count(*) FROM pg_locks WHERE NOT granted"


@pytest.fixture
async def members(mall: Mall) -> tuple[int, int]:
    """One whose day is wrong, and one who has done nothing."""
    await build(mall)
    alice, bob = await add_user(mall, "alice"), await add_user(mall, "bob")
    await give_points(mall, alice, 5)
    await mall.movements.told()
    await execute(mall, "UPDATE daily_earnings SET points = 6")
    return alice, bob


@asynccontextmanager
async def _holding(mall: Mall, user_id: int) -> AsyncGenerator[None]:
    """Somebody who is slow holds a member."""
    async with mall.stores.write() as session, session.begin():
        held = text("SELECT FROM users WHERE id = :id FOR UPDATE")
        await session.execute(held, {"id": user_id})
        yield


async def _until_waiting(mall: Mall, *, is_waiting: bool = True) -> None:
    for _ in range(1_500):
        if (await execute(mall, _WAITING) != [(0,)]) is is_waiting:
            return
        await asyncio.sleep(0.02)
    raise AssertionError("it went on" if is_waiting else "it waits for ever")


async def _recount(mall: Mall) -> Recounted | None:
    async with transaction(mall.stores.bulk) as session:
        page = await recount_page(session, 0, clock=mall.clock, zone=mall.zone)
    await mall.movements.told()
    return page


async def test_days_of_another_zone_move_on_boards_too(
    settings: Settings, mall: Mall, clock: MovableClock
) -> None:
    """Whoever earned today by the zone of before, and yesterday by that of now, has none today."""
    clock.now = datetime.fromisoformat("2026-11-20T01:00:00+08:00")
    await build(mall)
    alice, bob = await add_user(mall, "alice"), await add_user(mall, "bob")
    await give_points(mall, alice, 5)
    clock.now = datetime.fromisoformat("2026-11-20T12:00:00+08:00")
    await give_points(mall, bob, 3)
    await mall.movements.told()
    elsewhere = replace(settings, mall=MallSettings(profile="dev", timezone="UTC"))
    async with open_mall(elsewhere, clock) as moved:
        assert await _recount(moved) == Recounted(bob, 2, 1, 0)
        await require_ranks_of_the_log(moved)


async def test_a_day_that_is_not_in_the_books_leaves_the_boards(mall: Mall) -> None:
    """Also when none is left of what the member had."""
    await build(mall)
    alice, bob = await add_user(mall, "alice"), await add_user(mall, "bob")
    await give_points(mall, alice, 5)
    days = "INSERT INTO daily_earnings SELECT :bob, day, 7, last_at FROM daily_earnings"
    await execute(mall, days, bob=bob)
    ranked = "UPDATE users SET ranked_points = 7, ranked_at = now() WHERE id = :bob"
    await execute(mall, ranked, bob=bob)
    await build(mall)
    assert await _recount(mall) == Recounted(bob, 2, 1, 0)
    await require_ranks_of_the_log(mall)


async def test_who_waits_for_the_sums_holds_no_member(mall: Mall, members: tuple[int, int]) -> None:
    """While the nightly job adds up days: others move at once, and the command goes on after it."""
    async with mall.stores.write() as session, session.begin():
        await lock_sums(session)
        recounting = asyncio.create_task(run_command(mall.settings, "leaderboard", "recount"))
        await _until_waiting(mall)
        for user_id in members:
            await mall.check_ins.submit(CheckInRequest(user_id, False, new_id()))
        assert not recounting.done()
    done = await recounting
    assert (done.returncode, done.stdout[:55]) == (
        0,
        "2 member(s) are counted: 1 had something else on the bo",
    )


async def test_the_command_lets_members_go_who_wait_for_another(
    mall: Mall, members: tuple[int, int]
) -> None:
    """One is held for long: the others of the page are free again and again, until it is had."""
    alice, bob = members
    async with _holding(mall, bob):
        recounting = asyncio.create_task(run_command(mall.settings, "leaderboard", "recount"))
        for _ in range(2):
            await _until_waiting(mall)
            await _until_waiting(mall, is_waiting=False)
            await mall.grants.submit(grant_request(alice, alice, 1, "shop", str(new_id())))
        assert not recounting.done()
    done = await recounting
    assert done.returncode == 0
    assert "waiting, up to number 0" in done.stderr


async def test_a_page_has_the_time_of_when_its_members_are_held(
    mall: Mall, members: tuple[int, int], clock: MovableClock
) -> None:
    """What it asks for is never due before what was done while it waited."""
    last = (await execute(mall, "SELECT max(id) AS id FROM outbox"))[0].id
    async with _holding(mall, members[1]):
        recounting = asyncio.create_task(_recount(mall))
        await _until_waiting(mall)
        clock.advance(hours=1)
    assert await recounting == Recounted(members[1], 2, 1, 0)
    asked = "SELECT created_at FROM outbox WHERE id > :last"
    assert await execute(mall, asked, last=last) == [(clock(),)]
