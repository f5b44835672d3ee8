"""Sums of ended days: the same ranks with them and without, and each day added once."""

import asyncio
import random
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from models.leaderboard import LeaderboardPeriod
from services.errors import ServiceUnavailable
from services.leaderboard.boards import board_at
from services.leaderboard.period_sums import add_ended_day
from services.leaderboard.ranking import Ranking
from services.leaderboard.recount import recount_page
from services.leaderboard.standings import Entry
from services.mall import Mall
from services.points.grant import grant_request
from services.points.reverse import reversal_request
from services.transaction import transaction
from services.users.erase import erase_user
from tests.boards import PERIODS, log_ranking
from tests.clock import MovableClock
from tests.factories import add_user, execute
from tests.jobs.due import jobs_named, look_at_schedule, run_due

_JOB = "snapshot_ranks"
_SUMMED = "SELECT count(*) FROM period_earnings"
_KEPT = "SELECT period, first, until FROM period_earnings_kept ORDER BY period"


async def _add(mall: Mall, zone: ZoneInfo | None = None) -> date | None:
    async with transaction(mall.stores.bulk) as session:
        return await add_ended_day(session, mall.clock(), zone or mall.zone)


async def _add_all(mall: Mall) -> list[date]:
    added: list[date] = []
    while (day := await _add(mall)) is not None:
        added.append(day)
    return added


async def _require_ranks_of_the_log(mall: Mall) -> None:
    for period in PERIODS:
        board = board_at(period, mall.clock(), mall.zone)
        lines = await Ranking(mall.stores.bulk, mall.zone).lines(board)
        expected = [Entry(*each) for each in await log_ranking(mall, board)]
        assert list(lines.between(1, len(expected))) == expected, period
        assert lines.total == len(expected)


async def _earn(mall: Mall, clock: MovableClock, days: int) -> None:
    """On each day, with ties; some is taken back on a later day, also from who has nothing else."""
    chance, shop = random.Random(7), await add_user(mall, "shop")
    members = [await add_user(mall, f"member-{number}") for number in range(12)]
    for day in range(days):
        for user_id in chance.sample(members, 6):
            key = f"{day}-{user_id}"
            points = chance.choice([1, 2, 3])
            await mall.grants.submit(
                grant_request(shop, user_id, points, "shop", key, reference=key)
            )
            if chance.random() < 0.4:
                clock.advance(days=chance.choice([0, 1]))
                back = reversal_request(shop, "shop", key, points, f"back-{key}")
                await mall.reversals.submit(back)
        clock.advance(days=1)
        if chance.random() < 0.5:
            await _add_all(mall)
        await _require_ranks_of_the_log(mall)


async def test_ranks_are_those_of_the_log(mall: Mall, clock: MovableClock) -> None:
    """Over the ends of weeks and of a month, whether or not a night added up what ended."""
    await _earn(mall, clock, 16)
    assert await execute(mall, _SUMMED) != [(0,)]


async def test_sums_are_what_is_read(mall: Mall, clock: MovableClock) -> None:
    """Of the days that are added up no other row is looked at."""
    clock.now = datetime.fromisoformat("2026-11-18T12:00:00+08:00")  # a Wednesday
    shop, alice = await add_user(mall, "shop"), await add_user(mall)
    await mall.grants.submit(grant_request(shop, alice, 5, "shop", "key"))
    clock.advance(days=1)
    await mall.grants.submit(grant_request(shop, alice, 5, "shop", "another"))
    added = await _add_all(mall)
    assert added[:3] == [date(2026, 11, 16), date(2026, 11, 17), date(2026, 11, 18)]
    assert await execute(mall, _KEPT) == [
        ("monthly", date(2026, 11, 1), date(2026, 11, 19)),
        ("weekly", date(2026, 11, 16), date(2026, 11, 19)),
    ]
    await execute(mall, "UPDATE period_earnings SET points = points + 100 WHERE period = 'weekly'")
    for period, points in (("daily", 5), ("weekly", 110), ("monthly", 10), ("all_time", 10)):
        board = board_at(LeaderboardPeriod(period), clock(), mall.zone)
        lines = await Ranking(mall.stores.bulk, mall.zone).lines(board)
        assert lines.between(1, 2) == (Entry(1, alice, points),)
    await execute(mall, "UPDATE period_earnings SET points = points - 100 WHERE period = 'weekly'")


async def test_days_of_another_zone_are_not_added_to(mall: Mall, clock: MovableClock) -> None:
    """Its midnight is another one: what a day has may be twice in the sums, or missing."""
    shop, alice = await add_user(mall, "shop"), await add_user(mall)
    await mall.grants.submit(grant_request(shop, alice, 5, "shop", "key"))
    clock.advance(days=1)
    await _add_all(mall)
    await execute(mall, "UPDATE period_earnings SET points = 1000")
    board = board_at(LeaderboardPeriod.MONTHLY, clock(), mall.zone)
    elsewhere = await Ranking(mall.stores.bulk, ZoneInfo("Asia/Tokyo")).lines(board)
    assert elsewhere.between(1, 1) == (Entry(1, alice, 5),)
    assert await _add(mall, ZoneInfo("Asia/Tokyo")) is not None
    assert ("Asia/Tokyo",) in await execute(mall, "SELECT zone FROM period_earnings_kept")
    assert await execute(mall, f"{_SUMMED} WHERE points = 1000 AND period = 'weekly'") == [(0,)]
    while await _add(mall, ZoneInfo("Asia/Tokyo")) is not None:
        pass
    assert await execute(mall, f"{_SUMMED} WHERE points = 1000") == [(0,)]


