"""Figures of days: whatever happened, whenever it was counted, as counted from every row."""

import asyncio
from dataclasses import fields, replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from strawberry.utils.str_converters import to_camel_case

from schema.kpis import KpiDay, KpiReport
from services.calendar import day_start, local_day
from services.kpis.activity import recover_member_days
from services.kpis.report import report
from services.kpis.roll_up import ROLL_UP_JOB, keep_day, keep_next_day
from services.mall import Mall
from services.transaction import transaction
from services.users.erase import erase_user
from settings import MallSettings, Settings
from tests.clock import MovableClock
from tests.factories import execute, give_points
from tests.jobs.due import jobs_named, look_at_schedule, run_due
from tests.services.kpis.living import LivingMall
from tests.services.kpis.naive import as_report, read_everything

KEPT = "SELECT * FROM daily_figures ORDER BY day"
HISTORIES = [
    ("Asia/Shanghai", datetime(2026, 11, 1, 4, 0, tzinfo=UTC), 1),
    ("Europe/Berlin", datetime(2026, 10, 20, 4, 0, tzinfo=UTC), 2),  # summer time ends
    ("America/Santiago", datetime(2026, 8, 30, 4, 0, tzinfo=UTC), 3),  # a day has no midnight
    ("Australia/Lord_Howe", datetime(2026, 9, 28, 4, 0, tzinfo=UTC), 4),  # half an hour
]


@pytest.fixture
def history(request: pytest.FixtureRequest) -> Any:
    """Time zone, beginning and seed; the first unless a test names others."""
    return getattr(request, "param", HISTORIES[0])


@pytest.fixture
def settings(settings: Settings, history: Any) -> Settings:
    """A mall in that zone."""
    return replace(settings, mall=MallSettings(profile="dev", timezone=history[0]))


@pytest.fixture
async def living(mall: Mall, clock: MovableClock, history: Any) -> LivingMall:
    """A mall that has just opened."""
    _, clock.now, seed = history
    living = LivingMall(mall, clock, seed)
    await living.open()
    return living


def _as_answered(value: Any) -> dict[str, Any]:
    """A type of the schema as clients see it, but for what is nested."""
    return {to_camel_case(each.name): getattr(value, each.name) for each in fields(value)}


async def shown(mall: Mall, first: date, last: date) -> dict[str, Any]:
    """What `kpis` shows."""
    async with transaction(mall.stores.bulk) as session:
        found = KpiReport.of(await report(session, first, last, mall.clock(), mall.zone))
    days: list[KpiDay] = found.days
    return {
        **_as_answered(found),
        "days": [_as_answered(day) | {"date": day.date.isoformat()} for day in days],
    }


async def assert_right(mall: Mall, first: date, last: date) -> None:
    """To the point; rates to the last digits of a double."""
    everything = await read_everything(mall, mall.zone)
    today = local_day(mall.clock(), mall.zone)
    answer = await shown(mall, first, last)
    for name, value in as_report(everything, first, last, today).items():
        wanted = pytest.approx(value, rel=1e-12) if isinstance(value, float) else value
        assert answer[name] == wanted, name


async def roll_up(mall: Mall) -> list[date]:
    """Let the job do what is left to do; the days it kept."""
    kept: list[date] = []
    while True:
        async with transaction(mall.stores.bulk) as session:
            day = await keep_next_day(session, mall.clock(), mall.zone)
        if day is None:
            return kept
        kept.append(day)


async def night(mall: Mall, clock: MovableClock) -> None:
    """Sleep until 00:20 of the next day, when the job runs."""
    tomorrow = day_start(local_day(clock.now, mall.zone) + timedelta(days=1), mall.zone)
    clock.now = tomorrow + timedelta(minutes=20)
    await roll_up(mall)


@pytest.mark.parametrize("history", HISTORIES, indirect=True, ids=lambda each: each[0])
async def test_whatever_happens(mall: Mall, clock: MovableClock, living: LivingMall) -> None:
    """Counted now or kept on the way, and corrected: cancelled, reversed, expired, opened late."""
    first = local_day(clock.now, mall.zone)
    await living.live(60)
    await assert_right(mall, first, local_day(clock.now, mall.zone))  # all of it counted now
    for _ in range(4):
        await living.live(60)
        await night(mall, clock)
        await living.live(2)
        await night(mall, clock)
        await assert_right(mall, first, local_day(clock.now, mall.zone))
    last = local_day(clock.now, mall.zone)
    assert (last - first).days > 30
    await assert_right(mall, last - timedelta(days=12), last - timedelta(days=3))
    await assert_right(mall, last, last)


