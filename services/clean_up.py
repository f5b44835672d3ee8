"""Deleting what has served its time: done jobs, and keys that are too old to come again."""

from datetime import timedelta
from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from services.calendar import Clock
from services.outbox import forget_done

KEYS_KEPT = timedelta(days=35)
"""`domain.md`, Points: 30 days at least."""
DONE_JOBS_KEPT = timedelta(days=3)
ROWS_A_BATCH = 5_000

_FORGET_KEYS = text(
    """
    DELETE FROM idempotency_keys WHERE (user_id, operation, key) IN (
        SELECT user_id, operation, key FROM idempotency_keys
        WHERE created_at < :before ORDER BY created_at LIMIT :limit
    )
    """
)


async def clean_up_batch(session: AsyncSession, clock: Clock) -> int | None:
    """Delete a bounded number of rows that nobody needs; None when there was none."""
    now = clock()
    keys: Any = await session.execute(
        _FORGET_KEYS, {"before": now - KEYS_KEPT, "limit": ROWS_A_BATCH}
    )
    jobs = await forget_done(session, now - DONE_JOBS_KEPT, ROWS_A_BATCH)
    return keys.rowcount + jobs or None
