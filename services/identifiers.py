"""Identifiers for ledger rows, made before the row is written; and global ids for clients.

A batch settles in one statement per table; rows that refer to each other then need their ids
before any of them is stored (`docs/decisions/0003`).
"""

import os
import time
from base64 import urlsafe_b64encode
from uuid import UUID


def new_id() -> UUID:
    """A UUIDv7 (RFC 9562): 48 bits of milliseconds, then chance. Sorts by the time it was made."""
    milliseconds = time.time_ns() // 1_000_000
    value = (milliseconds << 80) | int.from_bytes(os.urandom(10), "big")
    value = value & ~(0xF << 76) | (0x7 << 76)
    value = value & ~(0x3 << 62) | (0x2 << 62)
    return UUID(int=value)


def global_id(kind: str, key: object) -> str:
    """What clients know the `kind` (a type's name) with that key by; `schema/ids.py` reads it."""
    return urlsafe_b64encode(f"{kind}:{key}".encode()).decode().rstrip("=")