async def test_each_day_is_added_once(mall: Mall, clock: MovableClock) -> None:
    """Though two add at once, and however often the night comes."""
    shop, alice = await add_user(mall, "shop"), await add_user(mall)
    await mall.grants.submit(grant_request(shop, alice, 5, "shop", "key"))
    clock.advance(days=1)
    done = await asyncio.gather(*(_add(mall) for _ in range(30)), return_exceptions=True)
    assert all(
        not isinstance(each, Exception) or isinstance(each, ServiceUnavailable) for each in done
    )
    await _add_all(mall)
    assert await _add_all(mall) == []
    assert await execute(mall, "SELECT DISTINCT points FROM period_earnings") == [(5,)]


async def test_portions_of_users_leave_nobody_out(
    mall: Mall, clock: MovableClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither of what is added nor of what is forgotten when a new week and month begin."""
    monkeypatch.setattr("services.leaderboard.period_sums.USERS_A_STATEMENT", 2)
    clock.now = datetime.fromisoformat("2026-11-30T12:00:00+08:00")  # a Monday
    shop = await add_user(mall, "shop")
    members = [await add_user(mall, f"member-{number}") for number in range(5)]
    for day in range(2):
        for user_id in members[day:]:
            asked = grant_request(shop, user_id, 5, "shop", f"{day}-{user_id}")
            await mall.grants.submit(asked)
        clock.advance(days=1)
        await _add_all(mall)
        await _require_ranks_of_the_log(mall)
    summed = "SELECT count(*) FROM period_earnings GROUP BY period ORDER BY period"
    assert await execute(mall, summed) == [(4,), (5,)]  # December's, and the week's


async def test_the_nightly_job_adds_up_first(mall: Mall, clock: MovableClock) -> None:
    """Then it keeps ranks, from the sums; a new week forgets those of the week before."""
    clock.now = datetime.fromisoformat("2026-11-21T12:00:00+08:00")  # a Saturday
    shop, alice = await add_user(mall, "shop"), await add_user(mall)
    await look_at_schedule(mall, (_JOB,))
    for until in (date(2026, 11, 22), date(2026, 11, 23), date(2026, 11, 24)):
        await mall.grants.submit(grant_request(shop, alice, 5, "shop", f"until {until}"))
        clock.advance(days=1)
        await look_at_schedule(mall, (_JOB,))
        assert await run_due(mall, jobs_named(_JOB)) == 1
        week = until - timedelta(days=1 + (until - timedelta(days=1)).weekday())
        assert await execute(mall, _KEPT) == [
            ("monthly", date(2026, 11, 1), until),
            ("weekly", week, until),
        ]
    weekly = "SELECT day, points FROM rank_history WHERE period = 'weekly' ORDER BY day"
    assert [row.points for row in await execute(mall, weekly)] == [5, 10, 5]
    assert await execute(mall, "SELECT points FROM period_earnings ORDER BY period") == [
        (15,),
        (5,),
    ]


@pytest.mark.parametrize("is_added", [False, True])
async def test_who_is_erased_is_on_no_board(
    mall: Mall, clock: MovableClock, *, is_added: bool
) -> None:
    """Their sums stay, for they are of the books."""
    shop, alice = await add_user(mall, "shop"), await add_user(mall)
    await mall.grants.submit(grant_request(shop, alice, 5, "shop", "key"))
    clock.advance(days=1)
    if is_added:
        await _add_all(mall)
    async with transaction(mall.stores.write) as session:
        await erase_user(session, "alice", clock(), timezone=mall.zone.key)
    await _require_ranks_of_the_log(mall)
    board = board_at(LeaderboardPeriod.MONTHLY, clock(), mall.zone)
    assert (await Ranking(mall.stores.bulk, mall.zone).lines(board)).total == 0


async def test_sums_of_days_that_are_corrected_are_used_no_more(
    mall: Mall, clock: MovableClock
) -> None:
    """As after an upgrade, when processes of before had kept too little."""
    await _earn(mall, clock, days=3)
    for table in ("daily_earnings", "period_earnings"):
        await execute(mall, f"UPDATE {table} SET points = points + 1000")
    async with transaction(mall.stores.write) as session:
        assert await recount_page(session, 0, clock=mall.clock, zone=mall.zone)
    await _require_ranks_of_the_log(mall)
    assert await _add_all(mall)
    await _require_ranks_of_the_log(mall)
