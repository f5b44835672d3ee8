"""Deleting what has served its time, a bounded number of rows at once."""

from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import TextClause, text
from sqlalchemy.ext.asyncio import AsyncSession

from services.calendar import Clock
from services.identifiers import first_id_at
from services.outbox import forget_done
from services.points.velocity import DEVICE_DAYS

KEYS_KEPT = timedelta(days=35)
"""`domain.md`, Points: 30 days at least."""
DONE_JOBS_KEPT = timedelta(days=3)
SUPPRESSED_PUSHES_KEPT = timedelta(days=30)
"""Members without a device have some every day, of which nobody heard."""
PUSHES_KEPT = timedelta(days=400)
"""A year and a month: what a year is compared with is still there."""
MEMBER_DAYS_KEPT = PUSHES_KEPT
"""On which days members were seen: what those days came to is kept in `daily_figures`."""
ALERTS_KEPT = PUSHES_KEPT
"""From when they were over: those that are open stay."""
VISITS_KEPT = timedelta(days=2)
"""They are compared with others of the same day of the mall only, wherever its midnight is."""
ROWS_A_BATCH = 5_000

_FORGET_DEVICE_USERS = text(
    """
    DELETE FROM device_users WHERE (token_digest, user_id) IN (
        SELECT token_digest, user_id FROM device_users
        WHERE last_seen_at < :before ORDER BY last_seen_at LIMIT :limit
    )
    """
)

_FORGET_KEYS = text(
    """
    DELETE FROM idempotency_keys WHERE (user_id, operation, key) IN (
        SELECT user_id, operation, key FROM idempotency_keys
        WHERE created_at < :before ORDER BY created_at LIMIT :limit
    )
    """
)
_SUPPRESSED = text(
    """
    SELECT id FROM push_records
    WHERE status = 'suppressed' AND id < :before ORDER BY id LIMIT :limit
    """
)
# What is still queued after so long is for whoever looks into it, not for a broom.
_OLD_PUSHES = text(
    """
    SELECT id FROM push_records WHERE id < :before AND status <> 'queued' ORDER BY id LIMIT :limit
    """
)
_FORGET_VISITS = text(
    """
    DELETE FROM share_visits WHERE (day, share_id, visitor) IN (
        SELECT day, share_id, visitor FROM share_visits
        WHERE day < CAST(:before AS date) ORDER BY day LIMIT :limit
    )
    """
)
_FORGET_MEMBER_DAYS = text(
    """
    DELETE FROM member_days WHERE (day, user_id) IN (
        SELECT day, user_id FROM member_days
        WHERE day < CAST(:before AS date) ORDER BY day LIMIT :limit
    )
    """
)
_FORGET_ALERTS = text(
    """
    DELETE FROM alerts WHERE id IN (
        SELECT id FROM alerts WHERE resolved_at < :before ORDER BY resolved_at LIMIT :limit
    )
    """
)
_FORGET_DELIVERIES = text("DELETE FROM push_deliveries WHERE push_id = ANY(CAST(:ids AS uuid[]))")
_FORGET_PUSHES = text("DELETE FROM push_records WHERE id = ANY(CAST(:ids AS uuid[]))")


async def clean_up_batch(session: AsyncSession, clock: Clock) -> int | None:
    """Delete a bounded number of rows that nobody needs; None when there was none."""
    now = clock()
    keys: Any = await session.execute(
        _FORGET_KEYS, {"before": now - KEYS_KEPT, "limit": ROWS_A_BATCH}
    )
    jobs = await forget_done(session, now - DONE_JOBS_KEPT, ROWS_A_BATCH)
    pushes = await _forget_pushes(session, _SUPPRESSED, now - SUPPRESSED_PUSHES_KEPT)
    pushes += await _forget_pushes(session, _OLD_PUSHES, now - PUSHES_KEPT)
    visits: Any = await session.execute(
        _FORGET_VISITS, {"before": (now - VISITS_KEPT).date(), "limit": ROWS_A_BATCH}
    )
    devices: Any = await session.execute(
        _FORGET_DEVICE_USERS, {"before": now - timedelta(days=DEVICE_DAYS), "limit": ROWS_A_BATCH}
    )
    days: Any = await session.execute(
        _FORGET_MEMBER_DAYS, {"before": (now - MEMBER_DAYS_KEPT).date(), "limit": ROWS_A_BATCH}
    )
    alerts: Any = await session.execute(
        _FORGET_ALERTS, {"before": now - ALERTS_KEPT, "limit": ROWS_A_BATCH}
    )
    gone = (alerts, devices, days, keys, visits)
    return sum(each.rowcount for each in gone) + jobs + pushes or None


async def _forget_pushes(session: AsyncSession, which: TextClause, before: datetime) -> int:
    """Delete pushes, and first what devices got of them: a suppressed one may have reached some."""
    parameters = {"before": first_id_at(before), "limit": ROWS_A_BATCH}
    ids = (await session.execute(which, parameters)).scalars().all()
    if ids:
        await session.execute(_FORGET_DELIVERIES, {"ids": ids})
        await session.execute(_FORGET_PUSHES, {"ids": ids})
    return len(ids)
