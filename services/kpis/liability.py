"""What the mall owes its members, when that ends, and how much of it nobody will ask for.

Every lot that is not used up is in it, so it is measured at night and kept (`docs/kpis.md`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from services.calendar import local_day, next_month_start
from services.kpis.breakage import Cohort, Forecast, forecast, forecast_cohorts
from services.kpis.cohorts import read_movements
from services.patient_driver import patient_driver

_LONGEST_MEASUREMENT_S = 600


def _measured(zone: str) -> str:
    """One statement, so all of it is of one moment; `zone` is the parameter of the time zone."""
    return f"""
        SELECT (SELECT coalesce(sum(points), 0)::bigint FROM users) AS outstanding_points,
               coalesce(sum(pending), 0)::bigint AS pending_points,
               coalesce(jsonb_agg(jsonb_build_object('month', month, 'points', active)
                                  ORDER BY month) FILTER (WHERE active > 0), '[]') AS endings
        FROM (
            SELECT CAST(date_trunc('month', expires_at AT TIME ZONE CAST({zone} AS text)) AS date)
                       AS month,
                   coalesce(sum(points) FILTER (WHERE status = 'active'), 0)::bigint AS active,
                   coalesce(sum(points) FILTER (WHERE status = 'pending'), 0)::bigint AS pending
            FROM points_records WHERE status IN ('active', 'pending') GROUP BY 1
        ) lots
    """


_MEASURE = text(_measured(":zone"))
# What was measured earlier must not be written over what was measured later.
_KEEP = f"""
    INSERT INTO daily_liabilities AS kept
        (day, outstanding_points, pending_points, endings, measured_at)
    SELECT $1::date, measured.*, $2::timestamptz FROM ({_measured("$3")}) measured
    ON CONFLICT (day) DO UPDATE
    SET outstanding_points = excluded.outstanding_points,
        pending_points = excluded.pending_points,
        endings = excluded.endings,
        measured_at = excluded.measured_at
    WHERE kept.measured_at <= excluded.measured_at
"""
# By when, not by day: days are others after the mall's time zone was changed.
_NEWEST = text(
    """
    SELECT outstanding_points, pending_points, endings, measured_at
    FROM daily_liabilities ORDER BY measured_at DESC LIMIT 1
    """
)


@dataclass(frozen=True, slots=True)
class Ending:
    """Points that end in a month (its first day); None for those that never end."""

    month: date | None
    points: int


@dataclass(frozen=True, slots=True)
class Liability:
    """What members hold (`outstanding`) and will hold (`pending`), and when it ends.

    That is as of `measured_at`; `cohorts` and `forecast` are of the lots that end, as they stood
    when `as_of` ended: the last day of the last month that is kept, None before the first.
    """

    outstanding: int
    pending: int
    endings: Sequence[Ending]
    measured_at: datetime
    as_of: date | None
    cohorts: Sequence[Cohort]
    forecast: Forecast


async def keep_liability(session: AsyncSession, now: datetime, zone: ZoneInfo) -> None:
    """Measure what is owed now, and keep it instead of what was measured earlier on the day.

    Reads every lot that is not used up, in one statement, which may take its time.
    """
    driver = await patient_driver(session, _LONGEST_MEASUREMENT_S)
    asked = (local_day(now, zone), now, zone.key)
    await driver.execute(_KEEP, *asked, timeout=_LONGEST_MEASUREMENT_S)


async def read_liability(session: AsyncSession, now: datetime, zone: ZoneInfo) -> Liability:
    """What is owed, as it was measured last; before the first time it is measured now.

    Cohorts are of the months that are kept.
    """
    kept = (await session.execute(_NEWEST)).one_or_none()
    found = kept or (await session.execute(_MEASURE, {"zone": zone.key})).one()
    movements = await read_movements(session)
    last_month = max((each.month for each in movements), default=None)
    cohorts = forecast_cohorts(movements, last_month) if last_month else []
    return Liability(
        outstanding=found.outstanding_points,
        pending=found.pending_points,
        endings=[_ending(each["month"], each["points"]) for each in found.endings],
        measured_at=kept.measured_at if kept else now,
        as_of=last_month and next_month_start(last_month) - timedelta(days=1),
        cohorts=cohorts,
        forecast=forecast(cohorts),
    )


def _ending(month: str | None, points: int) -> Ending:
    return Ending(None if month is None else date.fromisoformat(month), points)
