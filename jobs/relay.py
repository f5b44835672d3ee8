"""Sending what the outbox holds to the broker, after the commit that wrote it.

Any number of relays run at once: a row is taken by one of them. PostgreSQL wakes them when a row
is written; they look by themselves, too, when the next row falls due.
"""

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import structlog
from dramatiq import Broker
from sqlalchemy.ext.asyncio import AsyncConnection

from jobs.broker import send
from jobs.job import Job
from services.errors import said
from services.mall import Mall
from services.outbox import CHANNEL, next_due, note_not_sent, take_due
from services.transaction import is_store_away, reading, transaction
from services.workers import count_workers, join_workers

LONGEST_WAIT_S = 1.0
"""How long a relay that hears nothing waits before it looks again."""
_WAIT_FOR_ROOM_S = 0.1
_ROUNDS_IN_FLIGHT = 2  # of a job: as many messages as run at once, and as many that wait
_COUNT_WORKERS_EVERY_S = 5.0
_PAUSE_AFTER_ERROR_S = 1.0

_log = structlog.get_logger(__name__)


@dataclass(slots=True)
class Relay:
    """Moves due rows to the broker, until stopped."""

    mall: Mall
    broker: Broker
    jobs: Mapping[str, Job]
    _wake: asyncio.Event = field(default_factory=asyncio.Event, init=False)
    _workers: int = field(default=1, init=False)
    _count_workers_at_s: float = field(default=0.0, init=False)

    async def run(self) -> None:
        """Relay until cancelled; stores that are away are waited for."""
        while True:
            try:
                async with self._listening() as connection:
                    while True:
                        self._wake.clear()
                        await self._count_workers(connection)
                        if not await self.relay_once():
                            await self._wait()
            except Exception as error:
                if not is_store_away(error):
                    raise
                _log.warning("relay_interrupted", error=said(error))
                await asyncio.sleep(_PAUSE_AFTER_ERROR_S)

    async def relay_once(self) -> int:
        """Send what is due now; returns how many rows that were.

        The rows are taken and committed first, so that whoever gets the message finds them free. A
        relay that dies in between leaves rows that fall due again.
        """
        mall = self.mall
        resend_s = mall.settings.jobs.job_resend_s
        async with reading(mall.stores.read) as session:  # one statement, which stands alone
            taken = await take_due(session, self._room(), mall.clock(), resend_s)
        for name, ids in taken.items():
            try:
                await asyncio.to_thread(send, self.broker, self.jobs[name], ids)
            except Exception as error:  # noqa: BLE001 — of whatever broker; the rows stay due
                _log.warning("broker_away", job=name, rows=len(ids), error=said(error))
                await self._give_back(ids)
        return sum(map(len, taken.values()))

    def _room(self) -> dict[str, int]:
        """How many rows of each job may be under way: what the workers there are can do soon.

        More would only wait in the broker, and be sent again because it waits.
        """
        threads = self.mall.settings.jobs.worker_threads * self._workers
        return {name: job.batch * threads * _ROUNDS_IN_FLIGHT for name, job in self.jobs.items()}

    async def _count_workers(self, connection: AsyncConnection) -> None:
        """Now and then, on the connection that listens: so that it is noticed when that is dead."""
        now_s = asyncio.get_running_loop().time()
        if now_s >= self._count_workers_at_s:
            self._workers = max(1, await count_workers(connection))
            self._count_workers_at_s = now_s + _COUNT_WORKERS_EVERY_S

    async def _give_back(self, ids: Sequence[int]) -> None:
        async with transaction(self.mall.stores.write) as session:
            await note_not_sent(session, ids, self.mall.clock())
        await asyncio.sleep(_PAUSE_AFTER_ERROR_S)

    async def _wait(self) -> None:
        async with reading(self.mall.stores.read) as session:
            due_at = await next_due(session, list(self.jobs))
        wait_s = LONGEST_WAIT_S
        if due_at is not None:
            left_s = (due_at - self.mall.clock()).total_seconds()
            # What is due and was not taken waits for room, which workers make all the time.
            wait_s = min(wait_s, left_s) if left_s > 0 else _WAIT_FOR_ROOM_S
        try:
            async with asyncio.timeout(wait_s):
                await self._wake.wait()
        except TimeoutError:
            return

    @asynccontextmanager
    async def _listening(self) -> AsyncGenerator[AsyncConnection]:
        """Hear of new rows on a connection of its own, which counts this worker as there."""
        async with self.mall.stores.engine.connect() as connection:
            raw: Any = (await connection.get_raw_connection()).driver_connection

            def hear(*_: object) -> None:
                self._wake.set()

            await join_workers(connection)
            self._count_workers_at_s = 0.0
            await raw.add_listener(CHANNEL, hear)
            try:
                yield connection
            finally:
                if not raw.is_closed():
                    await raw.remove_listener(CHANNEL, hear)
                await connection.invalidate()  # with it goes the lock that counts
