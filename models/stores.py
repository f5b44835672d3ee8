"""PostgreSQL and Redis: opened once per process, closed at its end."""

import asyncio
import math
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from sqlalchemy import event
from sqlalchemy.exc import DisconnectionError
from sqlalchemy.ext.asyncio import (
    AsyncEngine,
    AsyncSession,
    async_sessionmaker,
    create_async_engine,
)

from settings import SettingsError, StoreSettings

NAMESPACE: Final = "{points-mall}"
"""What every key in Redis begins with, and every channel, whoever else has keys there. The braces
keep all in one slot of a Redis Cluster, where scripts reach them together."""
_SHARE_OF_WRITES, _SHARE_OF_BULK = 0.3, 0.2


def _listeners() -> list[Callable[[Mapping[Any, Any]], None]]:
    return []


@dataclass(frozen=True, slots=True)
class Sessions:
    """Opens sessions, a bounded number at once, in the order in which they were asked for.

    The pool itself is not fair: whoever comes just when a connection is given back takes it from
    those that wait, some of whom then wait for ever (seen with 64 clients on 10 connections).
    """

    maker: async_sessionmaker[AsyncSession]
    places: asyncio.Semaphore
    wait_s: float
    after_commit: list[Callable[[Mapping[Any, Any]], None]] = field(default_factory=_listeners)
    """Told of each commit by what was noted in the `info` of its session."""

    @asynccontextmanager
    async def __call__(self) -> AsyncGenerator[AsyncSession]:
        """A session; raises TimeoutError after `wait_s` without a place."""
        async with asyncio.timeout(self.wait_s):
            await self.places.acquire()
        try:
            async with self.maker() as session:
                yield session
        finally:
            self.places.release()


@dataclass(frozen=True, slots=True)
class Stores:
    """Where data lives. `write` opens sessions for transactions, `read` sessions without one.

    A read is one statement, so a transaction around it would only cost two round trips more
    (measured: 6,600 against 9,000 selects a second). `bulk` is for transactions over many members.
    Neither reads nor bulk can take the places of others: however many there are, movements settle.
    """

    engine: AsyncEngine
    write: Sessions
    bulk: Sessions
    read: Sessions
    redis: Redis


def create_engine(settings: StoreSettings) -> AsyncEngine:
    """An engine whose every wait is bounded; raises SettingsError without a URL."""
    if settings.database_url is None:
        raise SettingsError("MALL_DATABASE_URL is not set and no embedded server was started")
    engine = create_async_engine(
        settings.database_url,
        pool_size=settings.database_pool_size,
        # A worker listens, a scheduler leads on a connection that is not one of a session's.
        max_overflow=1,
        # Errors go into logs and the outbox: tokens, addresses and texts must not.
        hide_parameters=True,
        pool_timeout=settings.database_pool_wait_s,
        connect_args={
            "timeout": settings.database_connect_timeout_s,
            "command_timeout": settings.database_statement_timeout_s,
            "server_settings": {
                "application_name": "points-mall",
                "timezone": "UTC",
                # Compiling plans costs more than it saves on statements of milliseconds.
                "jit": "off",
                # Every statement is short and takes parameters: one plan for all of them, rather
                # than planning anew (up to 1 ms) with the parameters at hand.
                "plan_cache_mode": "force_generic_plan",
                # Behind a client that is gone, a lock must not be held for ever.
                "idle_in_transaction_session_timeout": "30s",
                "statement_timeout": f"{settings.database_statement_timeout_s * 1000:.0f}",
                # One member whose row is held elsewhere must not hold up a whole batch.
                "lock_timeout": f"{settings.database_lock_timeout_s * 1000:.0f}",
            },
        },
    )
    event.listen(engine.sync_engine, "checkout", _refuse_closed_connection)
    return engine


def _refuse_closed_connection(connection: Any, _record: Any, _proxy: Any) -> None:
    """Let the pool replace a connection whose server went away while it lay idle.

    asyncpg hears of the end by itself, so this costs no round trip, unlike `pool_pre_ping`.
    """
    if connection.driver_connection.is_closed():
        raise DisconnectionError


def create_redis(settings: StoreSettings) -> Redis:
    """A Redis client that waits `redis_timeout_s` at most and never repeats a command unasked."""
    if settings.redis_url is None:
        raise SettingsError("MALL_REDIS_URL is not set and no embedded server was started")
    return Redis.from_url(
        settings.redis_url,
        decode_responses=True,
        socket_timeout=settings.redis_timeout_s,
        socket_connect_timeout=settings.redis_timeout_s,
        retry=Retry(NoBackoff(), 0),
    )


def _sessions(
    engine: AsyncEngine, places: int, wait_s: float, info: Mapping[str, Any] | None
) -> Sessions:
    begins_with = None if info is None else dict(info)
    maker = async_sessionmaker(engine, expire_on_commit=False, autoflush=False, info=begins_with)
    return Sessions(maker, asyncio.Semaphore(places), wait_s)


@asynccontextmanager
async def open_stores(
    settings: StoreSettings, info: Mapping[str, Any] | None = None
) -> AsyncGenerator[Stores]:
    """Open both stores lazily (neither must be up yet) and close them at the end.

    `info` is what the `info` of every session begins with.
    """
    engine = create_engine(settings)
    autocommit = engine.execution_options(isolation_level="AUTOCOMMIT")
    redis = create_redis(settings)
    for_bulk = math.ceil(settings.database_pool_size * _SHARE_OF_BULK)
    for_writes = math.ceil(settings.database_pool_size * _SHARE_OF_WRITES)
    for_reads = settings.database_pool_size - for_writes - for_bulk
    try:
        yield Stores(
            engine=engine,
            write=_sessions(engine, for_writes, settings.database_pool_wait_s, info),
            bulk=_sessions(engine, for_bulk, settings.database_statement_timeout_s, info),
            read=_sessions(autocommit, for_reads, settings.database_pool_wait_s, info),
            redis=redis,
        )
    finally:
        await redis.aclose()
        await engine.dispose()
