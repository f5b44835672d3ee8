"""When and of what a member is to be reminded, in any time zone and over any change of clocks."""

from datetime import UTC, date, datetime, time, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.calendar import TIME_ZONES
from services.notifications.expiry_reminders import (
    EndingLot,
    Told,
    due_reminders,
    ending_days,
)
from services.notifications.reminder_days import due_day, due_days
from services.points.expiry import REMINDER_DAYS

QUARTER = timedelta(minutes=15)
NAMES = st.sampled_from(sorted(TIME_ZONES))
INSTANTS = st.integers(1_767_225_600, 1_861_920_000).map(
    lambda at_s: datetime.fromtimestamp(at_s, UTC)
)


@given(st.sets(NAMES, max_size=30), INSTANTS)
def test_a_zone_is_due_while_its_day_lasts(names: set[str], now: datetime) -> None:
    """From nine to nine of its own time, for its own day; and no other zone is."""
    pages = due_days(sorted(names), now)
    assert [(page.timezone, page.day, page.after) for page in pages] == [
        (name, local.date(), 0)
        for name in sorted(names)
        if 9 <= (local := now.astimezone(ZoneInfo(name))).hour < 21
    ]


@given(NAMES, st.dates(date(2026, 1, 1), date(2028, 12, 31)))
def test_every_day_comes_at_nine(name: str, first: date) -> None:
    """For who looks every quarter of an hour: each day once, at its nine o'clock."""
    zone = ZoneInfo(name)
    now = datetime.combine(first, time(0), UTC)
    seen: dict[date, datetime] = {}
    for _ in range(4 * 24 * 4):
        day = due_day(now, zone)
        if day is not None:
            seen.setdefault(day, now)
        now += QUARTER
    whole = sorted(seen)[1:]  # the first may have begun before
    assert len(whole) >= 2
    for before, day in pairwise(whole):
        assert day == before + timedelta(days=1)
    assert {seen[day].astimezone(zone).time() for day in whole} == {time(9)}


@given(NAMES, INSTANTS)
def test_the_days_ahead_touch_and_each_has_its_threshold(name: str, now: datetime) -> None:
    """From today on without a gap; the threshold is the last one that has come."""
    zone = ZoneInfo(name)
    days = ending_days(now, zone)
    today = now.astimezone(zone).date()
    assert [day.day for day in days] == [today + timedelta(days=ahead) for ahead in range(8)]
    assert days[0].starts_at <= now < days[0].ends_at
    for day, following in pairwise(days):
        assert day.ends_at == following.starts_at
    assert [day.threshold for day in days] == [1, 1, 3, 3, 7, 7, 7, 7]
    for day in days:
        assert (day.known_by == now) == (day.day - today == timedelta(days=day.threshold))
        assert day.known_by <= now or day.known_by.astimezone(zone).date() == today


SHANGHAI = ZoneInfo("Asia/Shanghai")
MORNING = datetime.fromisoformat("2026-11-20T09:00:00+08:00")


@st.composite
def lots(draw: st.DrawFn) -> list[EndingLot]:
    """Lots of a few members that end within ten days and came within ten."""
    hours = st.integers(1, 240)
    return [
        EndingLot(
            user_id,
            MORNING + timedelta(hours=draw(hours)),
            points,
            MORNING - timedelta(hours=draw(hours)),
        )
        for user_id, points in draw(
            st.lists(st.tuples(st.integers(1, 3), st.integers(1, 1_000)), max_size=12)
        )
    ]


@given(lots())
def test_whoever_was_told_is_not_told_again(found: list[EndingLot]) -> None:
    """Each member and day once, the soonest first; and a second look finds nothing."""
    days = ending_days(MORNING, SHANGHAI)
    due = due_reminders(found, [], days)
    keys = [(reminder.ending.day, reminder.user_id) for reminder in due]
    assert keys == sorted(set(keys))
    told = [Told(r.user_id, r.ending.threshold, r.ending.starts_at, r.ending.ends_at) for r in due]
    assert due_reminders(found, told, days) == []
    for reminder in due:
        assert reminder.points == sum(
            lot.points
            for lot in found
            if lot.user_id == reminder.user_id
            and lot.expires_at.astimezone(SHANGHAI).date() == reminder.ending.day
        )


@given(st.lists(NAMES, min_size=20, max_size=20), st.integers(1, 240), st.integers(0, 240))
def test_a_lot_is_told_of_once_a_threshold_wherever_its_member_moves(
    homes: list[str], ends_in_hours: int, came_hours_ago: int
) -> None:
    """Another zone every twelve hours, for ten days: ever nearer thresholds, each once at most."""
    ends_at = MORNING + timedelta(hours=ends_in_hours)
    lot = EndingLot(1, ends_at, 10, MORNING - timedelta(hours=came_hours_ago))
    told: list[Told] = []
    for look, home in enumerate(homes):
        now = MORNING + timedelta(hours=12 * look)
        if now >= ends_at:
            break
        due = due_reminders([lot], told, ending_days(now, ZoneInfo(home)))
        told += [
            Told(r.user_id, r.ending.threshold, r.ending.starts_at, r.ending.ends_at) for r in due
        ]
    thresholds = [reminder.threshold for reminder in told]
    assert thresholds == sorted(set(thresholds), reverse=True)
    assert set(thresholds) <= set(REMINDER_DAYS)


@pytest.mark.parametrize(
    ("came_hours_ago", "ends_in_days", "is_told"),
    [(0, 7, True), (0, 6, False), (24, 6, True), (23, 6, False), (48, 5, True), (0, 1, True)],
)
def test_who_had_the_points_when_the_reminder_was_due_is_told(
    came_hours_ago: int, ends_in_days: int, is_told: bool
) -> None:
    """Late, if it was missed; who got them after that waits for the next threshold."""
    ends_at = MORNING + timedelta(days=ends_in_days, hours=3)
    lot = EndingLot(1, ends_at, 10, MORNING - timedelta(hours=came_hours_ago))
    assert bool(due_reminders([lot], [], ending_days(MORNING, SHANGHAI))) == is_told
