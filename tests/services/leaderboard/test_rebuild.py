"""Building boards anew: what Redis has lost comes back by itself, the same, whatever happens."""

import asyncio
import random
from collections.abc import Callable

import pytest
import redis

from services.leaderboard.boards import BOARDS_KEY, BUILDING_KEY, board_at
from services.leaderboard.rebuild import BoardsLost, Rebuilt, rebuild
from services.mall import Mall
from services.transaction import transaction
from services.users.erase import erase_user
from tests.boards import PERIODS, build, is_built, log_ranking, require_ranks_of_the_log
from tests.client import Client
from tests.clock import MovableClock
from tests.commands import run_command
from tests.factories import add_user, execute, give_points
from tests.jobs.due import jobs_named, look_at_schedule, run_due

_BUILD, _CHECK = "rebuild_leaderboard", "check_leaderboard"
_ASKED = f"SELECT count(*) FROM outbox WHERE job = '{_BUILD}' AND done_at IS NULL"


async def rebuild_in_pages(mall: Mall, on_page: Callable[[int], None]) -> Rebuilt | None:
    """Three members a page, so that there are several."""
    return await rebuild(mall.stores, mall.clock, mall.zone, on_page, users_a_page=3)


def empty_redis(mall: Mall) -> None:
    """Wipe this test's Redis, right now."""
    with redis.Redis.from_url(str(mall.settings.stores.redis_url)) as client:
        client.flushdb()


@pytest.fixture
async def members(mall: Mall, clock: MovableClock) -> list[int]:
    """Ten, who earned on two days; one has earned nothing, one has less than nothing today."""
    await mall.stores.redis.flushdb()
    users = [await add_user(mall, f"member-{number}") for number in range(10)]
    chance = random.Random(1)
    for user_id in users[:9] * 2:
        await give_points(mall, user_id, chance.randint(1, 3))
        clock.advance(hours=2)
    await mall.movements.told()
    return users


@pytest.mark.usefixtures("members")
async def test_boards_are_rebuilt(mall: Mall) -> None:
    """Page by page, told of each; the ranks are those of the log."""
    seen: list[int] = []
    assert not await is_built(mall)
    rebuilt = await rebuild_in_pages(mall, seen.append)
    assert (rebuilt, seen) == (Rebuilt(9, 1), [3, 6, 9])
    assert await is_built(mall)
    await require_ranks_of_the_log(mall)


async def test_what_moves_meanwhile_is_not_lost(mall: Mall, members: list[int]) -> None:
    """Before its page and after: by the end everybody stands where the log says."""
    tasks: list[asyncio.Task[object]] = []

    def earn(_users: int) -> None:
        tasks.extend(asyncio.create_task(give_points(mall, user_id, 7)) for user_id in members[::4])

    assert await rebuild_in_pages(mall, earn) is not None
    await asyncio.gather(*tasks)
    await mall.movements.told()
    await require_ranks_of_the_log(mall)


@pytest.mark.usefixtures("members")
async def test_redis_is_emptied_while_it_builds(mall: Mall) -> None:
    """It begins anew; the marker is set for a board that is whole, or not at all."""
    emptied: list[int] = []

    def empty(users: int) -> None:
        if users == 6 and not emptied:
            emptied.append(users)
            empty_redis(mall)

    assert await rebuild_in_pages(mall, empty) == Rebuilt(9, 2)
    await require_ranks_of_the_log(mall)


@pytest.mark.usefixtures("members")
async def test_redis_that_loses_all_the_time_is_given_up(mall: Mall) -> None:
    """And nothing says that there are boards."""
    with pytest.raises(BoardsLost):
        await rebuild_in_pages(mall, lambda _users: empty_redis(mall))
    assert not await is_built(mall)


@pytest.mark.usefixtures("members")
async def test_one_builds_at_a_time(mall: Mall) -> None:
    """Of many at once one does; whoever finds a builder leaves it at that."""
    rebuilt = await asyncio.gather(*(rebuild(mall.stores, mall.clock, mall.zone) for _ in range(5)))
    assert len([each for each in rebuilt if each is not None]) >= 1
    await require_ranks_of_the_log(mall)
    await mall.stores.redis.set(BUILDING_KEY, "somebody else's")
    assert await rebuild(mall.stores, mall.clock, mall.zone) is None
    await require_ranks_of_the_log(mall)


