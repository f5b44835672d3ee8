"""Keeping what days came to, and correcting it where it changes later (`docs/decisions/0030`).

A day is one statement and one transaction, and may be kept any number of times: it comes to the
same, whoever does it and how often.
"""

from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from services.calendar import local_day
from services.clean_up import MEMBER_DAYS_KEPT, PUSHES_KEPT
from services.kpis.figures import COLUMNS, COMPUTE, OPENED_WITHIN_DAYS, days_asked
from services.kpis.turns import take_turn

ROLL_UP_JOB = "roll_up_kpis"
FINAL_AFTER_DAYS = OPENED_WITHIN_DAYS + 1
"""After so many days nothing changes a day but an exchange that is cancelled."""
_LONGEST_TRANSACTION = timedelta(minutes=10)
_LOCK_KEY = 0x6B706973  # "kpis"

_FORGOTTEN = ("pushes_sent", "pushes_opened", "active_members", "completing_members")


def _newer(name: str) -> str:
    """What is kept of a figure: pushes and visits are forgotten, what they came to stays."""
    if name in _FORGOTTEN:
        forgotten = "kept.day < CAST(:known_from AS date)"
        return f"{name} = CASE WHEN {forgotten} THEN kept.{name} ELSE excluded.{name} END"
    return f"{name} = excluded.{name}"


_KEEP = text(
    f"""
    INSERT INTO daily_figures AS kept ({", ".join(COLUMNS)}, computed_at)
    SELECT {", ".join(COLUMNS)}, :now FROM ({COMPUTE}) computed
    ON CONFLICT (day) DO UPDATE
    SET {", ".join(map(_newer, COLUMNS[1:]))}, computed_at = excluded.computed_at
    """
)
# Days are looked at once a night until they are final, and whenever they lost an exchange since;
# whoever cancelled one may have told the time before they were counted and committed after.
_NEXT = text(
    """
    SELECT CAST(each AS date) AS day
    FROM (SELECT (min(created_at) AT TIME ZONE CAST(:zone AS text))::date AS first FROM users) mall
    CROSS JOIN LATERAL generate_series(first, CAST(:yesterday AS date), interval '1 day') each
    LEFT JOIN daily_figures kept ON kept.day = CAST(each AS date)
    WHERE kept.day IS NULL
       OR (kept.computed_at < :today_began AND kept.day >= CAST(:open_from AS date))
       OR kept.day IN (
            SELECT (created_at AT TIME ZONE CAST(:zone AS text))::date
            FROM exchanges
            JOIN daily_figures counted
                ON counted.day = (created_at AT TIME ZONE CAST(:zone AS text))::date
            WHERE status = 'cancelled' AND counted.computed_at < :today_began
              AND cancelled_at >= counted.computed_at - CAST(:margin AS interval))
    ORDER BY 1 DESC LIMIT 1
    """
)
_FIRST = text("SELECT (min(created_at) AT TIME ZONE CAST(:zone AS text))::date FROM users")


async def keep_day(session: AsyncSession, day: date, now: datetime, zone: ZoneInfo) -> None:
    """Count a day that has ended, and keep what it came to instead of what was kept of it."""
    await take_turn(session, _LOCK_KEY)
    asked = days_asked(day, day, zone)
    await session.execute(_KEEP, {**asked, "now": now, "known_from": known_from(now, zone)})


def known_from(now: datetime, zone: ZoneInfo) -> date:
    """The first day of which nothing has been forgotten: of earlier ones only what was kept."""
    return local_day(now - min(PUSHES_KEPT, MEMBER_DAYS_KEPT), zone) + timedelta(days=2)


async def keep_next_day(session: AsyncSession, now: datetime, zone: ZoneInfo) -> date | None:
    """Keep one day that is missing or may have changed, the latest first; None when none is left.

    The day that has begun is never kept.
    """
    await take_turn(session, _LOCK_KEY)
    today = local_day(now, zone)
    asked = {
        "zone": zone.key,
        "yesterday": today - timedelta(days=1),
        "open_from": today - timedelta(days=FINAL_AFTER_DAYS),
        "today_began": days_asked(today, today, zone)["since"],
        "margin": _LONGEST_TRANSACTION,
    }
    day = (await session.execute(_NEXT, asked)).scalar_one_or_none()
    if day is not None:
        await keep_day(session, day, now, zone)
    return day


async def first_day(session: AsyncSession, zone: ZoneInfo) -> date | None:
    """The day on which the mall's first user came; None when nobody has."""
    return (await session.execute(_FIRST, {"zone": zone.key})).scalar_one_or_none()
