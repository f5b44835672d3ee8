"""Runs of the training: one at a time, ready all at once, the one before kept.

A run that was killed stays `training` while nobody trains; the next one, which holds the lock,
fails it and clears it away. Nobody ever reads of a run that is not ready.
"""

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any

import orjson
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from models.recommendations import RunState
from models.stores import Stores
from services.transaction import reading

ROWS_A_PIECE = 5_000
_LOCK_KEY = 0x747261696E  # "train"

_LOCK = text("SELECT pg_try_advisory_lock(:key)")
_UNLOCK = text("SELECT pg_advisory_unlock(:key)")
_BEGIN = text(
    """
    INSERT INTO recommendation_runs (state, started_at) VALUES ('training', :now) RETURNING id
    """
)
_HOLD = text("SELECT id FROM recommendation_runs WHERE id = :id AND state = 'training' FOR SHARE")
_END = text(
    """
    UPDATE recommendation_runs
    SET state = :state, finished_at = :now, figures = CAST(:figures AS jsonb)
    WHERE id = :id AND state = 'training' RETURNING id
    """
)
_FAIL_KILLED = text(
    """
    UPDATE recommendation_runs SET state = 'failed', finished_at = :now WHERE state = 'training'
    """
)
CURRENT_RUN = "SELECT id FROM recommendation_runs WHERE state = 'ready' ORDER BY id DESC LIMIT 1"
"""A query for the run to recommend by: no row before the first one."""
# All but the newest that is ready and the one before.
_OLD = text(
    """
    SELECT id FROM recommendation_runs
    WHERE state = 'failed' OR (state = 'ready' AND id < (
        SELECT id FROM recommendation_runs WHERE state = 'ready' ORDER BY id DESC OFFSET 1 LIMIT 1))
    ORDER BY id
    """
)
_CLEAR = tuple(
    text(
        f"""
        DELETE FROM {table} WHERE (run_id, {key}) IN (
            SELECT run_id, {key} FROM {table} WHERE run_id = :id LIMIT {ROWS_A_PIECE})
        """
    )
    for table, key in (
        ("item_neighbours", "item_id, kind"),
        ("interest_items", "interest"),
        ("popular_items", "audience, rank"),
    )
)
_DROP = text("UPDATE recommendation_runs SET state = 'dropped' WHERE id = :id")


class RunLost(Exception):
    """The run is no longer this process's: another began while this one was cut off."""


@asynccontextmanager
async def training_lock(stores: Stores) -> AsyncGenerator[bool]:
    """Whether nobody else trains, and nobody will until the block ends.

    The lock is a session's of PostgreSQL: whoever is killed loses it at once.
    """
    async with reading(stores.read) as session:
        is_ours = (await session.execute(_LOCK, {"key": _LOCK_KEY})).scalar_one()
        try:
            yield is_ours
        finally:
            if is_ours:
                await _unlock(session)


async def _unlock(session: AsyncSession) -> None:
    """Given back with the lock on it, the connection would keep everybody from training."""
    try:
        await session.execute(_UNLOCK, {"key": _LOCK_KEY})
    except BaseException:
        await session.invalidate()
        raise


async def begin_run(session: AsyncSession, now: datetime) -> int:
    """A new run; those that were killed are failed. Only with the lock."""
    await session.execute(_FAIL_KILLED, {"now": now})
    return (await session.execute(_BEGIN, {"now": now})).scalar_one()


async def hold_run(session: AsyncSession, run_id: int) -> None:
    """See to it that the run stays ours until this transaction ends; raises RunLost."""
    if (await session.execute(_HOLD, {"id": run_id})).one_or_none() is None:
        raise RunLost(f"run {run_id}")


async def end_run(
    session: AsyncSession, run_id: int, state: RunState, figures: Mapping[str, Any], now: datetime
) -> None:
    """Make the run ready, which swaps it in, or failed; raises RunLost."""
    facts = {"id": run_id, "state": state, "figures": orjson.dumps(figures).decode(), "now": now}
    if (await session.execute(_END, facts)).one_or_none() is None:
        raise RunLost(f"run {run_id}")


async def old_runs(session: AsyncSession) -> Sequence[int]:
    """The runs of which nothing has to be kept."""
    return (await session.execute(_OLD)).scalars().all()


async def clear_piece(session: AsyncSession, run_id: int) -> bool:
    """Delete some rows of a run; False when there were none left, and the run is dropped."""
    deleted = 0
    for statement in _CLEAR:
        result: Any = await session.execute(statement, {"id": run_id})
        deleted += result.rowcount
    if not deleted:
        await session.execute(_DROP, {"id": run_id})
    return deleted > 0
