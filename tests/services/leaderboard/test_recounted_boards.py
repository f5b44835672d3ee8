"""What a recount moves or takes away leaves the boards in Redis, and nobody waits for it long."""

from dataclasses import replace
from datetime import datetime

from services.leaderboard.recount import Recounted, recount_page
from services.mall import Mall, open_mall
from services.transaction import transaction
from settings import MallSettings, Settings
from tests.boards import build, require_ranks_of_the_log
from tests.clock import MovableClock
from tests.factories import add_user, execute, give_points


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
