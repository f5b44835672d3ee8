"""Claiming a row of the outbox: for a job that works outside of the transaction that ends it.

One worker has a row at a time. Who has one keeps it from falling due; who dies, or is away for too
long, loses it: the row falls due, and the relay that sends it again takes the claim off. Whoever
had it can then neither close nor fail it, and finds out by that.
"""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from services.outbox import IS_UP, Message

_IS_OURS = "id = :id AND claim = :claim AND done_at IS NULL AND failed_at IS NULL"

_CLAIM = text(
    f"""
    UPDATE outbox SET claim = :claim, due_at = :due_at, sent_at = coalesce(sent_at, :now)
    WHERE id = :id AND claim IS NULL AND {IS_UP}
    RETURNING id, payload, attempts
    """
)
_KEEP = text(f"UPDATE outbox SET due_at = :due_at WHERE {_IS_OURS}")
_HOLD = text(f"SELECT id FROM outbox WHERE {_IS_OURS} FOR UPDATE")
_CLOSE = text(f"UPDATE outbox SET done_at = :now, claim = NULL, error = NULL WHERE {_IS_OURS}")
_GIVE_BACK = text(
    f"UPDATE outbox SET due_at = :due_at, sent_at = NULL, claim = NULL WHERE {_IS_OURS}"
)


@dataclass(frozen=True, slots=True)
class Claim:
    """One worker's claim on one row."""

    id: int
    claim: UUID = field(default_factory=uuid4)


async def claim_row(
    session: AsyncSession, claim: Claim, now: datetime, due_at: datetime
) -> Message | None:
    """Claim a row until `due_at`; None when it is done, waits, or somebody else has it."""
    parameters = _parameters(claim, now=now, due_at=due_at)
    row = (await session.execute(_CLAIM, parameters)).one_or_none()
    return None if row is None else Message(*row)


async def keep_claim(session: AsyncSession, claim: Claim, due_at: datetime) -> bool:
    """Keep the row until `due_at`; False when the claim is lost."""
    return await _hit(session, _KEEP, claim, due_at=due_at)


async def hold_claim(session: AsyncSession, claim: Claim) -> bool:
    """Whether the row is still ours, and nobody else's until this transaction ends."""
    return (await session.execute(_HOLD, _parameters(claim))).one_or_none() is not None


async def close_claimed(session: AsyncSession, claim: Claim, now: datetime) -> bool:
    """Note that the row's job is done; False when the claim is lost, and then nothing is noted."""
    return await _hit(session, _CLOSE, claim, now=now)


async def give_back(session: AsyncSession, claim: Claim, due_at: datetime) -> None:
    """Let the row fall due then, for whoever comes next."""
    await _hit(session, _GIVE_BACK, claim, due_at=due_at)


async def _hit(session: AsyncSession, statement: Any, claim: Claim, **parameters: Any) -> bool:
    result: Any = await session.execute(statement, _parameters(claim, **parameters))
    return result.rowcount == 1


def _parameters(claim: Claim, **parameters: Any) -> dict[str, Any]:
    return {"id": claim.id, "claim": claim.claim, **parameters}
