"""How long an operation may run: so many seconds, and not much longer than somebody waits for it.

What is cancelled takes its statements with it: the driver tells PostgreSQL. A batch of movements
is nobody's own, so it goes on for the others (`services.group_commit`).
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeAlias, TypeVar

from starlette.requests import ClientDisconnect

from resolvers.transport_errors import SERVICE_UNAVAILABLE, OperationRefused

ResultT = TypeVar("ResultT")

Leaving: TypeAlias = Callable[[], Awaitable[None]]
"""Returns when nobody waits for the answer any more."""

_LOOKS_EVERY_S: Final = 0.2
"""Most operations are over long before: one timer for all is a tenth of one for each."""

TOO_SLOW: Final = (
    "This took too long and was given up. Whether a change was made is not known: "
    "send it again with the same idempotency key"
)


class _Wait:
    """An operation that is under way."""

    __slots__ = ("_cancelling", "_leaving", "_since_s", "_task", "_watch", "given_up")

    def __init__(self, task: asyncio.Task[object], since_s: float, leaving: Leaving | None) -> None:
        self._task, self._since_s, self._leaving = task, since_s, leaving
        self._cancelling = task.cancelling()
        self._watch: asyncio.Task[None] | None = None
        self.given_up: Exception | None = None

    def look(self, now_s: float, limit_s: float) -> None:
        """Give it up if it is time, or begin to see whether somebody still waits."""
        if now_s >= self._since_s + limit_s:
            self.give_up(OperationRefused(SERVICE_UNAVAILABLE, TOO_SLOW))
        elif self._leaving is not None and self._watch is None:
            self._watch = asyncio.create_task(self._await_leaving(self._leaving))

    async def _await_leaving(self, leaving: Leaving) -> None:
        await leaving()
        self.give_up(ClientDisconnect())

    def give_up(self, reason: Exception) -> None:
        """Cancel it for that reason, unless it was already."""
        if self.given_up is None:
            self.given_up = reason
            self._task.cancel()

    @property
    def is_ours(self) -> bool:
        """Whether it was given up, and nobody else wants it to end as well."""
        return self.given_up is not None and self._task.cancelling() == self._cancelling + 1

    def end(self) -> None:
        """It is over, one way or the other."""
        if self._watch is not None:
            self._watch.cancel()
        if self.given_up is not None:
            self._task.uncancel()


class Patience:
    """Gives operations up that take longer than `limit_s`, or that nobody waits for any more."""

    def __init__(self, limit_s: float) -> None:
        """What takes too long ends `limit_s` after it began, or up to 0.2 s later."""
        self._limit_s = limit_s
        self._waits: dict[_Wait, None] = {}
        self._is_looking = False

    async def wait_for(self, work: Awaitable[ResultT], leaving: Leaving | None) -> ResultT:
        """What the work returns; cancels it when its time is over, or when `leaving` returns.

        Raises OperationRefused for the one, ClientDisconnect for the other: that is no failure of
        ours.
        """
        task: Any = asyncio.current_task()
        loop = asyncio.get_running_loop()
        wait = _Wait(task, loop.time(), leaving)
        self._waits[wait] = None
        if not self._is_looking:
            self._look_later(loop)
        try:
            return await work
        except asyncio.CancelledError as error:
            if wait.given_up is None or not wait.is_ours:
                raise
            raise wait.given_up from error
        finally:
            del self._waits[wait]
            wait.end()

    def _look_later(self, loop: asyncio.AbstractEventLoop) -> None:
        self._is_looking = True
        loop.call_later(min(_LOOKS_EVERY_S, self._limit_s), self._look, loop)

    def _look(self, loop: asyncio.AbstractEventLoop) -> None:
        self._is_looking = False
        if not self._waits:
            return
        now_s = loop.time()
        for wait in self._waits:
            wait.look(now_s, self._limit_s)
        self._look_later(loop)
