"""Adding up the days of a running week and month that have ended.

Nobody but `recount.py` writes to a day that has ended, so its sums stay true; a board is then those
sums and the days since. Without them, or of another zone, boards are computed from the days alone:
dearer, and the same.
"""

from collections.abc import Mapping
from datetime import date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import TextClause, text
from sqlalchemy.ext.asyncio import AsyncSession

from models.leaderboard import LeaderboardPeriod
from services.calendar import local_day, month_start, week_start

USERS_A_STATEMENT = 100_000
"""By their ids: one statement for all users might take longer than one may."""
_FIRST_DAY = {LeaderboardPeriod.WEEKLY: week_start, LeaderboardPeriod.MONTHLY: month_start}
_LOCK_KEY = 0x73756D73  # "sums"

_LOCK = text(f"SELECT pg_advisory_xact_lock({_LOCK_KEY})")
_KEPT = text("SELECT zone, first, until FROM period_earnings_kept WHERE period = :period")
_FORGET = text(
    "DELETE FROM period_earnings WHERE period = :period AND user_id > :after AND user_id <= :last"
)
_DROP_NOTES = text("DELETE FROM period_earnings_kept")
_LAST_USER = text("SELECT coalesce(max(id), 0) FROM users")
_ADD_DAY = text(
    """
    INSERT INTO period_earnings AS kept (period, user_id, points, last_at)
    SELECT :period, user_id, points, last_at FROM daily_earnings
    WHERE day = CAST(:day AS date) AND user_id > :after AND user_id <= :last
    ON CONFLICT (period, user_id) DO UPDATE
    SET points = kept.points + excluded.points,
        last_at = greatest(kept.last_at, excluded.last_at)
    """
)
_NOTE = text(
    """
    INSERT INTO period_earnings_kept (period, zone, first, until)
    VALUES (:period, :zone, CAST(:first AS date), CAST(:until AS date))
    ON CONFLICT (period) DO UPDATE
    SET zone = excluded.zone, first = excluded.first, until = excluded.until
    """
)


async def add_ended_day(session: AsyncSession, now: datetime, zone: ZoneInfo) -> date | None:
    """Add a day to the sums of the week or month of yesterday; None when none is missing.

    The transaction holds what is added together with the note that it is: each day counts once.
    Raises Contended while somebody else adds one.
    """
    await lock_sums(session)
    yesterday = local_day(now, zone) - timedelta(days=1)
    for period in _FIRST_DAY:
        day = await _next_day(session, period, yesterday, zone)
        if day <= yesterday:
            await _add(session, period, day, zone)
            return day
    return None


async def lock_sums(session: AsyncSession) -> None:
    """Let nobody else add up days, or correct ones, until the transaction ends.

    Who adds one may take seconds, and may have read days as they were before they are corrected: so
    this comes before the lock of any member. Raises Contended while somebody else is at it.
    """
    await session.execute(_LOCK)


async def forget_sums(session: AsyncSession) -> None:
    """Use no sums until the nightly job has added them anew: days that ended were corrected.

    The transaction holds `lock_sums`.
    """
    await session.execute(_DROP_NOTES)


async def _next_day(
    session: AsyncSession, period: LeaderboardPeriod, yesterday: date, zone: ZoneInfo
) -> date:
    """The first day that is not added yet; before that of a new week or month all is forgotten."""
    first = _FIRST_DAY[period](yesterday)
    kept = (await session.execute(_KEPT, {"period": period})).one_or_none()
    if kept is not None and (kept.zone, kept.first) == (zone.key, first):
        return kept.until
    await _execute_for_all(session, _FORGET, {"period": period})
    return first


async def _add(session: AsyncSession, period: LeaderboardPeriod, day: date, zone: ZoneInfo) -> None:
    await _execute_for_all(session, _ADD_DAY, {"period": period, "day": day})
    until = day + timedelta(days=1)
    kept = {"period": period, "zone": zone.key, "first": _FIRST_DAY[period](day), "until": until}
    await session.execute(_NOTE, kept)


async def _execute_for_all(
    session: AsyncSession, statement: TextClause, asked: Mapping[str, Any]
) -> None:
    last_user = (await session.execute(_LAST_USER)).scalar_one()
    for after in range(0, last_user, USERS_A_STATEMENT):
        portion = {"after": after, "last": after + USERS_A_STATEMENT}
        await session.execute(statement, {**asked, **portion})
