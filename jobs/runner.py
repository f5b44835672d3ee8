"""Running what the outbox asks for.

A row is done when its job is: a SetJob's effects and the note that it is done are one commit, and
so are what a TalkJob heard and that note. A job that fails is tried again later, with growing
pauses, and in the end kept as failed.
"""

import asyncio
import random
import time
from collections.abc import Mapping, Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from uuid import UUID

import structlog

from jobs.job import Job, Queue, SetJob, StepJob, TalkJob
from jobs.keeper import kept
from services.backoff import pause_s
from services.errors import ServiceUnavailable, said
from services.job_claims import Claim, claim_row, close_claimed, give_back, hold_claim
from services.mall import Mall
from services.monitoring.log_context import add_facts
from services.monitoring.metrics import JobOutcome
from services.outbox import Message, lock_open, mark_done, note_failure, note_not_begun
from services.transaction import Contended, is_store_away, reading, transaction

MOST_ATTEMPTS = 10
FIRST_PAUSE_S = 5.0
LONGEST_PAUSE_S = 3_600.0
_LONGEST_ERROR = 500
_AFTER_INTERRUPTION_S = 2.0
# What others were told has to be noted, or they are told again: worth some waiting.
_PAUSES_BEFORE_NOTING_S = (0.2, 1.0, 5.0)

_log = structlog.get_logger(__name__)


