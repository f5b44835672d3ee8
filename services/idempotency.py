"""Settling a request once per (user, operation, key) (`domain.md`, Points, Idempotency).

Looked up and stored under the user's lock, in the transaction of the movement itself: a key is
either settled together with what it did, or not at all. Refusals settle nothing, so a key that
was refused may be tried again.
"""

import hashlib
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
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


def replay(settled: Settled, key: str, asked: bytes) -> dict[str, Any]:
    """The first answer again; raises IdempotencyConflict when the input differs from the first."""
    if settled.fingerprint != asked:
        raise IdempotencyConflict(key)
    return settled.answer


@dataclass(slots=True)
class Keys:
    """The keys of a batch under the locks of whoever used them: settled before, and now."""

    settled: dict[KeyOf, Settled]
    new: dict[KeyOf, Settled] = field(default_factory=dict[KeyOf, Settled])

    def once(
        self, user_id: int, key: str, asked: bytes, act: Callable[[], dict[str, Any]]
    ) -> tuple[dict[str, Any], bool]:
        """Act and keep the answer, or give the one kept before; and whether it was.

        Raises IdempotencyConflict, and whatever refusal `act` raises: then nothing is kept.
        """
        known = self.settled.get((user_id, key))
        if known is not None:
            return replay(known, key, asked), True
        answer = act()
        self.settled[user_id, key] = self.new[user_id, key] = Settled(asked, answer)
        return answer, False


_FIND = text(
    """
    SELECT user_id, key, fingerprint, answer
    FROM unnest(CAST(:user_ids AS bigint[]), CAST(:keys AS text[])) AS asked(user_id, key)
    JOIN idempotency_keys USING (user_id, key)
    WHERE operation = :operation
    """
)


async def find_keys(session: AsyncSession, operation: str, keys: Iterable[KeyOf]) -> Keys:
    """What was settled under these keys before; the users must be locked."""
    asked = list(set(keys))
    parameters = {
        "operation": operation,
        "user_ids": [user_id for user_id, _ in asked],
        "keys": [key for _, key in asked],
    }
    rows = await session.execute(_FIND, parameters)
    return Keys({(row.user_id, row.key): Settled(row.fingerprint, row.answer) for row in rows})


def store_settled(
    writes: Writes, operation: str, settled: dict[KeyOf, Settled], now: datetime
) -> None:
    """Add the answers given now to what is written; in the transaction that settles them."""
    rows = [
        (user_id, operation, key, entry.fingerprint, entry.answer, now)
        for (user_id, key), entry in settled.items()
    ]
    writes.insert(IdempotencyKey, _COLUMNS, rows)
