"""Running what the outbox asks for.

A row is done when its job is: a SetJob's effects and the note that it is done are one commit. A
job that fails is tried again later, with growing pauses, and in the end kept as failed.
"""

import asyncio
import random
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta

import structlog

from jobs.job import Job, SetJob, StepJob
from services.backoff import pause_s
from services.errors import ServiceUnavailable
from services.mall import Mall
from services.outbox import Message, lock_open, mark_done, note_failure, put_off, read_open
from services.transaction import Contended, is_store_away, transaction

MOST_ATTEMPTS = 10
FIRST_PAUSE_S = 5.0
LONGEST_PAUSE_S = 3_600.0
_LONGEST_ERROR = 500

_log = structlog.get_logger(__name__)


@dataclass(slots=True)
class Runner:
    """Runs rows of the outbox by their ids; `stop` lets long jobs end after their step."""

    mall: Mall
    jobs: Mapping[str, Job]
    is_stopping: bool = field(default=False, init=False)

    def stop(self) -> None:
        """Let no long job begin another step: another worker goes on with it."""
        self.is_stopping = True

    async def run(self, name: str, ids: Sequence[int]) -> None:
        """Run one message of the broker: rows of one job. Never raises what a job raises."""
        job = self.jobs[name]
        try:
            if isinstance(job, SetJob):
                await self._run_together(job, ids)
            else:
                for identifier in ids:
                    await self._run_in_steps(job, identifier)
        except Exception as error:  # noqa: BLE001 — it is noted, and belongs to the rows
            await self._fail(job, ids, error)

    async def _run_together(self, job: SetJob, ids: Sequence[int]) -> None:
        mall = self.mall
        async with transaction(mall.stores.write) as session:
            messages = await lock_open(session, ids)
            if not messages:
                return
            await job.run(session, mall, [message.payload for message in messages])
            await mark_done(session, [message.id for message in messages], mall.clock())

    async def _run_in_steps(self, job: StepJob, identifier: int) -> None:
        mall = self.mall
        async with transaction(mall.stores.write) as session:
            messages = await read_open(session, [identifier])
        for message in messages:
            async with self._kept([identifier]):
                while await job.run(mall, message.payload):
                    if self.is_stopping:
                        await self._put_off([identifier], 0.0, in_flight=False)
                        return
            async with transaction(mall.stores.write) as session:
                await mark_done(session, [identifier], mall.clock())

    @asynccontextmanager
    async def _kept(self, ids: Sequence[int]) -> AsyncGenerator[None]:
        """Keep rows from falling due while they are worked on."""
        resend_s = self.mall.settings.jobs.job_resend_s

        async def keep() -> None:
            while True:
                await asyncio.sleep(resend_s / 3)
                try:
                    await self._put_off(ids, resend_s, in_flight=True)
                except ServiceUnavailable as error:  # at worst the row is run by two at once
                    _log.warning("job_not_kept", ids=list(ids), error=str(error))

        keeper = asyncio.create_task(keep())
        try:
            yield
        finally:
            keeper.cancel()

    async def _put_off(self, ids: Sequence[int], by_s: float, *, in_flight: bool) -> None:
        due_at = self.mall.clock() + timedelta(seconds=by_s)
        async with transaction(self.mall.stores.write) as session:
            await put_off(session, ids, due_at, in_flight=in_flight)

    async def _fail(self, job: Job, ids: Sequence[int], error: Exception) -> None:
        """Note a failure; one bad row must not fail its neighbours."""
        is_away = is_store_away(error) and not isinstance(error, Contended)
        if is_away:  # nothing can be noted: the rows fall due again by themselves
            _log.warning("job_interrupted", job=job.name, rows=len(ids), error=str(error))
        elif len(ids) > 1:
            for identifier in ids:
                await self.run(job.name, [identifier])
        else:
            await self._note(job, ids[0], error)

    async def _note(self, job: Job, identifier: int, error: Exception) -> None:
        mall = self.mall
        try:
            async with transaction(mall.stores.write) as session:
                for message in await lock_open(session, [identifier]):
                    again_s = self._pause_s(message)
                    now = mall.clock()
                    due_at = None if again_s is None else now + timedelta(seconds=again_s)
                    text = f"{type(error).__name__}: {error}"[:_LONGEST_ERROR]
                    await note_failure(session, identifier, text, now, due_at)
                    _log.error(
                        "job_failed", job=job.name, id=identifier, again_s=again_s, exc_info=error
                    )
        except Exception as away:  # noqa: BLE001
            _log.error("job_failure_not_noted", job=job.name, id=identifier, exc_info=away)

    def _pause_s(self, message: Message) -> float | None:
        attempts = message.attempts + 1
        if attempts >= MOST_ATTEMPTS:
            return None
        chance = random.random()  # noqa: S311 — it spreads rows, no secret hangs on it
        return pause_s(attempts, chance, first_s=FIRST_PAUSE_S, longest_s=LONGEST_PAUSE_S)
