"""A part of Redis that is lost is noticed: one key, or all that happened since it was saved."""

import asyncio
import shutil
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import redis

from dev import places
from dev.processes import RunningChild, await_ready, kill_group, start, stop
from dev.valkey import redis_url, valkey_child
from models.leaderboard import LeaderboardPeriod
from services.calendar import local_day
from services.leaderboard.boards import BOARDS_KEY, PROFILES_KEY, Board, board_at, board_on
from services.leaderboard.read import read_top
from services.leaderboard.rebuild import Rebuilt, rebuild
from services.mall import Mall, open_mall
from settings import Settings
from tests.boards import MOST, PERIODS, build, is_built, log_ranking, require_ranks_of_the_log
from tests.clock import MovableClock
from tests.factories import add_user, execute, give_points
from tests.jobs.due import jobs_named, look_at_schedule, run_due

_BUILD, _CHECK = "rebuild_leaderboard", "check_leaderboard"
_ASKED = f"SELECT count(*) FROM outbox WHERE job = '{_BUILD}' AND done_at IS NULL"
_KEYS: dict[str, Callable[[Board], list[str]]] = {
    "set": lambda board: [board.key],
    "versions": lambda board: [board.versions_key],
    "both": lambda board: [board.key, board.versions_key],
}


@pytest.fixture
async def members(mall: Mall) -> list[int]:
    """Five who earned 5 to 1 points; the boards are built."""
    users = [await add_user(mall, f"member-{number}") for number in range(5)]
    await build(mall)
    for points, user_id in enumerate(reversed(users), 1):
        await give_points(mall, user_id, points)
    await mall.movements.told()
    await require_ranks_of_the_log(mall)
    return users


async def _top(mall: Mall, period: LeaderboardPeriod) -> list[tuple[int, int, int]]:
    top = await read_top(mall, period, MOST, mall.clock())
    return [(entry.rank, entry.user_id, entry.points) for entry in top.entries]


async def _expected(mall: Mall, period: LeaderboardPeriod) -> list[tuple[int, int, int]]:
    return await log_ranking(mall, board_at(period, mall.clock(), mall.zone))


@pytest.mark.usefixtures("members")
@pytest.mark.parametrize("lost", _KEYS)
@pytest.mark.parametrize("period", PERIODS)
async def test_a_key_alone_is_missed(mall: Mall, period: LeaderboardPeriod, lost: str) -> None:
    """By whoever reads the board: the answer is right at once, and the boards are built anew."""
    await mall.stores.redis.delete(*_KEYS[lost](board_at(period, mall.clock(), mall.zone)))
    assert await _top(mall, period) == await _expected(mall, period)
    await mall.movements.told()
    assert await execute(mall, _ASKED) == [(1,)]
    assert not await is_built(mall)
    assert await run_due(mall, jobs_named(_BUILD)) == 1
    await require_ranks_of_the_log(mall)


@pytest.mark.parametrize("lost", _KEYS)
async def test_no_board_of_one_is_begun(mall: Mall, members: list[int], lost: str) -> None:
    """Whoever moves next notices: what would be there again would look whole."""
    board = board_at(LeaderboardPeriod.WEEKLY, mall.clock(), mall.zone)
    await mall.stores.redis.delete(*_KEYS[lost](board))
    await give_points(mall, members[0], 7)
    await mall.movements.told()
    for key in _KEYS[lost](board):
        assert await mall.stores.redis.exists(key) == 0
    assert not await is_built(mall)
    for period in PERIODS:
        assert await _top(mall, period) == await _expected(mall, period)
    await build(mall)
    await require_ranks_of_the_log(mall)


