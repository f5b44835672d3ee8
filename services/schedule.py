"""Keeping account of the schedule: no time of a job comes twice, whoever keeps it."""

from datetime import datetime

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

_FIRST_SEEN = text(
    """
    INSERT INTO scheduled_jobs (job, slot_at)
    SELECT job, :now FROM unnest(CAST(:jobs AS text[])) AS new(job)
    ON CONFLICT (job) DO NOTHING
    """
)
_LAST_SLOTS = text("SELECT job, slot_at FROM scheduled_jobs WHERE job = ANY(CAST(:jobs AS text[]))")
# One statement: the slot is taken and its job asked for, or neither. A job that is still to be done
# is not asked for again: behind workers that were away one would wait for every slot.
_TAKE_SLOT = text(
    """
    WITH taken AS (
        UPDATE scheduled_jobs SET slot_at = :slot_at
        WHERE job = :job AND slot_at < :slot_at
        RETURNING job
    )
    INSERT INTO outbox (job, payload, created_at, due_at)
    SELECT job, jsonb_build_object('slot_at', CAST(:written AS text)), :now, :now FROM taken
    WHERE NOT EXISTS (
        SELECT FROM outbox AS open
        WHERE open.job = taken.job AND done_at IS NULL AND failed_at IS NULL
    )
    RETURNING id
    """
)


async def last_slots(session: AsyncSession, jobs: list[str], now: datetime) -> dict[str, datetime]:
    """When each job last came. One that is new comes at its next time, not at once."""
    await session.execute(_FIRST_SEEN, {"jobs": jobs, "now": now})
    rows = await session.execute(_LAST_SLOTS, {"jobs": jobs})
    return {row.job: row.slot_at for row in rows}


async def take_slot(session: AsyncSession, job: str, slot_at: datetime, now: datetime) -> bool:
    """Ask for a job at a time of its schedule.

    False when that time has been taken already, or the job that was asked for before is not done.
    """
    parameters = {"job": job, "slot_at": slot_at, "written": slot_at.isoformat(), "now": now}
    return (await session.execute(_TAKE_SLOT, parameters)).first() is not None
