"""Settling concurrent requests together (`domain.md`, How a movement settles).

While one batch is in flight the next gathers, so nothing waits on a timer: an idle mall settles a
request at once, a busy one settles many for the price of one commit.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Generic, TypeVar

import structlog
from sqlalchemy.ext.asyncio import AsyncSession

from models.stores import Sessions
from services.errors import MallError, Refusal, ServiceUnavailable
from services.gathering import Arriving, gather
from services.monitoring.log_context import detached
from services.monitoring.tracing import Tracer
from services.transaction import Contended, is_store_away, transaction

RequestT = TypeVar("RequestT")
OutcomeT = TypeVar("OutcomeT")

Settle = Callable[[AsyncSession, Sequence[RequestT]], Awaitable[Sequence[OutcomeT | MallError]]]
"""Settles a batch in the given transaction: one outcome, or refusal, per request, in order."""

Observe = Callable[[int, Sequence[float]], None]
"""Told of each batch that was committed: how many requests it had, and for how long each had waited
that was not refused, in seconds."""

_log = structlog.get_logger(__name__)


def settle_each(
    requests: Iterable[RequestT], settle: Callable[[RequestT], OutcomeT]
) -> list[OutcomeT | Refusal]:
    """Settle one after another; a refusal is an outcome like any other."""
    outcomes: list[OutcomeT | Refusal] = []
    for request in requests:
        try:
            outcomes.append(settle(request))
        except Refusal as refusal:
            outcomes.append(refusal)
    return outcomes


@dataclass(slots=True)
class _Waiting(Generic[RequestT, OutcomeT]):
    request: RequestT
    outcome: asyncio.Future[OutcomeT]
    place: object | None
    since_s: float = field(default_factory=time.perf_counter)


@dataclass(slots=True)
class GroupCommit(Generic[RequestT, OutcomeT]):
    """Collects the requests of one operation in this process and settles them in batches."""

    sessions: Sessions
    settle: Settle[RequestT, OutcomeT]
    observe: Observe | None = None
    name: str = ""
    tracer: Tracer | None = None
    arriving: Arriving | None = None
    """Who may be on their way here: none of them misses the batch that is about to begin."""
    largest_batch: int = 128
    longest_queue: int = 10_000
    _queue: list[_Waiting[RequestT, OutcomeT]] = field(default_factory=list, init=False)
    _runner: asyncio.Task[None] | None = field(default=None, init=False)

    async def submit(self, request: RequestT) -> OutcomeT:
        """Settle one request, together with whoever else is waiting.

        Raises the refusal the operation decided on, ServiceUnavailable when the database is away
        or the queue is full, and whatever the operation raised by mistake.
        """
        if len(self._queue) >= self.longest_queue:
            raise ServiceUnavailable("too many requests are waiting to be settled")
        outcome: asyncio.Future[OutcomeT] = asyncio.get_running_loop().create_future()
        place = None if self.tracer is None else self.tracer.here()
        waiting = _Waiting(request, outcome, place)
        self._queue.append(waiting)
        if self._runner is None:
            self._runner = detached(self._run())
        return await waiting.outcome

    async def _run(self) -> None:
        try:
            while self._queue:
                await gather(self._queue, self.largest_batch, self.arriving)
                batch = self._queue[: self.largest_batch]
                del self._queue[: self.largest_batch]
                await self._settle_batch(batch)
        finally:
            self._runner = None

    async def _settle_batch(self, batch: list[_Waiting[RequestT, OutcomeT]]) -> None:
        try:
            with self._traced(batch):
                outcomes = await self._settle_once([waiting.request for waiting in batch])
        except Exception as error:  # noqa: BLE001 — it belongs to whoever waits, not to the loop
            await self._fail(batch, error)
        else:
            for waiting, outcome in zip(batch, outcomes, strict=True):
                _resolve(waiting.outcome, outcome)
            if self.observe is not None:
                self.observe(len(batch), _waited_s(batch, outcomes))

    def _traced(
        self, batch: Sequence[_Waiting[RequestT, OutcomeT]]
    ) -> AbstractContextManager[None]:
        if self.tracer is None:
            return nullcontext()
        places = [waiting.place for waiting in batch if waiting.place is not None]
        return self.tracer.settling(self.name, places)

    async def _settle_once(self, requests: Sequence[RequestT]) -> Sequence[OutcomeT | MallError]:
        async with transaction(self.sessions) as session:
            outcomes = await self.settle(session, requests)
            if len(outcomes) != len(requests):  # nothing is kept, nobody waits for ever
                raise ValueError(f"{len(outcomes)} outcomes of {len(requests)} requests")
            return outcomes

    async def _fail(self, batch: list[_Waiting[RequestT, OutcomeT]], error: Exception) -> None:
        """Nothing of the batch was kept. One bad request must not fail its neighbours."""
        is_away = is_store_away(error) and not isinstance(error, Contended)
        if len(batch) == 1 or is_away:
            for waiting in batch:
                _resolve(waiting.outcome, error)
            return
        _log.warning("batch_settled_one_by_one", requests=len(batch), exc_info=error)
        for waiting in batch:
            await self._settle_batch([waiting])


def _waited_s(
    batch: Sequence[_Waiting[RequestT, OutcomeT]], outcomes: Sequence[OutcomeT | MallError]
) -> list[float]:
    now_s = time.perf_counter()
    return [
        now_s - waiting.since_s
        for waiting, outcome in zip(batch, outcomes, strict=True)
        if not isinstance(outcome, MallError)
    ]


def _resolve(future: asyncio.Future[OutcomeT], outcome: OutcomeT | BaseException) -> None:
    if future.done():  # whoever waited has gone; the settlement stands
        return
    if isinstance(outcome, BaseException):
        future.set_exception(outcome)
    else:
        future.set_result(outcome)
