"""Measuring what is dear to measure, every few minutes, for `services.monitoring.figures` to read.

Definitions: `docs/alerts.md`, and `services.kpis.rates` for rates. Users are read as a whole, once
for all that is counted of them: an index of `last_login_at` would make every noted login dearer,
and save less.
"""

from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from models.monitoring import MeasuredFigure
from services.bulk import insert_rows
from services.calendar import local_day
from services.kpis.rates import RATE_DAYS, exchange_rate, expiry_rate
from services.monitoring.gains import MOST_GAINS, Gain, figures_of
from services.patient_driver import patient_driver
from services.points.account import OPENING_BALANCE

_LONGEST_STATEMENT_S = 120
_COLUMNS = ("name", "value", "measured_at")
_REPLACE = (
    "ON CONFLICT (name) DO UPDATE SET value = excluded.value, measured_at = excluded.measured_at"
)

# Staff sign in, too: members are who were seen as such on a day that the span meets.
_MEMBERS = """
    WITH exchanging AS MATERIALIZED (
        SELECT DISTINCT user_id FROM exchanges WHERE created_at > $2 AND status <> 'cancelled'
    ), seen AS MATERIALIZED (
        SELECT user_id, max(day) AS last_day FROM member_days WHERE day >= $4 GROUP BY user_id
    )
    SELECT count(*) FILTER (WHERE erased_at IS NULL) AS members,
           count(*) FILTER (WHERE last_login_at > $1 AND seen.last_day >= $3) AS active_24h,
           count(*) FILTER (WHERE (last_login_at > $2 AND seen.user_id IS NOT NULL)
                                  OR exchanging.user_id IS NOT NULL) AS active_30d,
           count(exchanging.user_id) AS exchanging
    FROM users
    LEFT JOIN exchanging ON exchanging.user_id = users.id
    LEFT JOIN seen ON seen.user_id = users.id
"""
_EXPIRING = """
    SELECT coalesce(sum(points), 0) FROM points_records
    WHERE status = 'active' AND expires_at > $1 AND expires_at <= $2
"""
_GONE = """
    SELECT coalesce(-sum(amount) FILTER (WHERE action = 'expire'), 0) AS expired,
           coalesce(-sum(amount) FILTER (WHERE action IN ('redeem', 'extend', 'refund')), 0)
               AS redeemed
    FROM points_audit_log WHERE created_at > $1
"""
# Balances brought from elsewhere are no gains.
_LARGEST_GAINS = f"""
    SELECT user_id, sum(amount) AS points FROM points_audit_log
    WHERE created_at > $1 AND action = 'earn' AND source IS DISTINCT FROM '{OPENING_BALANCE}'
    GROUP BY user_id ORDER BY points DESC, user_id LIMIT {MOST_GAINS}
"""


async def measure_figures(session: AsyncSession, now: datetime, zone: ZoneInfo) -> None:
    """Measure, and keep what was found with the instant for which it is true.

    With millions of members it takes some seconds of a core: its statements may.
    """
    await session.execute(text("SELECT 1"))
    driver = await patient_driver(session, _LONGEST_STATEMENT_S)
    found = {
        **await _of_members(driver, now, zone),
        **await _of_points(driver, now),
        **await _of_gains(driver, now),
    }
    rows = [(name, value, now) for name, value in sorted(found.items())]
    await insert_rows(session, MeasuredFigure, _COLUMNS, rows, suffix=_REPLACE)


async def _of_members(driver: Any, now: datetime, zone: ZoneInfo) -> dict[str, float | None]:
    day, days = now - timedelta(days=1), now - timedelta(days=RATE_DAYS)
    asked = (day, days, local_day(day, zone), local_day(days, zone))
    row = await driver.fetchrow(_MEMBERS, *asked, timeout=_LONGEST_STATEMENT_S)
    return {
        "members": row["members"],
        "active_users_24h": row["active_24h"],
        "active_users_30d": row["active_30d"],
        "exchange_rate": exchange_rate(row["exchanging"], row["active_30d"]),
    }


async def _of_points(driver: Any, now: datetime) -> dict[str, float | None]:
    week, days = now + timedelta(days=7), now - timedelta(days=RATE_DAYS)
    expiring = await driver.fetchval(_EXPIRING, now, week, timeout=_LONGEST_STATEMENT_S)
    gone = await driver.fetchrow(_GONE, days, timeout=_LONGEST_STATEMENT_S)
    expired, redeemed = int(gone["expired"]), int(gone["redeemed"])
    return {
        "expiring_points_7d": int(expiring),
        "expiry_rate_30d": expiry_rate(expired, redeemed),
        "gone_points_30d": expired + max(0, redeemed),
    }


async def _of_gains(driver: Any, now: datetime) -> dict[str, float | None]:
    hour = now - timedelta(hours=1)
    rows = await driver.fetch(_LARGEST_GAINS, hour, timeout=_LONGEST_STATEMENT_S)
    return figures_of([Gain(row["user_id"], int(row["points"])) for row in rows])