async def test_who_is_gone_stays_gone(mall: Mall, members: list[int]) -> None:
    """A board that is built holds nobody who was erased, though a late refresh tries."""
    async with transaction(mall.stores.write) as session:
        await erase_user(session, "member-3", mall.clock(), timezone=mall.zone.key)
    await build(mall)
    for period in PERIODS:
        board = board_at(period, mall.clock(), mall.zone)
        assert members[3] not in [user for _, user, _ in await log_ranking(mall, board)]
    await require_ranks_of_the_log(mall)


@pytest.mark.usefixtures("members")
async def test_a_missing_board_is_asked_for_once(mall: Mall, client: Client) -> None:
    """However many miss it; a worker builds it, and meanwhile the answers are the same."""
    query = "{ leaderboard { entries { rank points user { username } } } }"
    answers = await asyncio.gather(*(client.data(query) for _ in range(20)))
    for _ in range(100):
        if await execute(mall, _ASKED) == [(1,)]:
            break
        await asyncio.sleep(0.05)
    assert await execute(mall, _ASKED) == [(1,)]
    assert await run_due(mall, jobs_named(_BUILD)) == 1
    assert await is_built(mall)
    assert [*answers, await client.data(query)] == [answers[0]] * 21


@pytest.mark.usefixtures("members")
async def test_a_server_that_came_back_is_not_trusted(mall: Mall, clock: MovableClock) -> None:
    """It may have loaded what it saved long ago: its run id is another one."""
    await build(mall)
    await look_at_schedule(mall, (_CHECK,))
    for built_on, asked in ((None, 0), ("an earlier run", 1)):
        if built_on is not None:
            await mall.stores.redis.hset(BOARDS_KEY, "server", built_on)
        clock.advance(minutes=1)
        await look_at_schedule(mall, (_CHECK,))
        assert await run_due(mall, jobs_named(_CHECK)) == 1
        assert await execute(mall, _ASKED) == [(asked,)]
    await run_due(mall, jobs_named(_BUILD))
    assert await is_built(mall)


@pytest.mark.usefixtures("members")
async def test_a_new_day_costs_no_rebuild(mall: Mall, clock: MovableClock) -> None:
    """Its board is empty until somebody earns, and whole all the same."""
    await build(mall)
    clock.advance(days=40)
    await require_ranks_of_the_log(mall)
    assert await execute(mall, _ASKED) == [(0,)]


@pytest.mark.usefixtures("members")
async def test_the_command_rebuilds(mall: Mall) -> None:
    """And says how many members that were; it leaves a builder alone."""
    done = await run_command(mall.settings, "leaderboard", "rebuild")
    assert (done.returncode, done.stdout) == (
        0,
        "The boards are built: 9 member(s) have earned points.\n",
    )
    await mall.stores.redis.set(BUILDING_KEY, "somebody else's")
    done = await run_command(mall.settings, "leaderboard", "rebuild")
    assert done.returncode == 1
    assert "Somebody else is building them." in done.stderr


async def test_a_rebuild_that_fails_lets_the_next_begin(mall: Mall, members: list[int]) -> None:
    """At once, not when its token ends."""

    def break_off(_users: int) -> None:
        raise RuntimeError("in the middle")

    assert members
    with pytest.raises(RuntimeError, match="in the middle"):
        await rebuild_in_pages(mall, break_off)
    assert await mall.stores.redis.get(BUILDING_KEY) is None
    assert await build(mall) is not None
    await require_ranks_of_the_log(mall)


async def test_a_job_leaves_boards_alone_that_are_whole(mall: Mall, members: list[int]) -> None:
    """Asked for twice, it builds once: meanwhile PostgreSQL would have to answer."""
    assert members
    await build(mall)
    built = await mall.stores.redis.hget(BOARDS_KEY, "builder")
    await execute(mall, f"INSERT INTO outbox (job, payload) VALUES ('{_BUILD}', '{{}}')")
    await execute(mall, "UPDATE outbox SET due_at = :now", now=mall.clock())
    await mall.stores.redis.set(BUILDING_KEY, "somebody else's")
    async with asyncio.timeout(5.0):
        await run_due(mall, jobs_named(_BUILD))
    assert await mall.stores.redis.hget(BOARDS_KEY, "builder") == built
