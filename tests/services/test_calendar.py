"""Days, weeks and months of the mall, in any zone, across clock changes and month ends."""

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.calendar import (
    add_span,
    day_start,
    local_day,
    month_start,
    next_month_start,
    system_clock,
    week_start,
)

SHANGHAI, NEW_YORK = ZoneInfo("Asia/Shanghai"), ZoneInfo("America/New_York")
ZONES = [
    SHANGHAI,
    NEW_YORK,
    ZoneInfo("UTC"),
    ZoneInfo("Europe/Berlin"),
    ZoneInfo("Australia/Lord_Howe"),  # half an hour of summer time
    ZoneInfo("America/Sao_Paulo"),  # whose clocks changed at midnight: some days had none
    ZoneInfo("Pacific/Apia"),  # which left 30 December 2011 out
    ZoneInfo("Asia/Kathmandu"),
]
zones = st.sampled_from(ZONES)
instants = st.datetimes(
    min_value=datetime.fromisoformat("1990-01-01"),
    max_value=datetime.fromisoformat("2090-01-01"),
    timezones=st.just(UTC),
)
days = st.dates(min_value=date(1990, 1, 1), max_value=date(2090, 1, 1))


def at(text: str, zone: ZoneInfo = SHANGHAI) -> datetime:
    """An instant by the clock on a wall."""
    return datetime.fromisoformat(text).replace(tzinfo=zone).astimezone(UTC)


def test_the_system_clock_tells_utc() -> None:
    """And the present."""
    assert system_clock().tzinfo is UTC
    assert abs(system_clock() - datetime.now(UTC)) < timedelta(minutes=1)


def test_a_day_of_shanghai_begins_at_16_of_utc() -> None:
    """A microsecond before it is still yesterday."""
    begins = datetime(2026, 11, 20, 16, tzinfo=UTC)
    assert day_start(date(2026, 11, 21), SHANGHAI) == begins
    assert local_day(begins, SHANGHAI) == date(2026, 11, 21)
    assert local_day(begins - timedelta(microseconds=1), SHANGHAI) == date(2026, 11, 20)


@given(instants, zones)
def test_an_instant_lies_in_its_day(instant: datetime, zone: ZoneInfo) -> None:
    """Its day has begun, the next has not."""
    day = local_day(instant, zone)
    assert day_start(day, zone) <= instant < day_start(day + timedelta(days=1), zone)


@given(days, zones)
def test_days_follow_each_other(day: date, zone: ZoneInfo) -> None:
    """None is longer than 25 hours; one that the zone left out is empty."""
    length = day_start(day + timedelta(days=1), zone) - day_start(day, zone)
    skipped = zone.key == "Pacific/Apia" and day == date(2011, 12, 30)
    assert length == timedelta(0) or timedelta(hours=23) <= length <= timedelta(hours=25)
    assert (length == timedelta(0)) is skipped


@pytest.mark.parametrize(
    ("day", "hours"), [("2026-03-08", 23), ("2026-11-01", 25), ("2026-07-01", 24)]
)
def test_days_on_which_clocks_change(day: str, hours: int) -> None:
    """Are an hour shorter or longer, and begin at midnight all the same."""
    first = date.fromisoformat(day)
    begins, ends = (day_start(first + timedelta(days=n), NEW_YORK) for n in (0, 1))
    assert ends - begins == timedelta(hours=hours)
    assert begins.astimezone(NEW_YORK).hour == 0


@given(days)
def test_weeks_begin_on_monday(day: date) -> None:
    """Within the six days before, or that day itself."""
    monday = week_start(day)
    assert monday.weekday() == 0
    assert timedelta(0) <= day - monday < timedelta(days=7)


@given(days)
def test_months_begin_on_the_first(day: date) -> None:
    """The next one begins after this day and follows the last day of this month."""
    begins, following = month_start(day), next_month_start(day)
    assert (begins.day, following.day) == (1, 1)
    assert begins <= day < following
    last = following - timedelta(days=1)
    assert (last.year, last.month) == (day.year, day.month)


@pytest.mark.parametrize(
    ("start", "value", "unit", "expected"),
    [
        ("2026-01-31T09:00", 1, "months", "2026-02-28T09:00"),
        ("2024-01-31T09:00", 1, "months", "2024-02-29T09:00"),
        ("2026-03-31T09:00", 1, "months", "2026-04-30T09:00"),
        ("2026-11-30T09:00", 3, "months", "2027-02-28T09:00"),
        ("2026-12-31T23:59", 2, "months", "2027-02-28T23:59"),
        ("2026-11-20T12:00", 12, "months", "2027-11-20T12:00"),
        ("2024-02-29T12:00", 12, "months", "2025-02-28T12:00"),
        ("2024-02-29T12:00", 4, "years", "2028-02-29T12:00"),
        ("2024-02-29T12:00", 1, "years", "2025-02-28T12:00"),
        ("2026-12-31T00:00", 1, "days", "2027-01-01T00:00"),
        ("2026-11-20T12:00", 0, "days", "2026-11-20T12:00"),
    ],
)
def test_spans_of_calendar_time(start: str, value: int, unit: str, expected: str) -> None:
    """A day that the month lacks becomes its last."""
    assert add_span(at(start), value, unit, SHANGHAI) == at(expected)  # type: ignore[arg-type]


def test_the_day_that_counts_is_the_malls() -> None:
    """An instant whose UTC day is the 31st, but not in Shanghai."""
    instant = datetime(2026, 1, 30, 17, tzinfo=UTC)  # the 31st, 01:00, in Shanghai
    assert add_span(instant, 1, "months", SHANGHAI) == at("2026-02-28T01:00")
    assert add_span(instant, 1, "months", ZoneInfo("UTC")).day == 28


def test_the_time_of_day_stays_when_clocks_change() -> None:
    """A month of calendar time, not of seconds."""
    start = at("2026-02-20T09:00", NEW_YORK)
    ends = add_span(start, 1, "months", NEW_YORK)
    assert ends == at("2026-03-20T09:00", NEW_YORK)
    assert ends - start == timedelta(days=28, hours=-1)


@given(instants, st.integers(0, 400), zones)
def test_days_added_are_days_later(instant: datetime, value: int, zone: ZoneInfo) -> None:
    """On the calendar, give or take the time that a change of clocks swallows."""
    moved = add_span(instant, value, "days", zone)
    aim = local_day(instant, zone) + timedelta(days=value)
    assert abs(moved - day_start(aim, zone)) <= timedelta(hours=49)
    if zone is SHANGHAI and instant.year > 1991:
        assert local_day(moved, zone) == aim


@given(instants, st.integers(0, 60), st.sampled_from(["days", "months", "years"]), zones)
def test_a_longer_span_never_ends_sooner(
    instant: datetime, value: int, unit: str, zone: ZoneInfo
) -> None:
    """And the result is in UTC."""
    ends = [add_span(instant, value + more, unit, zone) for more in (0, 1)]  # type: ignore[arg-type]
    assert ends[0] <= ends[1]
    assert all(end.tzinfo is UTC for end in ends)