@dataclass(slots=True)
class Runner:
    """Runs rows of the outbox by their ids; `stop` lets long jobs end after their step."""

    mall: Mall
    jobs: Mapping[str, Job]
    stopping: asyncio.Event = field(default_factory=asyncio.Event, init=False)

    def stop(self) -> None:
        """Let no long job begin another step: another worker goes on with it."""
        self.stopping.set()

    async def run(self, name: str, ids: Sequence[int]) -> None:
        """Run one message of the broker: rows of one job. Never raises what a job raises."""
        job = self.jobs[name]
        add_facts(job=name, rows=list(ids))
        started_s = time.perf_counter()
        tracer = self.mall.tracer
        with nullcontext() if tracer is None else tracer.working(name, len(ids)):
            if isinstance(job, SetJob):
                await self._run_set(job, ids)
            else:
                await asyncio.gather(*(self._run_claimed(job, Claim(number)) for number in ids))
        self.mall.metrics.time_job(name, time.perf_counter() - started_s)

    async def _run_set(self, job: SetJob, ids: Sequence[int]) -> None:
        try:
            await self._run_together(job, ids)
        except Exception as error:  # noqa: BLE001 — it is noted, and belongs to the rows
            if _is_interruption(error):
                self._note_interruption(job, ids, error)
                await self._let_come_soon(ids)
            elif len(ids) == 1:
                await self._fail(job, ids[0], error)
            else:  # one bad row must not fail its neighbours
                for identifier in ids:
                    await self._run_set(job, [identifier])

    async def _run_together(self, job: SetJob, ids: Sequence[int]) -> None:
        mall = self.mall
        stores = mall.stores
        async with transaction(stores.bulk if job.queue is Queue.BULK else stores.write) as session:
            messages = await lock_open(session, ids, mall.clock())
            if not messages:
                return
            await job.run(session, mall, [message.payload for message in messages])
            await mark_done(session, [message.id for message in messages], mall.clock())
        mall.metrics.count_rows(job.name, JobOutcome.DONE, len(messages))

    async def _run_claimed(self, job: StepJob | TalkJob[Any], claim: Claim) -> None:
        add_facts(rows=[claim.id])
        try:
            if isinstance(job, StepJob):
                await self._run_in_steps(job, claim)
            else:
                await self._talk(job, claim)
        except Exception as error:  # noqa: BLE001 — it is noted, and belongs to the row
            if _is_interruption(error):
                self._note_interruption(job, [claim.id], error)
                await self._let_come_soon([claim.id], claim)
            else:
                await self._fail(job, claim.id, error, claim.claim)

    async def _run_in_steps(self, job: StepJob, claim: Claim) -> None:
        mall = self.mall
        message = await self._claim(claim)
        if message is None:
            return
        async with kept(mall, claim) as lost:
            while await job.run(mall, message.payload):
                if lost.is_set():
                    return
                if self.stopping.is_set():
                    async with transaction(mall.stores.write) as session:
                        await give_back(session, claim, mall.clock())
                    return
        async with transaction(mall.stores.write) as session:
            is_closed = await close_claimed(session, claim, mall.clock())
        if is_closed:
            mall.metrics.count_rows(job.name, JobOutcome.DONE)

    async def _talk(self, job: TalkJob[Any], claim: Claim) -> None:
        mall = self.mall
        message = await self._claim(claim)
        if message is None:
            return
        async with kept(mall, claim):
            async with transaction(mall.stores.write) as session:
                work = await job.take(session, mall, message.payload)
            await job.talk(mall, work, self.stopping)
            await self._note(job, work, claim)

    async def _note(self, job: TalkJob[Any], work: Any, claim: Claim) -> None:
        for pause_before_s in (*_PAUSES_BEFORE_NOTING_S, None):
            try:
                outcome = await self._note_once(job, work, claim)
            except ServiceUnavailable:
                if pause_before_s is None:
                    raise
                await asyncio.sleep(pause_before_s)
            else:
                if outcome is not None:
                    self.mall.metrics.count_rows(job.name, outcome)
                return

    async def _note_once(self, job: TalkJob[Any], work: Any, claim: Claim) -> JobOutcome | None:
        """What became of the row by that; None when it is another's by now."""
        mall = self.mall
        async with transaction(mall.stores.write) as session:
            is_ours = await hold_claim(session, claim)
            again_at = await job.note(session, mall, work, is_ours)
            if again_at is not None:
                await give_back(session, claim, again_at)
                return JobOutcome.PUT_OFF
            is_closed = await close_claimed(session, claim, mall.clock())
            return JobOutcome.DONE if is_closed else None

    async def _claim(self, claim: Claim) -> Message | None:
        """Committed before any work begins, so that whatever goes wrong with it can be noted."""
        mall = self.mall
        now = mall.clock()
        due_at = now + timedelta(seconds=mall.settings.jobs.job_resend_s)
        async with reading(mall.stores.read) as session:  # one statement, which stands alone
            return await claim_row(session, claim, now, due_at)

    async def _let_come_soon(self, ids: Sequence[int], claim: Claim | None = None) -> None:
        """Let rows whose job was interrupted come again in a moment, where that can be said."""
        due_at = self.mall.clock() + timedelta(seconds=_AFTER_INTERRUPTION_S)
        with suppress(ServiceUnavailable):  # they fall due again by themselves, later
            async with transaction(self.mall.stores.write) as session:
                if claim is None:
                    await note_not_begun(session, ids, due_at)
                else:
                    await give_back(session, claim, due_at)

    def _note_interruption(self, job: Job, ids: Sequence[int], error: Exception) -> None:
        _log.warning("job_interrupted", error=said(error))
        self.mall.metrics.count_rows(job.name, JobOutcome.INTERRUPTED, len(ids))

    async def _fail(
        self, job: Job, identifier: int, error: Exception, claim: UUID | None = None
    ) -> None:
        try:
            await self._note_failure(job, identifier, error, claim)
        except Exception as away:  # noqa: BLE001
            _log.error("job_failure_not_noted", id=identifier, exc_info=away)

    async def _note_failure(
        self, job: Job, identifier: int, error: Exception, claim: UUID | None
    ) -> None:
        mall = self.mall
        outcome = None
        async with transaction(mall.stores.write) as session:
            for message in await lock_open(session, [identifier], mall.clock()):
                again_s = _again_s(message)
                now = mall.clock()
                due_at = None if again_s is None else now + timedelta(seconds=again_s)
                text = said(error)[:_LONGEST_ERROR]
                if await note_failure(session, identifier, text, now, due_at, claim):
                    _log.error("job_failed", id=identifier, again_s=again_s, exc_info=error)
                    outcome = JobOutcome.DEAD if again_s is None else JobOutcome.FAILED
        if outcome is not None:
            mall.metrics.count_rows(job.name, outcome)


def _is_interruption(error: Exception) -> bool:
    """Whether a store went away. Waiting for a lock in vain is no such thing."""
    return is_store_away(error) and not isinstance(error, Contended)


def _again_s(message: Message) -> float | None:
    attempts = message.attempts + 1
    if attempts >= MOST_ATTEMPTS:
        return None
    chance = random.random()  # noqa: S311 — it spreads rows, no secret hangs on it
    return pause_s(attempts, chance, first_s=FIRST_PAUSE_S, longest_s=LONGEST_PAUSE_S)
