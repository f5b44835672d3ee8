"""Running what the outbox asks for.

A row is done when its job is: a SetJob's effects and the note that it is done are one commit, and
so are what a TalkJob heard and that note. A job that fails is tried again later, with growing
pauses, and in the end kept as failed.
"""

import asyncio
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import structlog

from jobs.job import Job, SetJob, StepJob, TalkJob
from jobs.keeper import kept
from services.backoff import pause_s
from services.errors import ServiceUnavailable
from services.job_claims import Claim, claim_row, close_claimed, give_back
from services.mall import Mall
from services.outbox import Message, lock_open, mark_done, note_failure
from services.transaction import Contended, is_store_away, transaction

MOST_ATTEMPTS = 10
FIRST_PAUSE_S = 5.0
LONGEST_PAUSE_S = 3_600.0
_LONGEST_ERROR = 500
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
        if isinstance(job, SetJob):
            await self._run_set(job, ids)
        else:
            for identifier in ids:
                await self._run_claimed(job, Claim(identifier))

    async def _run_set(self, job: SetJob, ids: Sequence[int]) -> None:
        try:
            await self._run_together(job, ids)
        except Exception as error:  # noqa: BLE001 — it is noted, and belongs to the rows
            if _is_interruption(error) or len(ids) == 1:
                await self._fail(job, ids[0], error)
            else:  # one bad row must not fail its neighbours
                for identifier in ids:
                    await self._run_set(job, [identifier])

    async def _run_together(self, job: SetJob, ids: Sequence[int]) -> None:
        mall = self.mall
        async with transaction(mall.stores.write) as session:
            messages = await lock_open(session, ids)
            if not messages:
                return
            await job.run(session, mall, [message.payload for message in messages])
            await mark_done(session, [message.id for message in messages], mall.clock())

    async def _run_claimed(self, job: StepJob | TalkJob[Any], claim: Claim) -> None:
        try:
            if isinstance(job, StepJob):
                await self._run_in_steps(job, claim)
            else:
                await self._talk(job, claim)
        except Exception as error:  # noqa: BLE001 — it is noted, and belongs to the row
            await self._fail(job, claim.id, error, claim.claim)

    async def _run_in_steps(self, job: StepJob, claim: Claim) -> None:
        mall = self.mall
        async with transaction(mall.stores.write) as session:
            message = await claim_row(session, claim, self._resend_at())
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
            await close_claimed(session, claim, mall.clock())

    async def _talk(self, job: TalkJob[Any], claim: Claim) -> None:
        mall = self.mall
        async with transaction(mall.stores.write) as session:
            message = await claim_row(session, claim, self._resend_at())
            if message is None:
                return
            work = await job.take(session, mall, message.payload)
        async with kept(mall, claim):
            await job.talk(mall, work, self.stopping)
            await self._note(job, work, claim)

    async def _note(self, job: TalkJob[Any], work: Any, claim: Claim) -> None:
        mall = self.mall
        for pause_before_s in (*_PAUSES_BEFORE_NOTING_S, None):
            try:
                async with transaction(mall.stores.write) as session:
                    is_ours = await close_claimed(session, claim, mall.clock())
                    await job.note(session, mall, work, is_ours)
            except ServiceUnavailable:
                if pause_before_s is None:
                    raise
                await asyncio.sleep(pause_before_s)
            else:
                return

    def _resend_at(self) -> datetime:
        return self.mall.clock() + timedelta(seconds=self.mall.settings.jobs.job_resend_s)

    async def _fail(
        self, job: Job, identifier: int, error: Exception, claim: UUID | None = None
    ) -> None:
        if _is_interruption(error):  # nothing can be noted: the row falls due again by itself
            _log.warning("job_interrupted", job=job.name, id=identifier, error=str(error))
            return
        try:
            await self._note_failure(job, identifier, error, claim)
        except Exception as away:  # noqa: BLE001
            _log.error("job_failure_not_noted", job=job.name, id=identifier, exc_info=away)

    async def _note_failure(
        self, job: Job, identifier: int, error: Exception, claim: UUID | None
    ) -> None:
        mall = self.mall
        async with transaction(mall.stores.write) as session:
            for message in await lock_open(session, [identifier]):
                again_s = _again_s(message)
                now = mall.clock()
                due_at = None if again_s is None else now + timedelta(seconds=again_s)
                text = f"{type(error).__name__}: {error}"[:_LONGEST_ERROR]
                await note_failure(session, identifier, text, now, due_at, claim)
                _log.error(
                    "job_failed", job=job.name, id=identifier, again_s=again_s, exc_info=error
                )


def _is_interruption(error: Exception) -> bool:
    """Whether a store went away. Waiting for a lock in vain is no such thing."""
    return is_store_away(error) and not isinstance(error, Contended)


def _again_s(message: Message) -> float | None:
    attempts = message.attempts + 1
    if attempts >= MOST_ATTEMPTS:
        return None
    chance = random.random()  # noqa: S311 — it spreads rows, no secret hangs on it
    return pause_s(attempts, chance, first_s=FIRST_PAUSE_S, longest_s=LONGEST_PAUSE_S)
