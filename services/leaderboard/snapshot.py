"""Keeping the ranks that everyone had when a day ended (`domain.md`, Leaderboard).

Every past day is exact, however late it is kept: what was earned is known by day. One board of one
day is one transaction together with the note that it is kept, so it is kept once; what was missed
is caught up with, the latest day first.
"""

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from models.achievements import LOWEST_WEEKLY_RANK
from models.leaderboard import LeaderboardPeriod
from services.achievements.weekly_top import WEEKLY_TOP_JOB, weekly_top_payload
from services.bulk import Writes
from services.calendar import local_day
from services.leaderboard.boards import board_on
from services.leaderboard.partitions import drop_old_months, make_month
from services.leaderboard.scores import KEPT, PERIOD_SCORES, RANKED, give_room
from services.outbox import enqueue

ROWS_A_STATEMENT = 50_000
CAUGHT_UP_DAYS = 31
"""How far back days are kept that were missed: the first time, of a mall that is years old, too."""
_LOCK_KEY = 0x72616E6B73  # "ranks"

_LOCK = text(f"SELECT pg_advisory_xact_lock({_LOCK_KEY})")
_AWAIT_LOCK = text(f"SELECT pg_advisory_xact_lock_shared({_LOCK_KEY})")
_MISSING = text(
    """
    SELECT CAST(day AS date) AS day, period
    FROM (SELECT min(day) AS first FROM daily_earnings) earned
    CROSS JOIN LATERAL generate_series(
        greatest(first, CAST(:yesterday AS date) - CAST(:kept_days AS integer) + 1),
        CAST(:yesterday AS date), interval '1 day') AS past(day)
    CROSS JOIN unnest(CAST(:periods AS text[])) AS board(period)
    WHERE first IS NOT NULL AND NOT EXISTS (
        SELECT FROM rank_snapshots kept
        WHERE kept.day = CAST(past.day AS date) AND kept.period = board.period)
    ORDER BY 1 DESC, period LIMIT 1
    """
)
# What came after the day is taken off again. When it was reached is looked up only for those who
# have earned since.
_ALL_TIME_SCORES = """
    SELECT users.id AS user_id, ranked_points - coalesce(later.points, 0) AS points,
           CASE WHEN later.user_id IS NULL THEN ranked_at ELSE (
               SELECT max(last_at) FROM daily_earnings earned
               WHERE earned.user_id = users.id AND earned.day < CAST(:end AS date)
           ) END AS reached_at
    FROM users LEFT JOIN (
        SELECT user_id, sum(points) AS points FROM daily_earnings
        WHERE day >= CAST(:end AS date) GROUP BY user_id
    ) later ON later.user_id = users.id
    WHERE erased_at IS NULL AND ranked_points - coalesce(later.points, 0) > 0
"""
_MAKE_ROOM = text(
    """
    CREATE TEMPORARY TABLE ranked (user_id bigint, points bigint, rank integer) ON COMMIT DROP
    """
)
_RANK_PERIOD = text(f"INSERT INTO ranked WITH {KEPT}, scores AS ({PERIOD_SCORES}) {RANKED}")
_RANK_ALL_TIME = text(f"INSERT INTO ranked WITH scores AS ({_ALL_TIME_SCORES}) {RANKED}")
_KEEP = text(
    """
    INSERT INTO rank_history (user_id, period, day, rank, points)
    SELECT user_id, :period, CAST(:day AS date), rank, points FROM ranked
    WHERE rank BETWEEN :first AND :last
    """
)
_BEST = text("SELECT user_id, rank FROM ranked WHERE rank <= :last ORDER BY rank")
_NOTE = text(
    """
    INSERT INTO rank_snapshots (day, period, users, taken_at)
    VALUES (CAST(:day AS date), :period, :users, :now)
    """
)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A board of a day that was kept, and how many users it ranked."""

    period: LeaderboardPeriod
    day: date
    users: int


async def take_snapshot(session: AsyncSession, now: datetime, zone: ZoneInfo) -> Snapshot | None:
    """Keep one board of the latest day that ended and is not kept yet.

    None when nothing is missing; months that nobody can ask for go then. Raises Contended while
    somebody else keeps ranks, or somebody is erased.
    """
    await session.execute(_LOCK)
    today = local_day(now, zone)
    missing = (await session.execute(_MISSING, _asked(today))).one_or_none()
    if missing is None:
        await drop_old_months(session, today)
        return None
    period = LeaderboardPeriod(missing.period)
    await make_month(session, missing.day)
    users = await _rank(session, period, missing.day, zone)
    which = {"period": period, "day": missing.day}
    for first in range(1, users + 1, ROWS_A_STATEMENT):
        last = first + ROWS_A_STATEMENT - 1
        await session.execute(_KEEP, {**which, "first": first, "last": last})
    if period is LeaderboardPeriod.WEEKLY and board_on(period, missing.day).end == _next(
        missing.day
    ):
        await _honour(session, now)
    await session.execute(_NOTE, {**which, "users": users, "now": now})
    return Snapshot(period, missing.day, users)


async def _honour(session: AsyncSession, now: datetime) -> None:
    """Let the best of a week that has ended, who were just ranked, unlock what that achieves."""
    rows = await session.execute(_BEST, {"last": LOWEST_WEEKLY_RANK})
    writes = Writes()
    payload = weekly_top_payload({row.user_id: row.rank for row in rows})
    enqueue(writes, WEEKLY_TOP_JOB, [payload], now)
    await writes.flush(session)


def _next(day: date) -> date:
    return day + timedelta(days=1)


async def await_snapshots(session: AsyncSession) -> None:
    """Let none be taken until the transaction ends: whoever is erased meanwhile would be in it."""
    await session.execute(_AWAIT_LOCK)


def _asked(today: date) -> dict[str, Any]:
    return {
        "yesterday": today - timedelta(days=1),
        "kept_days": CAUGHT_UP_DAYS,
        "periods": list(LeaderboardPeriod),
    }


async def _rank(session: AsyncSession, period: LeaderboardPeriod, day: date, zone: ZoneInfo) -> int:
    """Rank everyone as the board stood when `day` ended; returns how many that are."""
    await give_room(session)
    await session.execute(_MAKE_ROOM)
    days: dict[str, Any] = {"end": _next(day)}
    first, which = board_on(period, day).first, _RANK_ALL_TIME
    if first is not None:
        which = _RANK_PERIOD
        days |= {"period": period, "zone": zone.key, "first": first}
    result: Any = await session.execute(which, days)
    return result.rowcount