async def test_a_rebuild_comes_to_the_same(
    mall: Mall, clock: MovableClock, living: LivingMall
) -> None:
    """Whatever was kept, from nothing or over something wrong, and however often."""
    await living.live(150)
    await roll_up(mall)
    right = await execute(mall, KEPT)
    assert len(right) > 10
    await execute(mall, "UPDATE daily_figures SET points_issued = 1 + points_issued")
    await execute(mall, "DELETE FROM daily_figures WHERE day = :day", day=right[3].day)
    for _ in range(2):
        for row in right:
            async with transaction(mall.stores.bulk) as session:
                await keep_day(session, row.day, clock.now, mall.zone)
        assert await execute(mall, KEPT) == right


async def test_a_day_that_changes_later_is_counted_again(
    mall: Mall, clock: MovableClock, living: LivingMall
) -> None:
    """An exchange that is cancelled weeks after; the others are left alone once they are final."""
    await living.live(60)
    day, living.items, living.placed = local_day(clock.now, mall.zone), living.items[:1], []
    await give_points(mall, living.members[0], 40)
    await living.exchange(living.members[0])
    clock.advance(days=40)
    await roll_up(mall)
    clock.advance(days=1)
    assert len(await roll_up(mall)) == 8  # the day before, and those that were not final
    await living.cancel()
    clock.advance(days=1)
    counted = await execute(mall, KEPT)
    assert day in await roll_up(mall)
    after = {each.day: each for each in await execute(mall, KEPT)}
    (before,) = [each for each in counted if each.day == day]
    assert after[day].exchanges == before.exchanges - 1
    await assert_right(mall, day, day)
    assert await roll_up(mall) == []


async def test_many_that_roll_up_at_once(mall: Mall, living: LivingMall) -> None:
    """Each day is kept once, and rightly."""
    await living.live(60)
    kept = await asyncio.gather(*(roll_up(mall) for _ in range(3)))
    days = [day for each in kept for day in each]
    assert len(days) == len(set(days)) == len(await execute(mall, KEPT)) > 5
    await assert_right(mall, min(days), max(days))


async def test_it_is_done_every_night(mall: Mall, clock: MovableClock, living: LivingMall) -> None:
    """By the job that the schedule asks for; not of the day that has begun."""
    await look_at_schedule(mall, [ROLL_UP_JOB])
    await living.live(60)
    clock.now = datetime(2026, 12, 24, 16, 25, tzinfo=UTC)  # 00:25 of the 25th in Shanghai
    await look_at_schedule(mall, [ROLL_UP_JOB])
    await run_due(mall, jobs_named(ROLL_UP_JOB))
    kept = await execute(mall, "SELECT min(day), max(day), count(*) FROM daily_figures")
    assert kept == [(date(2026, 11, 1), date(2026, 12, 24), 54)]


async def test_who_was_erased_stays_counted(
    mall: Mall, clock: MovableClock, living: LivingMall
) -> None:
    """Their days and points are of the books; kept before or counted anew."""
    await living.live(100)
    await execute(mall, "UPDATE exchanges SET status = 'completed' WHERE status = 'pending'")
    first, last = date(2026, 11, 1), local_day(clock.now, mall.zone)
    before = await shown(mall, first, last)
    async with transaction(mall.stores.write) as session:
        assert await erase_user(session, "member-0", clock.now, timezone="Asia/Shanghai")
    assert await shown(mall, first, last) == before
    await roll_up(mall)
    assert await shown(mall, first, last) == before


async def test_days_of_before_are_recovered(mall: Mall, living: LivingMall) -> None:
    """From check-ins, exchanges and opened pushes; those that are known are not added again."""
    await living.live(100)
    visits = {tuple(row) for row in await execute(mall, "SELECT * FROM member_days")}
    await execute(mall, "DELETE FROM member_days")
    async with transaction(mall.stores.bulk) as session:
        recovered = await recover_member_days(session, mall.zone)
    again = {tuple(row) for row in await execute(mall, "SELECT * FROM member_days")}
    assert 0 < recovered == len(again)
    opened = await execute(
        mall, "SELECT user_id, opened_at FROM push_records WHERE opened_at IS NOT NULL"
    )
    assert again - visits <= {(local_day(row.opened_at, mall.zone), row.user_id) for row in opened}
    checked_in = {(row.day, row.user_id) for row in await execute(mall, "SELECT * FROM check_ins")}
    assert checked_in <= again
    async with transaction(mall.stores.bulk) as session:
        assert await recover_member_days(session, mall.zone) == 0


async def test_balances_are_explained(mall: Mall, clock: MovableClock, living: LivingMall) -> None:
    """Outstanding = issued - redeemed - expired + adjusted, from the first day to the last."""
    await give_points(mall, living.members[0], 77)
    await living.live(80)
    answer = await shown(mall, date(2026, 11, 1), local_day(clock.now, mall.zone))
    explained = (
        answer["pointsIssued"]
        - answer["pointsRedeemed"]
        - answer["pointsExpired"]
        + answer["pointsAdjusted"]
    )
    (balances,) = (await execute(mall, "SELECT sum(points) FROM users"))[0]
    assert answer["outstandingPoints"] == explained == balances > 0
