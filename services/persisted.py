"""Texts of GraphQL documents by their hash, shared by all processes.

Redis holds what can be rebuilt, and clients send a text again that is not found: a store that is
away, full or emptied costs a round trip, no more. Each text has one of a fixed number of places,
so nobody can fill the store; the newest has it.
"""

import hashlib
import time
from typing import Final

import structlog
from redis.asyncio import Redis
from redis.exceptions import RedisError

from models.stores import NAMESPACE

_PAUSE_S: Final = 1.0
LIFETIME_S: Final = 7 * 86_400
PLACES: Final = 8_192
MAX_BYTES: Final = 16 * 1024
"""With all places taken these are 128 MiB; usual texts are of 1 KiB."""

_log: structlog.stdlib.BoundLogger = structlog.get_logger()


def hash_of(text: str) -> str:
    """The hash by which clients name a text: SHA-256, in small hexadecimal digits."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


class PersistedTexts:
    """The texts in Redis. Raises nothing: what cannot be read is not there."""

    def __init__(self, redis: "Redis") -> None:
        """Nothing is read yet."""
        self._redis = redis
        self._asked_again_at_s = 0.0

    async def find(self, digest: str) -> str | None:
        """The text with this hash; it is checked, whatever stands in the store."""
        if self._is_away():
            return None
        try:
            found = await self._redis.get(_place(digest))
        except (RedisError, OSError) as error:
            self._note_away("persisted_text_not_read", error)
            return None
        text = found.decode("utf-8", "replace") if isinstance(found, bytes) else found
        return text if text is not None and hash_of(text) == digest else None

    async def keep(self, digest: str, text: str) -> None:
        """Keep the text for a week from now, unless it is too long."""
        if self._is_away() or len(text.encode("utf-8", "surrogatepass")) > MAX_BYTES:
            return
        try:
            await self._redis.set(_place(digest), text, ex=LIFETIME_S)
        except UnicodeEncodeError:  # half a surrogate pair: of no use to anybody else
            return
        except (RedisError, OSError) as error:
            self._note_away("persisted_text_not_kept", error)

    def _is_away(self) -> bool:
        return time.monotonic() < self._asked_again_at_s

    def _note_away(self, event: str, error: Exception) -> None:
        """Let nobody wait for it for a moment: a store that hangs would hold up every request."""
        self._asked_again_at_s = time.monotonic() + _PAUSE_S
        _log.warning(event, cause=repr(error))


def _place(digest: str) -> str:
    return f"{NAMESPACE}:persisted:{int(digest[:8], 16) % PLACES}"
