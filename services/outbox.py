"""Asking, within a transaction, for a job after its commit; and keeping account of what was asked.

A row here is a promise: it exists exactly when the transaction that wrote it does, and it is open
until its job is done or has failed for good. Whoever sends or runs it may die at any moment: then
it falls due again (`domain.md`, Jobs).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from models.outbox import OutboxMessage
from services.bulk import Writes

CHANNEL = "outbox"
"""What PostgreSQL notifies when a row is written."""

_COLUMNS = ("job", "payload", "created_at", "due_at")
_IS_OPEN = "done_at IS NULL AND failed_at IS NULL"
IS_UP = f"{_IS_OPEN} AND (sent_at IS NOT NULL OR due_at <= :now)"
"""Open, and not waiting: a late copy of a message must not skip the pause after a failure."""

# A row is taken by one relay only, and no relay waits for another. Sent again, a row that nobody
# has begun keeps the time since when it waits for a worker: that is how long jobs are late.
_TAKE_DUE = text(
    f"""
    UPDATE outbox
    SET sent_at = CASE WHEN claim IS NULL THEN coalesce(sent_at, :now) ELSE :now END,
        due_at = :due_again, claim = NULL
    FROM (
        SELECT due.id
        FROM unnest(CAST(:jobs AS text[]), CAST(:most AS bigint[])) AS wanted(job, most)
        CROSS JOIN LATERAL (
            SELECT count(*) AS messages FROM (
                SELECT FROM outbox
                WHERE job = wanted.job AND sent_at IS NOT NULL AND due_at > :now AND {_IS_OPEN}
                LIMIT most
            ) sent
        ) in_flight
        CROSS JOIN LATERAL (
            SELECT id FROM outbox
            WHERE job = wanted.job AND due_at <= :now AND {_IS_OPEN}
            ORDER BY due_at, id
            LIMIT most - in_flight.messages
            FOR UPDATE SKIP LOCKED
        ) due
    ) taken
    WHERE outbox.id = taken.id
    RETURNING outbox.id, job
    """
)
_NEXT_DUE = text(
    f"""
    SELECT min(due_at) FROM unnest(CAST(:jobs AS text[])) AS wanted(job)
    CROSS JOIN LATERAL (
        SELECT due_at FROM outbox WHERE job = wanted.job AND {_IS_OPEN} ORDER BY due_at LIMIT 1
    ) soonest
    """
)
_LOCK_OPEN = text(
    f"""
    SELECT id, payload, attempts FROM outbox
    WHERE id = ANY(CAST(:ids AS bigint[])) AND {IS_UP}
    ORDER BY id FOR UPDATE SKIP LOCKED
    """
)
_DONE = text(
    f"""
    UPDATE outbox SET done_at = :now, error = NULL
    WHERE id = ANY(CAST(:ids AS bigint[])) AND {_IS_OPEN}
    """
)
_STILL_DUE = text(
    f"""
    UPDATE outbox SET due_at = :now
    WHERE id = ANY(CAST(:ids AS bigint[])) AND claim IS NULL AND sent_at IS NOT NULL
      AND {_IS_OPEN}
    """
)
_NOT_BEGUN = text(
    f"""
    UPDATE outbox SET due_at = :due_at, sent_at = NULL
    WHERE id = ANY(CAST(:ids AS bigint[])) AND claim IS NULL AND sent_at IS NOT NULL
      AND {_IS_OPEN}
    """
)
_FAILED = text(
    f"""
    UPDATE outbox
    SET attempts = attempts + 1, error = :error, sent_at = NULL, claim = NULL,
        due_at = coalesce(CAST(:due_at AS timestamptz), due_at),
        failed_at = CASE WHEN CAST(:due_at AS timestamptz) IS NULL
                         THEN CAST(:now AS timestamptz) END
    WHERE id = :id AND claim IS NOT DISTINCT FROM CAST(:claim AS uuid) AND {_IS_OPEN}
    """
)
_LIST_FAILED = text(
    """
    SELECT id, job, payload, attempts, error, created_at, failed_at FROM outbox
    WHERE failed_at IS NOT NULL ORDER BY id LIMIT :limit
    """
)
_RETRY = text(
    """
    UPDATE outbox SET failed_at = NULL, attempts = 0, sent_at = NULL, due_at = :now
    WHERE failed_at IS NOT NULL AND (:every OR id = ANY(CAST(:ids AS bigint[])))
    RETURNING id
    """
)
_FORGET_DONE = text(
    """
    DELETE FROM outbox WHERE id IN (
        SELECT id FROM outbox WHERE done_at < :before ORDER BY done_at LIMIT :limit
        FOR UPDATE SKIP LOCKED
    )
    """
)


@dataclass(frozen=True, slots=True)
class Message:
    """A job that was asked for: what it is about, and how often it has failed."""

    id: int
    payload: Mapping[str, Any]
    attempts: int


@dataclass(frozen=True, slots=True)
class FailedJob:
    """A job that failed for good."""

    id: int
    job: str
    payload: Mapping[str, Any]
    attempts: int
    error: str
    created_at: datetime
    failed_at: datetime


def enqueue(
    writes: Writes,
    job: str,
    payloads: Sequence[Mapping[str, Any]],
    now: datetime,
    *,
    due_at: datetime | None = None,
) -> None:
    """Add one outbox row per payload for the job of that name, not to be run before `due_at`."""
    enqueue_later(writes, [(job, payload, due_at or now) for payload in payloads], now)


def enqueue_later(
    writes: Writes, asked: Sequence[tuple[str, Mapping[str, Any], datetime]], now: datetime
) -> None:
    """Add one outbox row each of (job, payload, not to be run before)."""
    rows = [(job, payload, now, due_at) for job, payload, due_at in asked]
    writes.insert(OutboxMessage, _COLUMNS, rows)


async def take_due(
    session: AsyncSession, most_in_flight: Mapping[str, int], now: datetime, resend_after_s: float
) -> dict[str, list[int]]:
    """Take what is due, as sent now, and return the ids by job.

    Of each job no more are taken than keeps `most_in_flight` of it sent and not done. What is
    neither done nor put off within `resend_after_s` falls due again.
    """
    parameters = {
        "jobs": list(most_in_flight),
        "most": list(most_in_flight.values()),
        "now": now,
        "due_again": now + timedelta(seconds=resend_after_s),
    }
    taken: dict[str, list[int]] = {}
    for identifier, job in await session.execute(_TAKE_DUE, parameters):
        taken.setdefault(job, []).append(identifier)
    return {job: sorted(ids) for job, ids in taken.items()}


async def next_due(session: AsyncSession, jobs: Sequence[str]) -> datetime | None:
    """When the next open row of those jobs falls due; None when there is none."""
    return (await session.execute(_NEXT_DUE, {"jobs": list(jobs)})).scalar_one()


async def lock_open(session: AsyncSession, ids: Sequence[int], now: datetime) -> list[Message]:
    """The rows that are to be done now, locked; those that somebody does right now are left."""
    found = await session.execute(_LOCK_OPEN, {"ids": list(ids), "now": now})
    return [Message(*row) for row in found]


async def mark_done(session: AsyncSession, ids: Sequence[int], now: datetime) -> None:
    """Close rows whose job is done."""
    await session.execute(_DONE, {"ids": list(ids), "now": now})


async def note_not_sent(session: AsyncSession, ids: Sequence[int], now: datetime) -> None:
    """Let rows fall due at once that were taken and could not be sent: they go on waiting."""
    await session.execute(_STILL_DUE, {"ids": list(ids), "now": now})


async def note_not_begun(session: AsyncSession, ids: Sequence[int], due_at: datetime) -> None:
    """Let rows fall due then whose job was interrupted and has changed nothing."""
    await session.execute(_NOT_BEGUN, {"ids": list(ids), "due_at": due_at})


async def note_failure(
    session: AsyncSession,
    identifier: int,
    error: str,
    now: datetime,
    due_at: datetime | None,
    claim: UUID | None = None,
) -> bool:
    """Note that a job failed: to be tried again at `due_at`, or for good (None).

    False, and nothing noted, when somebody else has claimed the row meanwhile.
    """
    parameters = {"id": identifier, "error": error, "now": now, "due_at": due_at, "claim": claim}
    result: Any = await session.execute(_FAILED, parameters)
    return result.rowcount == 1


async def failed_jobs(session: AsyncSession, limit: int) -> list[FailedJob]:
    """The jobs that failed for good, oldest first."""
    return [FailedJob(*row) for row in await session.execute(_LIST_FAILED, {"limit": limit})]


async def retry_failed(
    session: AsyncSession, ids: Sequence[int] | None, now: datetime
) -> Sequence[int]:
    """Open failed jobs again (None: all of them) and return the ids of those that were."""
    parameters = {"ids": list(ids or ()), "every": ids is None, "now": now}
    return (await session.execute(_RETRY, parameters)).scalars().all()


async def forget_done(session: AsyncSession, before: datetime, limit: int) -> int:
    """Delete up to `limit` rows that were done before then; returns how many."""
    result: Any = await session.execute(_FORGET_DONE, {"before": before, "limit": limit})
    return result.rowcount
