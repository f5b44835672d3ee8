"""Days, weeks and months of the mall, in its time zone, and spans of calendar time.

Rules: `domain.md`, Tasks and check-in (a day, a week from Monday) and Points (calendar months).
"""

import calendar
from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta
from typing import Literal
from zoneinfo import ZoneInfo, available_timezones

Clock = Callable[[], datetime]
"""Tells the present instant, in UTC. Passed in, so that tests can move time."""

SpanUnit = Literal["days", "months", "years"]

TIME_ZONES = frozenset(available_timezones() - {"localtime"})  # this host's own, not IANA's
"""The names of all time zones."""


def system_clock() -> datetime:
    """The present instant, in UTC."""
    return datetime.now(UTC)


def local_day(instant: datetime, zone: ZoneInfo) -> date:
    """The day of the mall in which `instant` lies."""
    return instant.astimezone(zone).date()


def day_start(day: date, zone: ZoneInfo) -> datetime:
    """The instant at which a day of the mall begins, in UTC."""
    return datetime.combine(day, time(), zone).astimezone(UTC)


def week_start(day: date) -> date:
    """The Monday of the week of `day`."""
    return day - timedelta(days=day.weekday())


def month_start(day: date) -> date:
    """The first day of the month of `day`."""
    return day.replace(day=1)


def next_month_start(day: date) -> date:
    """The first day of the month after that of `day`."""
    return (month_start(day) + timedelta(days=31)).replace(day=1)


def add_span(instant: datetime, value: int, unit: SpanUnit, zone: ZoneInfo) -> datetime:
    """`instant` moved by calendar time at the same local time of day.

    A day that the target month lacks becomes its last one (31 January + 1 month: 28 February).
    """
    local = instant.astimezone(zone)
    if unit == "days":
        moved = local.date() + timedelta(days=value)
    else:
        moved = _add_months(local.date(), value * (12 if unit == "years" else 1))
    return datetime.combine(moved, local.timetz()).astimezone(UTC)


def _add_months(day: date, months: int) -> date:
    year, month_index = divmod(day.year * 12 + day.month - 1 + months, 12)
    last = calendar.monthrange(year, month_index + 1)[1]
    return date(year, month_index + 1, min(day.day, last))
