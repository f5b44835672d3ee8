"""Many messages over one channel: so many at a time, and none while the breaker is open."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from math import ceil

import structlog

from services.notifications.breaker import Attempt, Breaker, Open
from services.notifications.providers import (
    NotTried,
    Outcome,
    PushChannel,
    PushMessage,
    RetryLater,
)

# Of the places at a provider one in so many takes only what a member waits for, if there are two.
_ONE_PLACE_AWAITED_IN = 4
# What a provider that wants no more is given when it does not say for how long (FCM's own advice).
_REST_S = 60.0
_LONGEST_REST_S = 600.0  # then one is tried, whatever was asked for

_log = structlog.stdlib.get_logger(__name__)


class Delivery:
    """A provider: its channel, its breaker, and how many messages may be under way at once."""

    def __init__(self, channel: PushChannel, breaker: Breaker, concurrency: int) -> None:
        """Send nothing yet."""
        self._channel = channel
        self._breaker = breaker
        self._places = asyncio.Semaphore(concurrency)
        kept_free = ceil(concurrency / _ONE_PLACE_AWAITED_IN) if concurrency > 1 else 0
        self._places_of_many = asyncio.Semaphore(concurrency - kept_free)

    async def send(
        self,
        messages: Sequence[PushMessage],
        stopping: asyncio.Event | None = None,
        *,
        is_awaited: bool = True,
    ) -> list[Outcome]:
        """Send them all; one outcome per message, in their order."""
        async with asyncio.TaskGroup() as group:
            sending = (self._send_one(message, stopping, is_awaited) for message in messages)
            tasks = [group.create_task(one) for one in sending]
        return [task.result() for task in tasks]

    async def aclose(self) -> None:
        """Close the connections; nothing may be on its way any more."""
        await self._channel.aclose()

    async def _send_one(
        self, message: PushMessage, stopping: asyncio.Event | None, is_awaited: bool
    ) -> Outcome:
        async with self._place(is_awaited):
            if stopping is not None and stopping.is_set():
                return NotTried(0.0)
            # Asked only now: while this message waited for its place, others may have failed.
            leave = self._breaker.admit()
            if isinstance(leave, Open):
                return NotTried(leave.after_s)
            return await self._deliver(leave, message)

    @asynccontextmanager
    async def _place(self, is_awaited: bool) -> AsyncGenerator[None]:
        if is_awaited:
            async with self._places:
                yield
        else:
            async with self._places_of_many, self._places:
                yield

    async def _deliver(self, attempt: Attempt, message: PushMessage) -> Outcome:
        try:
            outcome = await self._outcome(message)
        except asyncio.CancelledError:  # a probe must not be awaited for ever
            self._breaker.settle(attempt, failed=None)
            raise
        self._settle(attempt, outcome)
        return outcome

    def _settle(self, attempt: Attempt, outcome: Outcome) -> None:
        match outcome:
            case RetryLater(after_s=after_s, is_throttle=True):
                rest_s = _REST_S if after_s is None else min(after_s, _LONGEST_REST_S)
                self._breaker.rest(attempt, rest_s)
            case RetryLater(after_s=after_s, is_outage=is_outage):
                self._breaker.settle(attempt, failed=is_outage, after_s=after_s)
            case _:
                self._breaker.settle(attempt, failed=False)

    async def _outcome(self, message: PushMessage) -> Outcome:
        try:
            return await self._channel.deliver(message)
        except Exception as error:  # noqa: BLE001 - a bug in one must not take the others along
            _log.error("push_failed", exc_info=error)
            return RetryLater(None, f"unexpected: {type(error).__name__}")