async def test_a_key_is_lost_while_members_earn(
    mall: Mall, members: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Again and again; by the end the ranks are those of the log, and Redis has them."""
    monkeypatch.setattr("services.leaderboard.movements._REBUILD_ASKED_EVERY_S", 0)
    board = board_at(LeaderboardPeriod.MONTHLY, mall.clock(), mall.zone)

    async def earn(user_id: int) -> None:
        for _ in range(20):
            await give_points(mall, user_id, 1)

    async def lose() -> None:
        for number in range(6):
            await mall.stores.redis.delete(_KEYS[[*_KEYS][number % 3]](board)[0])
            await _top(mall, board.period)
            await mall.movements.told()
            await run_due(mall, jobs_named(_BUILD))

    await asyncio.gather(lose(), *(earn(user_id) for user_id in members))
    await mall.movements.told()
    await _top(mall, board.period)
    await mall.movements.told()
    await run_due(mall, jobs_named(_BUILD))
    await require_ranks_of_the_log(mall)


@pytest.mark.usefixtures("members")
async def test_a_key_is_missed_though_nobody_looks(mall: Mall, clock: MovableClock) -> None:
    """Every minute; what is whole stays as it is."""
    await look_at_schedule(mall, (_CHECK,))
    for lost, asked in (([], 0), ([board_at(PERIODS[0], clock(), mall.zone).key], 1)):
        await mall.stores.redis.delete("another", *lost)
        clock.advance(minutes=1)
        await look_at_schedule(mall, (_CHECK,))
        assert await run_due(mall, jobs_named(_CHECK)) == 1
        assert await execute(mall, _ASKED) == [(asked,)]


@pytest.mark.usefixtures("members")
async def test_a_key_is_lost_while_boards_are_built(mall: Mall) -> None:
    """The builder begins anew, and builds what is whole."""
    board, lost = board_at(PERIODS[1], mall.clock(), mall.zone), list[int]()

    def lose(users: int) -> None:
        if users == 2 and not lost:  # at once: all may be built before another task has its turn
            with redis.Redis.from_url(str(mall.settings.stores.redis_url)) as client:
                client.delete(board.key)
            lost.append(users)

    rebuilt = await rebuild(mall.stores, mall.clock, mall.zone, lose, users_a_page=1)
    assert rebuilt == Rebuilt(5, 2)
    await require_ranks_of_the_log(mall)


@pytest.mark.usefixtures("members")
async def test_what_is_said_of_ended_boards_is_forgotten(mall: Mall, clock: MovableClock) -> None:
    """Or it would grow for ever; and profiles are remembered again when their token was lost."""
    store, ended = mall.stores.redis, board_at(LeaderboardPeriod.DAILY, clock(), mall.zone)
    await look_at_schedule(mall, (_CHECK,))
    for days, is_kept in ((20, True), (20, False)):
        await store.delete(PROFILES_KEY)
        clock.advance(days=days)
        await look_at_schedule(mall, (_CHECK,))
        await run_due(mall, jobs_named(_CHECK))
        assert await store.hexists(BOARDS_KEY, ended.key) is is_kept
        assert await store.get(PROFILES_KEY)
    all_time = board_on(LeaderboardPeriod.ALL_TIME, local_day(clock(), mall.zone))
    assert set(await store.hkeys(BOARDS_KEY)) == {"builder", "server", all_time.key}
    await require_ranks_of_the_log(mall)


@pytest.mark.usefixtures("members")
async def test_boards_of_another_layout_are_left_alone(mall: Mall, clock: MovableClock) -> None:
    """What an earlier process writes loses no board, and a rebuild does not empty its own."""
    store, own = mall.stores.redis, "{points-mall}:board:"
    day = local_day(clock(), mall.zone).isoformat()
    await store.set("{points-mall}:boards:building", "an earlier process")
    for board in ("all_time", f"daily:{day}"):
        await store.zadd(f"{own}{board}", {"0000000000000001:0000000000000000001": -7})
        await store.hset(f"{own}{board}:versions", "1", "1|0000000000000001:0000000000000000001")
    await require_ranks_of_the_log(mall)
    assert await rebuild(mall.stores, mall.clock, mall.zone) == Rebuilt(5, 1)
    await require_ranks_of_the_log(mall)
    for board in ("all_time", f"daily:{day}"):
        assert await store.exists(f"{own}{board}", f"{own}{board}:versions") == 2


class Saving:
    """A Valkey of this test's own, which comes back with what it saved last."""

    def __init__(self, directory: Path) -> None:
        self._child = valkey_child(directory, places.make_sockets(directory))
        self.url = redis_url(places.make_sockets(directory))
        self._running: RunningChild | None = None

    def begin(self) -> None:
        """Start it, with what was saved."""
        self._running = start(self._child)
        await_ready(self._running)

    def die(self) -> None:
        """Kill it: nothing more is saved."""
        assert self._running is not None
        kill_group(self._running.process)
        self._running.process.wait()

    def end(self) -> None:
        """Stop it."""
        assert self._running is not None
        stop(self._running)


@pytest.fixture
def valkey() -> Iterator[Saving]:
    """Running, empty."""
    directory = Path(tempfile.mkdtemp(prefix="mall-saving-"))
    valkey = Saving(directory)
    valkey.begin()
    yield valkey
    valkey.end()
    shutil.rmtree(directory)


@pytest.fixture
async def saving_mall(settings: Settings, mall: Mall, valkey: Saving) -> AsyncIterator[Mall]:
    """The mall, on that Valkey."""
    stores = settings.stores.model_copy(update={"redis_url": valkey.url})
    async with open_mall(replace(settings, stores=stores), mall.clock) as other:
        yield other


async def test_old_boards_are_never_served(
    saving_mall: Mall, valkey: Saving, clock: MovableClock
) -> None:
    """Saved, moved on, killed, and back with what was saved: no answer is as old as that."""
    mall = saving_mall
    await build(mall)
    users = [await add_user(mall, f"member-{number}") for number in range(3)]
    await give_points(mall, users[0], 3)
    await mall.movements.told()
    await mall.stores.redis.save()
    clock.advance(seconds=1)
    for points, user_id in enumerate(users, 5):
        await give_points(mall, user_id, points)
    await mall.movements.told()
    await require_ranks_of_the_log(mall)
    valkey.die()
    valkey.begin()
    with redis.Redis.from_url(valkey.url) as client:
        assert client.exists(BOARDS_KEY, board_at(PERIODS[0], clock(), mall.zone).key) == 2
    for _ in range(100):  # at first it is left alone, for the connection was lost
        for period in PERIODS:
            assert await _top(mall, period) == await _expected(mall, period)
        await mall.movements.told()
        if await execute(mall, _ASKED) == [(1,)]:
            break
        await asyncio.sleep(0.05)
    assert await run_due(mall, jobs_named(_BUILD)) == 1
    await require_ranks_of_the_log(mall)
