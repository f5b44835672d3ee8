"""400 days of one member's lots, in three time zones, over changes of the clock.

The schedule is kept as the scheduler keeps it, at instants around every morning and every end of a
lot. What should have happened is computed from the lots, plainly and without the mall's own code.
"""

import random
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest

from services.mall import Mall
from tests.clock import MovableClock
from tests.factories import add_user, execute, give_points
from tests.jobs.due import PLANNING, add_device, jobs_named, look_at_schedule, pushes, run_due

DAYS = 400
FIRST = date(2026, 11, 20)
WALKED = {**PLANNING, **jobs_named("expire_points")}
ENDS = [time(0), time(0, 0, 1), time(2, 30), time(9), time(9, 15), time(15), time(23, 59, 59)]
LOOKS = [time(6), time(8, 59, 59), time(9), time(9, 15), time(20, 45), time(21)]
MORNING = time(9)
SETTLED_EVERY = timedelta(minutes=5)


@dataclass(frozen=True)
class Grant:
    """Points that a member of the walk gets, and when they end."""

    granted_at: datetime
    ends_at: datetime
    points: int


def at(day: date, time_of_day: time, zone: ZoneInfo) -> datetime:
    """That time of a day of the zone, in UTC."""
    return datetime.combine(day, time_of_day, zone).astimezone(UTC)


def grants_of(zone: ZoneInfo) -> list[Grant]:
    """Lots that live for hours, days, months and a year, many of which end on the same days."""
    chance = random.Random(zone.key)
    made: list[Grant] = []
    for number in range(60):
        day = FIRST + timedelta(days=chance.randrange(DAYS - 10))
        lives = timedelta(days=chance.choice([0, 1, 2, 3, 4, 6, 7, 8, 12, 30, 60, 365]))
        granted_at = at(day, chance.choice([time(0, 30), time(10, 30), time(18)]), zone)
        ends_on = [day + lives] + [date(2027, 3, 14), date(2027, 3, 28)] * (number % 5 == 0)
        ends_on += [date(2027, 10, 31), date(2027, 11, 7)] * (number % 5 == 1)
        for end in ends_on:
            ends_at = at(end, chance.choice(ENDS), zone)
            if ends_at > granted_at:
                made.append(Grant(granted_at, ends_at, 2**number if number < 40 else number))
    return sorted(made, key=lambda grant: grant.granted_at)


def expected_reminders(grants: list[Grant], zone: ZoneInfo) -> Counter[tuple[datetime, str, int]]:
    """When the member should be reminded, of which day and threshold, and of how many points."""
    expected: Counter[tuple[datetime, str, int]] = Counter()
    for day in {grant.ends_at.astimezone(zone).date() for grant in grants}:
        for threshold in (7, 3, 1):
            told_at = at(day - timedelta(days=threshold), MORNING, zone)
            points = sum(
                grant.points
                for grant in grants
                if grant.ends_at.astimezone(zone).date() == day and grant.granted_at <= told_at
            )
            if points and told_at < at(FIRST + timedelta(days=DAYS), time(0), zone):
                expected[told_at, f"{day.isoformat()}:{threshold}", points] += 1
    return expected


def instants(grants: list[Grant], zone: ZoneInfo) -> list[datetime]:
    """When the scheduler looks: around every morning and evening, and after every end."""
    days = [FIRST + timedelta(days=number) for number in range(DAYS)]
    looks = {at(day, time_of_day, zone) for day in days for time_of_day in LOOKS[2:3]}
    # Elsewhere in the day on some days only: each look costs a few milliseconds.
    looks |= {at(day, time_of_day, zone) for day in days[::10] for time_of_day in LOOKS}
    changes = [date(2027, month, day) for month, day in ((3, 14), (3, 28), (10, 31), (11, 7))]
    near = [day + timedelta(days=ahead) for day in changes for ahead in range(-8, 2)]
    looks |= {at(day, time_of_day, zone) for day in near for time_of_day in LOOKS}
    for grant in grants:
        looks |= {grant.granted_at, grant.ends_at, grant.ends_at + SETTLED_EVERY}
    start, end = (at(FIRST + timedelta(days=number), time(0), zone) for number in (0, DAYS))
    return sorted(look for look in looks if start <= look < end)


async def settled(mall: Mall) -> list[tuple[str, int, datetime]]:
    """Every lot that ended, what was lost with it, and when that was settled."""
    rows = await execute(
        mall,
        "SELECT lot.key AS lot, lot.value::text::bigint AS points, created_at"
        " FROM points_audit_log, jsonb_each(details->'lots') AS lot WHERE action = 'expire'",
    )
    return [(row.lot, row.points, row.created_at) for row in rows]


@pytest.mark.parametrize("name", ["Asia/Shanghai", "America/New_York", "Europe/Berlin"])
async def test_each_reminder_and_each_end_falls_on_its_day_once(
    mall: Mall, clock: MovableClock, name: str
) -> None:
    """7, 3 and 1 days ahead at 09:00 of the member's own time, and every lot ends on its day."""
    zone = ZoneInfo(name)
    grants = grants_of(zone)
    clock.now = at(FIRST, time(0), zone)
    user_id = await add_user(mall, "alice", timezone=name, locale="en")
    await add_device(mall, user_id)
    ends: dict[str, Grant] = {}
    left = list(grants)
    await look_at_schedule(mall, WALKED)
    for instant in instants(grants, zone):
        clock.now = instant
        while left and left[0].granted_at <= instant:
            grant = left.pop(0)
            lot = await give_points(mall, user_id, grant.points, expires_at=grant.ends_at)
            ends[str(lot.id)] = grant
        await look_at_schedule(mall, WALKED)
        await run_due(mall, WALKED)

    told = await pushes(mall)
    assert {(push.type, push.status) for push in told} == {("expiry_reminder", "queued")}
    assert Counter(
        (push.due_at, push.reference, int(push.body.split(" ")[0].replace(",", "")))
        for push in told
    ) == expected_reminders(grants, zone)

    gone = await settled(mall)
    due = {lot: grant for lot, grant in ends.items() if grant.ends_at <= clock()}
    assert Counter(lot for lot, _, _ in gone) == Counter(due.keys())
    for lot, points, settled_at in gone:
        assert points == due[lot].points
        assert due[lot].ends_at <= settled_at < due[lot].ends_at + SETTLED_EVERY
