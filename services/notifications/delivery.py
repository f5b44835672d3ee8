"""Many messages over one channel: so many at a time, and none while the breaker is open."""

import asyncio
from collections.abc import Sequence

import structlog

from services.notifications.breaker import Attempt, Breaker, Open
from services.notifications.providers import Outcome, PushChannel, PushMessage, RetryLater

_log = structlog.stdlib.get_logger(__name__)


class Delivery:
    """A provider: its channel, its breaker, and how many messages may be under way at once."""

    def __init__(self, channel: PushChannel, breaker: Breaker, concurrency: int) -> None:
        """Send nothing yet."""
        self._channel = channel
        self._breaker = breaker
        self._places = asyncio.Semaphore(concurrency)

    async def send(self, messages: Sequence[PushMessage]) -> list[Outcome]:
        """Send them all; one outcome per message, in their order."""
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(self._send_one(message)) for message in messages]
        return [task.result() for task in tasks]

    async def aclose(self) -> None:
        """Close the connections; nothing may be on its way any more."""
        await self._channel.aclose()

    async def _send_one(self, message: PushMessage) -> Outcome:
        async with self._places:
            # Asked only now: while this message waited for its place, others may have failed.
            leave = self._breaker.admit()
            if isinstance(leave, Open):
                return RetryLater(leave.after_s, "the provider is down", is_outage=True)
            return await self._deliver(leave, message)

    async def _deliver(self, attempt: Attempt, message: PushMessage) -> Outcome:
        failed, after_s = None, None
        try:
            outcome = await self._outcome(message)
            if isinstance(outcome, RetryLater):
                after_s = outcome.after_s
            failed = isinstance(outcome, RetryLater) and outcome.is_outage
        finally:  # also when cancelled: a probe must not be awaited for ever
            self._breaker.settle(attempt, failed=failed, after_s=after_s)
        return outcome

    async def _outcome(self, message: PushMessage) -> Outcome:
        try:
            return await self._channel.deliver(message)
        except Exception as error:  # noqa: BLE001 - a bug in one must not take the others along
            _log.error("push_failed", exc_info=error)
            return RetryLater(None, f"unexpected: {type(error).__name__}")
