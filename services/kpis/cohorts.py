"""What became of the points of each month, by month (`docs/kpis.md`, Liability and breakage).

A cohort is all lots with an end that could be spent first in one month of the mall. Months that
have ended are kept in `cohort_months`: the log they are counted from never changes.
"""

from dataclasses import dataclass
from datetime import date, datetime
from zoneinfo import ZoneInfo

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from services.calendar import day_start, local_day, month_start, next_month_start
from services.kpis.turns import take_turn
from services.patient_driver import patient_driver

_LOCK_KEY = 0x636F686F7274  # "cohort"
_LONGEST_COUNT_S = 600

_NEXT = text(
    """
    SELECT CAST(each AS date) AS month
    FROM (SELECT date_trunc('month', min(created_at) AT TIME ZONE CAST(:zone AS text)) AS first
          FROM users) mall
    CROSS JOIN LATERAL generate_series(
        first, CAST(:this_month AS timestamp) - interval '1 month', interval '1 month') each
    WHERE NOT EXISTS (SELECT FROM cohort_months WHERE month = CAST(each AS date)
                                                  AND cohort = CAST(each AS date))
    ORDER BY 1 LIMIT 1
    """
)
_FORGET = text("DELETE FROM cohort_months WHERE month = CAST(:month AS date)")
# A month always has a row of its own cohort: that says that it was counted.
_KEEP = """
    WITH log AS (
        SELECT user_id, sequence, action, amount, details FROM points_audit_log
        WHERE created_at >= $2 AND created_at < $3
    ), moved AS (
        SELECT CAST(details ->> 'lot' AS uuid) AS lot_id, amount AS granted,
               0 AS redeemed, 0 AS expired, 0 AS taken
        FROM log WHERE action IN ('earn', 'adjust') AND amount > 0
        UNION ALL
        SELECT CAST(ended.key AS uuid), 0, 0, CAST(ended.value AS bigint), 0
        FROM log CROSS JOIN LATERAL jsonb_each_text(details -> 'lots') ended
        WHERE action = 'expire'
        UNION ALL
        SELECT points_record_id, 0,
               CASE WHEN action IN ('redeem', 'extend', 'refund') THEN points ELSE 0 END, 0,
               CASE WHEN action IN ('redeem', 'extend', 'refund') THEN 0 ELSE points END
        FROM log JOIN lot_draws USING (user_id, sequence)
    ), of_cohorts AS (
        SELECT CAST(date_trunc('month', coalesce(available_at, created_at)
                                        AT TIME ZONE $4::text) AS date) AS cohort,
               moved.*
        FROM moved JOIN points_records lot ON lot.id = lot_id WHERE lot.expires_at IS NOT NULL
        UNION ALL SELECT $1::date, NULL, 0, 0, 0, 0
    )
    INSERT INTO cohort_months
        (cohort, month, granted_points, redeemed_points, expired_points, taken_points)
    SELECT cohort, $1::date, sum(granted), sum(redeemed), sum(expired), sum(taken)
    FROM of_cohorts GROUP BY cohort
"""
_READ = text(
    """
    SELECT cohort, month, granted_points, redeemed_points, expired_points, taken_points
    FROM cohort_months ORDER BY cohort, month
    """
)


@dataclass(frozen=True, slots=True)
class Movement:
    """What became of a cohort's points in one month; `taken` were taken back or corrected away."""

    cohort: date
    month: date
    granted: int = 0
    redeemed: int = 0
    expired: int = 0
    taken: int = 0

    @property
    def age(self) -> int:
        """Whole months between the two; 0 is the cohort's own month."""
        months = (self.month.year - self.cohort.year) * 12 + self.month.month - self.cohort.month
        return max(0, months)


async def keep_month(session: AsyncSession, month: date, zone: ZoneInfo) -> None:
    """Count a month (its first day) that has ended, and keep that instead of what was kept.

    It is one statement over a month of the log, which may take its time.
    """
    await take_turn(session, _LOCK_KEY)
    await session.execute(_FORGET, {"month": month})
    since, until = day_start(month, zone), day_start(next_month_start(month), zone)
    driver = await patient_driver(session, _LONGEST_COUNT_S)
    await driver.execute(_KEEP, month, since, until, zone.key, timeout=_LONGEST_COUNT_S)


async def keep_next_month(session: AsyncSession, now: datetime, zone: ZoneInfo) -> date | None:
    """Keep one month that has ended and is missing, the first first; None when none is."""
    await take_turn(session, _LOCK_KEY)
    asked = {"zone": zone.key, "this_month": month_start(local_day(now, zone))}
    month = (await session.execute(_NEXT, asked)).scalar_one_or_none()
    if month is not None:
        await keep_month(session, month, zone)
    return month


async def read_movements(session: AsyncSession) -> list[Movement]:
    """What became of all cohorts in the months that are kept."""
    return [Movement(*row) for row in await session.execute(_READ)]
