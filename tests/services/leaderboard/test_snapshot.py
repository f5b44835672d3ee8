"""The ranks of every day that ended: exact however late they are kept, once, for a year."""

import random
from datetime import date, datetime, timedelta
from typing import Any

import pytest

from models.leaderboard import LeaderboardPeriod
from services.calendar import day_start, local_day
from services.leaderboard.boards import Board, board_on
from services.leaderboard.partitions import make_months_ahead
from services.leaderboard.period_sums import add_ended_day
from services.leaderboard.snapshot import Snapshot, take_snapshot
from services.mall import Mall
from services.transaction import Contended, transaction
from services.users.erase import erase_user
from tests.boards import PERIODS, log_ranking
from tests.clock import MovableClock
from tests.factories import add_user, execute, give_points
from tests.jobs.due import jobs_named, look_at_schedule, run_due

_JOB = "snapshot_ranks"


async def _take(mall: Mall) -> Snapshot | None:
    async with transaction(mall.stores.bulk) as session:
        return await take_snapshot(session, mall.clock(), mall.zone)


async def _kept(mall: Mall, period: LeaderboardPeriod, day: date) -> Any:
    rows = await execute(
        mall,
        "SELECT rank, user_id, points FROM rank_history WHERE period = :period AND day = :day"
        " ORDER BY rank",
        period=period,
        day=day,
    )
    return [tuple(row) for row in rows]


async def _earn_for_days(mall: Mall, clock: MovableClock, days: int) -> None:
    chance = random.Random(3)
    members = [await add_user(mall, f"member-{number}") for number in range(8)]
    for _ in range(days):
        for user_id in chance.sample(members, 5):
            await give_points(mall, user_id, chance.choice([1, 2, 3]))
            clock.advance(minutes=chance.choice([0, 1]))
        clock.advance(days=1)


async def test_no_later_day_counts_though_it_is_added_up(mall: Mall, clock: MovableClock) -> None:
    """Nights were missed, then all days added up at once: each day still ends as it ended."""
    clock.now = datetime.fromisoformat("2026-11-17T12:00:00+08:00")  # a Tuesday
    alice = await add_user(mall, "alice")
    for _ in range(3):
        await give_points(mall, alice, 5)
        clock.advance(days=1)
    is_added = True
    while is_added:
        async with transaction(mall.stores.bulk) as session:
            is_added = await add_ended_day(session, clock(), mall.zone) is not None
    async with transaction(mall.stores.bulk) as session:
        await make_months_ahead(session, local_day(clock(), mall.zone))
    while await _take(mall) is not None:
        pass
    for period in ("weekly", "monthly"):
        kept = f"SELECT points FROM rank_history WHERE period = '{period}' ORDER BY day"
        assert await execute(mall, kept) == [(5,), (10,), (15,)]


async def test_past_days_are_exact_however_late(mall: Mall, clock: MovableClock) -> None:
    """Over the ends of weeks and a month, all kept afterwards: what the log said on each day."""
    first = local_day(clock(), mall.zone)
    await _earn_for_days(mall, clock, 14)
    taken = [snapshot.day async for snapshot in _all(mall)]
    assert len(taken) == 14 * len(PERIODS)
    assert taken == sorted(taken, reverse=True)
    for day in (first + timedelta(days=number) for number in range(14)):
        for period in PERIODS:
            board = board_on(period, day)
            ended = Board(period, board.first or first, day + timedelta(days=1))
            assert await _kept(mall, period, day) == await log_ranking(mall, ended), (period, day)


async def _all(mall: Mall) -> Any:
    while snapshot := await _take(mall):
        yield snapshot


async def test_the_job_keeps_each_day_once(mall: Mall, clock: MovableClock) -> None:
    """At ten past midnight; a second look, and a day on which nobody earned, change nothing."""
    await give_points(mall, await add_user(mall), 10)
    today = local_day(clock(), mall.zone)
    await look_at_schedule(mall, (_JOB,))
    for passed in range(3):
        clock.now = day_start(today + timedelta(days=passed + 1), mall.zone)
        clock.advance(minutes=10)
        await look_at_schedule(mall, (_JOB,))
        assert await run_due(mall, jobs_named(_JOB)) == 1
        await look_at_schedule(mall, (_JOB,))
        assert await run_due(mall, jobs_named(_JOB)) == 0
    counts = await execute(
        mall, "SELECT period, sum(users) FROM rank_snapshots GROUP BY period ORDER BY period"
    )
    days_in_week, days_in_month = 3, 3  # Friday to Sunday, within November
    assert counts == [
        ("all_time", 3),
        ("daily", 1),
        ("monthly", days_in_month),
        ("weekly", days_in_week),
    ]


