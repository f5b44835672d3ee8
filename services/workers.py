"""How many workers there are: each holds a shared lock of PostgreSQL for as long as it lives.

No heartbeat to keep, and none to wait for: a lock ends with its session.
"""

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

_KEY = 0x776F726B  # "work"; below 2^32, so that pg_locks shows it as objid alone

_JOIN = text("SELECT pg_advisory_lock_shared(:key)")
_COUNT = text(
    """
    SELECT count(*) FROM pg_locks
    WHERE locktype = 'advisory' AND classid = 0 AND objid = :key AND granted
      AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
    """
)


async def join_workers(connection: AsyncConnection) -> None:
    """Count as a worker for as long as this connection lives, which must be nobody else's."""
    await connection.execute(_JOIN, {"key": _KEY})
    await connection.commit()


async def count_workers(connection: AsyncConnection) -> int:
    """The workers that are connected now."""
    found = (await connection.execute(_COUNT, {"key": _KEY})).scalar_one()
    await connection.commit()
    return found
