"""Opening transactions and reads at the edge, and telling when a store is away.

An operation never opens or commits anything: a resolver, a job or a group commit does, here.
"""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import asyncpg
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncSession

from models.stores import Sessions
from services.errors import ServiceUnavailable

_AWAY = (
    OSError,
    TimeoutError,
    PoolTimeoutError,
    RedisConnectionError,
    RedisTimeoutError,
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    asyncpg.CannotConnectNowError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.TooManyConnectionsError,
    asyncpg.IdleSessionTimeoutError,
    asyncpg.IdleInTransactionSessionTimeoutError,
    asyncpg.ObjectNotInPrerequisiteStateError,  # the database takes no connections for now
    asyncpg.ReadOnlySQLTransactionError,
)
_CONTENDED = (
    asyncpg.QueryCanceledError,
    asyncpg.LockNotAvailableError,
    asyncpg.DeadlockDetectedError,
)


class Contended(ServiceUnavailable):
    """Somebody held what was needed for too long. The store is there: others may go on."""


def is_store_away(error: BaseException) -> bool:
    """Whether asking again later may help: a store is down, restarting, overloaded or slow."""
    return isinstance(error, ServiceUnavailable) or _is_any(error, _AWAY + _CONTENDED)


def _is_any(error: BaseException, kinds: tuple[type[BaseException], ...]) -> bool:
    if isinstance(error, DBAPIError):
        if error.connection_invalidated and kinds is not _CONTENDED:
            return True
        error = (error.orig and error.orig.__cause__) or error.orig or error
    # asyncpg's DataError is an InterfaceError too, but says that we sent nonsense.
    return isinstance(error, kinds) and not isinstance(error, ValueError)


def _translated(error: Exception) -> Exception:
    """What the error means to whoever asked: ServiceUnavailable, or itself."""
    if isinstance(error, ServiceUnavailable) or not is_store_away(error):
        return error
    kind = Contended if _is_any(error, _CONTENDED) else ServiceUnavailable
    translated = kind(str(error))
    translated.__cause__ = error
    return translated


@asynccontextmanager
async def transaction(sessions: Sessions) -> AsyncGenerator[AsyncSession]:
    """A session whose work is committed when the block ends, and undone when it raises.

    After the commit those who listen to `sessions` are told (`services.announcements`).

    Raises ServiceUnavailable when the database is away, Contended when a lock was not to be had.
    """
    try:
        async with sessions() as session:
            async with session.begin():
                yield session
            for tell in sessions.after_commit:
                tell(session.info)
    except Exception as error:
        translated = _translated(error)
        if translated is error:
            raise
        raise translated from error


@asynccontextmanager
async def reading(sessions: Sessions) -> AsyncGenerator[AsyncSession]:
    """A session for statements that each stand alone; raises ServiceUnavailable as above."""
    try:
        async with sessions() as session:
            yield session
    except Exception as error:
        translated = _translated(error)
        if translated is error:
            raise
        raise translated from error