async def test_the_next_month_is_there_before_it_begins(mall: Mall, clock: MovableClock) -> None:
    """Making it shuts readers out: not while everybody is ranked."""
    clock.now = datetime.fromisoformat("2026-11-27T12:00:00+08:00")
    await look_at_schedule(mall, (_JOB,))
    clock.advance(days=1)
    await look_at_schedule(mall, (_JOB,))
    await run_due(mall, jobs_named(_JOB))
    (found,) = await execute(mall, "SELECT to_regclass('rank_history_2026_12')::text AS month")
    assert found.month == "rank_history_2026_12"


async def test_a_year_is_kept(mall: Mall, clock: MovableClock) -> None:
    """Months that nobody can ask for go, as a whole; what is older is not caught up with."""
    await give_points(mall, await add_user(mall), 10)
    clock.advance(days=1)
    assert len([snapshot async for snapshot in _all(mall)]) == len(PERIODS)
    clock.advance(days=366)
    assert await execute(mall, "SELECT count(*) FROM rank_history") == [(4,)]
    await execute(
        mall,
        "INSERT INTO rank_snapshots (day, period, users) SELECT day, period, 0"
        " FROM generate_series(CAST(:first AS date), CAST(:last AS date), '1 day') day,"
        " unnest(CAST(:periods AS text[])) period ON CONFLICT DO NOTHING",
        first=date(2026, 11, 20),
        last=date(2027, 11, 21),
        periods=list(PERIODS),
    )
    clock.now = day_start(date(2027, 12, 3), mall.zone)
    taken = [snapshot.day async for snapshot in _all(mall)]
    assert min(taken) == date(2027, 11, 22)
    months = await execute(mall, "SELECT DISTINCT date_trunc('month', day) FROM rank_history")
    assert len(months) == 2
    assert await execute(mall, "SELECT min(day) FROM rank_snapshots") == [(date(2026, 12, 1),)]
    assert await execute(mall, "SELECT to_regclass('rank_history_2026_11')") == [(None,)]


async def test_the_best_of_a_week_are_honoured_when_it_ends(
    mall: Mall, clock: MovableClock
) -> None:
    """Not while it runs; the eleventh is not; and once, however often the week is looked at."""
    clock.now = datetime.fromisoformat("2026-11-18T12:00:00+08:00")  # a Wednesday
    members = [await add_user(mall, f"member-{number}") for number in range(12)]
    for points, user_id in enumerate(reversed(members), 1):
        await give_points(mall, user_id, points)
    jobs = jobs_named(_JOB, "unlock_weekly_top")
    unlocked = "SELECT user_id, key FROM user_achievements JOIN achievements ON id = achievement_id"
    for noon, count in (("2026-11-21", 0), ("2026-11-22", 0), ("2026-11-23", 11)):
        clock.now = datetime.fromisoformat(f"{noon}T12:00:00+08:00")
        for _ in range(2):
            await look_at_schedule(mall, [_JOB])
            await run_due(mall, jobs)
        assert len(await execute(mall, unlocked)) == count
    rows = await execute(mall, unlocked)
    assert {row.user_id for row in rows if row.key == "weekly_top_ten"} == set(members[:10])
    assert [row.user_id for row in rows if row.key == "weekly_champion"] == members[:1]


async def test_one_keeps_ranks_at_a_time(mall: Mall, clock: MovableClock) -> None:
    """A second one has to come again, and whoever is erased meanwhile waits to be in it."""
    alice = await add_user(mall)
    await give_points(mall, alice, 10)
    clock.advance(days=1)
    async with transaction(mall.stores.bulk) as session:
        assert await take_snapshot(session, clock(), mall.zone) is not None
        for interrupted in (_take, _erase):
            with pytest.raises(Contended):
                await interrupted(mall)
    await _erase(mall)
    assert len([snapshot async for snapshot in _all(mall)]) == len(PERIODS) - 1
    assert await execute(mall, "SELECT count(*) FROM rank_history") == [(0,)]
    assert await execute(mall, "SELECT sum(users) FROM rank_snapshots") == [(1,)]


async def _erase(mall: Mall) -> None:
    async with transaction(mall.stores.write) as session:
        await erase_user(session, "alice", mall.clock(), timezone=mall.zone.key)
