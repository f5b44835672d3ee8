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
    asyncpg.CannotConnectNowError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.TooManyConnectionsError,
    asyncpg.QueryCanceledError,
    asyncpg.LockNotAvailableError,
    asyncpg.DeadlockDetectedError,
    asyncpg.ReadOnlySQLTransactionError,
)


def is_store_away(error: BaseException) -> bool:
    """Whether asking again later may help: a store is down, restarting, overloaded or slow."""
    if isinstance(error, ServiceUnavailable):
        return True
    if isinstance(error, DBAPIError):
        if error.connection_invalidated:
            return True
        cause = error.orig.__cause__ if error.orig is not None else None
        # asyncpg's DataError is an InterfaceError too, but says that we sent nonsense.
        return isinstance(cause or error.orig, _AWAY) and not isinstance(cause, ValueError)
    return isinstance(error, _AWAY) and not isinstance(error, ValueError)


@asynccontextmanager
async def transaction(sessions: Sessions) -> AsyncGenerator[AsyncSession]:
    """A session whose work is committed when the block ends, and undone when it raises.

    Raises ServiceUnavailable when the database is away.
    """
    try:
        async with sessions() as session, session.begin():
            yield session
    except Exception as error:
        if is_store_away(error) and not isinstance(error, ServiceUnavailable):
            raise ServiceUnavailable(str(error)) from error
        raise


@asynccontextmanager
async def reading(sessions: Sessions) -> AsyncGenerator[AsyncSession]:
    """A session for statements that each stand alone; raises ServiceUnavailable as above."""
    try:
        async with sessions() as session:
            yield session
    except Exception as error:
        if is_store_away(error) and not isinstance(error, ServiceUnavailable):
            raise ServiceUnavailable(str(error)) from error
        raise
