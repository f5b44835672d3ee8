"""The scheduler process: asks for jobs by the clock. Any number may run; one leads.

Who holds an advisory lock of PostgreSQL leads. The lock belongs to a session, and the session asks
for jobs: whoever has lost it can no longer do so. A leader that dies loses it at once, one that is
frozen or cut off when PostgreSQL has heard nothing of it for some seconds.
"""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager

import structlog
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession

from jobs.schedule import Scheduled, latest_slot
from services.mall import Mall
from services.schedule import last_slots, take_slot
from services.transaction import is_store_away

LEADER_LOCK = 0x706F696E7473  # "points"
TICK_S = 1.0
_TAKE_OVER_AFTER_MS = 4_000
_PAUSE_AFTER_ERROR_S = 1.0

_LOCK = text("SELECT pg_try_advisory_lock(:key)")
_LIMITS = (
    f"SET idle_session_timeout = {_TAKE_OVER_AFTER_MS}",
    f"SET idle_in_transaction_session_timeout = {_TAKE_OVER_AFTER_MS}",
    f"SET tcp_user_timeout = {_TAKE_OVER_AFTER_MS}",
    "SET tcp_keepalives_idle = 2",
    "SET tcp_keepalives_interval = 1",
    "SET tcp_keepalives_count = 3",
)

_log = structlog.get_logger(__name__)


async def keep_schedule(mall: Mall, schedule: Sequence[Scheduled]) -> None:
    """Lead, or wait to lead, until cancelled; a database that is away is waited for."""
    while True:
        try:
            async with _connection(mall) as connection:
                await _wait_for_lead(connection)
                _log.info("scheduler_leads")
                while True:
                    await tick(connection, mall, schedule)
                    await asyncio.sleep(TICK_S)
        except Exception as error:
            if not is_store_away(error):
                raise
            _log.warning("scheduler_interrupted", error=repr(error))
            await asyncio.sleep(_PAUSE_AFTER_ERROR_S)


@asynccontextmanager
async def _connection(mall: Mall) -> AsyncGenerator[AsyncConnection]:
    """A connection of the scheduler's own, which nobody uses afterwards."""
    async with mall.stores.engine.connect() as connection:
        try:
            for limit in _LIMITS:
                await connection.execute(text(limit))
            await connection.commit()
            yield connection
        finally:
            await connection.invalidate()


async def _wait_for_lead(connection: AsyncConnection) -> None:
    while True:
        is_leader = (await connection.execute(_LOCK, {"key": LEADER_LOCK})).scalar_one()
        await connection.commit()
        if is_leader:
            return
        await asyncio.sleep(TICK_S)


async def tick(connection: AsyncConnection, mall: Mall, schedule: Sequence[Scheduled]) -> None:
    """Ask for every job whose time has come since it last came."""
    now = mall.clock()
    async with AsyncSession(connection) as session, session.begin():
        slots = await last_slots(session, [entry.job for entry in schedule], now)
        for entry in schedule:
            slot_at = latest_slot(entry.times, slots[entry.job], now, mall.zone)
            if slot_at is not None and await take_slot(session, entry.job, slot_at, now):
                _log.info("job_due", job=entry.job, slot_at=slot_at.isoformat())
