"""Settling a request once per (user, operation, key) (`domain.md`, Points, Idempotency).

Looked up and stored under the user's lock, in the transaction of the movement itself: a key is
either settled together with what it did, or not at all. Refusals settle nothing, so a key that
was refused may be tried again.
"""

import hashlib
import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from models.points import IdempotencyKey
from services.bulk import Writes
from services.errors import IdempotencyConflict, InvalidInput

LONGEST_KEY = 128

KeyOf = tuple[int, str]
"""(user id, key): what identifies a request within one operation."""

_FIND = text(
    """
    SELECT fingerprint, answer FROM idempotency_keys
    WHERE user_id = :user_id AND operation = :operation AND key = :key
    """
)
_COLUMNS = ("user_id", "operation", "key", "fingerprint", "answer", "created_at")


@dataclass(frozen=True, slots=True)
class Settled:
    """What was answered the first time, and to what input."""

    fingerprint: bytes
    answer: dict[str, Any]


class KeyInvalid(InvalidInput):
    """The idempotency key is empty, too long, or holds what cannot be stored."""


def require_key(key: str) -> None:
    """Raise KeyInvalid unless the key has 1 to 128 characters that can be stored."""
    if not 1 <= len(key) <= LONGEST_KEY or "\x00" in key:
        raise KeyInvalid(("idempotencyKey",), f"1 to {LONGEST_KEY} characters")


def fingerprint(**values: Any) -> bytes:
    """A digest of a request's input, to tell a repetition from another request."""
    canonical = json.dumps(values, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(canonical.encode("utf-8", "surrogatepass")).digest()


async def find_settled(session: AsyncSession, operation: str, owner: KeyOf) -> Settled | None:
    """What was answered to the key before; under the user's lock it stays so."""
    user_id, key = owner
    asked = {"user_id": user_id, "operation": operation, "key": key}
    row = (await session.execute(_FIND, asked)).one_or_none()
    return None if row is None else Settled(row.fingerprint, row.answer)


def replay(settled: Settled, key: str, asked: bytes) -> dict[str, Any]:
    """The first answer again; raises IdempotencyConflict when the input differs from the first."""
    if settled.fingerprint != asked:
        raise IdempotencyConflict(key)
    return settled.answer


def store_settled(
    writes: Writes, operation: str, settled: dict[KeyOf, Settled], now: datetime
) -> None:
    """Add the answers given now to what is written; in the transaction that settles them."""
    rows = [
        (user_id, operation, key, entry.fingerprint, entry.answer, now)
        for (user_id, key), entry in settled.items()
    ]
    writes.insert(IdempotencyKey, _COLUMNS, rows)
