"""Identifiers: of rows, made before the row is written, and as clients see them.

A batch settles in one statement per table; rows that refer to each other then need their ids
before any of them is stored (`docs/decisions/0003`).
"""

import base64
import binascii
import os
import time
from datetime import datetime
from uuid import UUID

_LONGEST_GLOBAL_ID = 200
_MOST_DIGITS = 18  # any such number fits a bigint


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

    Here, for pushes and events carry such ids too.
    """
    return base64.urlsafe_b64encode(f"{kind}:{key}".encode()).decode().rstrip("=")


def read_global_id(value: str) -> tuple[str, str] | None:
    """(kind, key) of a global id; None for what `global_id` would not have made."""
    try:
        padded = value[:_LONGEST_GLOBAL_ID] + "=" * (-len(value) % 4)
        kind, _, key = base64.b64decode(padded, b"-_", validate=True).decode().partition(":")
    except (binascii.Error, ValueError):
        return None
    return (kind, key) if global_id(kind, key) == value else None


def read_number(key: str) -> int | None:
    """A key that is a number; None for what no number of a row is written as."""
    number = int(key) if key.isascii() and key.isdigit() and len(key) <= _MOST_DIGITS else None
    return number if str(number) == key else None  # else 007 would be another id of 7
