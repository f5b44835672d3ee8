"""Identifiers: of rows, made before the row is written, and as clients see them.

A batch settles in one statement per table; rows that refer to each other then need their ids
before any of them is stored (`docs/decisions/0003`).
"""

import base64
import os
import time
from datetime import datetime
from uuid import UUID


def new_id() -> UUID:
    """A UUIDv7 (RFC 9562): 48 bits of milliseconds, then chance. Sorts by the time it was made."""
    milliseconds = time.time_ns() // 1_000_000
    value = (milliseconds << 80) | int.from_bytes(os.urandom(10), "big")
    value = value & ~(0xF << 76) | (0x7 << 76)
    value = value & ~(0x3 << 62) | (0x2 << 62)
    return UUID(int=value)


def first_id_at(instant: datetime) -> UUID:
    """A bound below every id made from then on, and above those made before."""
    return UUID(int=int(instant.timestamp() * 1000) << 80)


def global_id(kind: str, key: object) -> str:
    """What clients call the `kind` (a type's name) with that key: opaque to them.

    Here, for pushes carry such ids too; `schema/ids.py` reads them.
    """
    return base64.urlsafe_b64encode(f"{kind}:{key}".encode()).decode().rstrip("=")
