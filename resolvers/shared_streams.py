"""Operations in which everybody sees the same: each runs once for all who ask for the same.

One execution and one encoding each time it changes, however many sockets show it.
"""

import asyncio
import random
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import aclosing, suppress
from functools import lru_cache
from typing import Any, Final, TypeAlias

import orjson
import structlog
from graphql import strip_ignored_characters

from resolvers.operation_requests import OperationRequest
from resolvers.stream_messages import Message, refusal
from resolvers.transport_errors import COST_LIMITED
from services.backoff import pause_s
from services.live.newest import Newest
from services.monitoring.log_context import detached

StreamKey: TypeAlias = tuple[str, str | None, bytes]
"""The document without what means nothing, the operation's name, the variables it declares.

Variables count as they were sent: a default that is spelled out is another stream.
"""

Begin: TypeAlias = Callable[[], AsyncGenerator[Message]]
"""Begins an operation."""

MOST_SHARED: Final = 4
"""Different shared streams that one connection may follow. Each is work for the whole process."""

MOST_BEGUN: Final = 8
"""Different ones in a process that one user, or one address, has begun, on all connections.

Else a few connections of one would take all room, and nobody could begin what an app asks for.
"""

MOST_RUNNING: Final = 200
"""Different ones in a process, whoever follows them; four periods and a few lengths are 20."""

_log: structlog.stdlib.BoundLogger = structlog.get_logger()

_RETRY_S: Final = 1.0
_LONGEST_RETRY_S: Final = 30.0
"""How soon an operation whose result had errors is begun anew: at first, and after many times."""

_TOO_MANY: Final = refusal(
    COST_LIMITED, f"At most {MOST_SHARED} different streams of this kind on one connection"
)
_TOO_MANY_BEGUN: Final = refusal(
    COST_LIMITED, f"At most {MOST_BEGUN} different streams of this kind of one user or address"
)
_NO_ROOM: Final = refusal(COST_LIMITED, "Too many different streams of this kind: ask as others do")


class SharedStreams:
    """What runs, and who follows it."""

    def __init__(self) -> None:
        """Nobody follows anything yet."""
        self._running: dict[StreamKey, _Running] = {}
        self._begun = Counter[str]()
        self._is_known_full = False
        self._tasks: set[asyncio.Task[None]] = set()

    def __len__(self) -> int:
        """How many operations are running."""
        return len(self._running)

    async def follow(
        self, key: StreamKey, begin: Begin, followed: Counter[StreamKey], holder: str
    ) -> AsyncGenerator[Message]:
        """The messages of the operation that is called so, begun if it does not run yet.

        `followed` is what the connection follows already: 4 different at most. `holder` is the user
        or address that asks: 8 of what runs were begun by them at most. The first message is not
        from before the call.
        """
        if refused := self._refusal(key, followed, holder):
            yield refused
            return
        running = self._join(key, begin, holder)
        followed[key] += 1
        try:
            async with aclosing(running.newest.follow(running.ask_anew())) as newest:
                async for message in newest:
                    yield message
        except _NotBegunError as failed:
            yield failed.message
        finally:
            followed[key] -= 1
            if not followed[key]:
                del followed[key]
            running.followers -= 1
            if not running.followers:
                self._end(key, running)

    def _refusal(self, key: StreamKey, followed: Counter[StreamKey], holder: str) -> Message | None:
        if key not in followed and len(followed) >= MOST_SHARED:
            return _TOO_MANY
        if key in self._running:
            return None
        if self._begun[holder] >= MOST_BEGUN:
            return _TOO_MANY_BEGUN
        if len(self) >= MOST_RUNNING:
            self._note_full()
            return _NO_ROOM
        return None

    def _note_full(self) -> None:
        """Once until there is room again, not for each of those who are refused."""
        if not self._is_known_full:
            _log.warning("shared_streams_full", running=len(self), begun_by=len(self._begun))
        self._is_known_full = True

    def _join(self, key: StreamKey, begin: Begin, holder: str) -> "_Running":
        running = self._running.get(key)
        if running is None:
            running = self._running[key] = _Running(holder)
            self._begun[holder] += 1
            running.task = detached(self._feed(key, running, begin))
            self._tasks.add(running.task)  # asyncio itself holds tasks weakly
            running.task.add_done_callback(self._tasks.discard)
        running.followers += 1
        return running

    async def _feed(self, key: StreamKey, running: "_Running", begin: Begin) -> None:
        try:
            while await running.run(begin):
                pass
        finally:
            self._end(key, running)

    def _end(self, key: StreamKey, running: "_Running") -> None:
        """Let nobody join any more: the operation is over, or nobody is left."""
        running.newest.close()
        if self._running.get(key) is running:
            self._forget(key, running)
        if running.task is not None and not running.followers:
            running.task.cancel()

    def _forget(self, key: StreamKey, running: "_Running") -> None:
        """It runs no more, and its holder may begin another, although its task may still end."""
        del self._running[key]
        self._begun[running.holder] -= 1
        if not self._begun[running.holder]:
            del self._begun[running.holder]
        if len(self) <= MOST_RUNNING // 2:
            self._is_known_full = False


class _NotBegunError(Exception):
    """An operation that was begun anew failed; those who follow it do not hear of that."""

    def __init__(self, message: Message) -> None:
        super().__init__(message.text)
        self.message = message


class _Running:
    """A shared operation and those who follow it.

    It is begun anew for whoever joins: what was shown last may be from long ago. All who come
    while it begins are shown the next beginning, so thousands cost no more than a few do.
    """

    def __init__(self, holder: str) -> None:
        self.holder = holder
        self.followers = 0
        self.newest = Newest[Message]()
        self.task: asyncio.Task[None] | None = None
        self._runs = 0
        self._failures = 0
        self._is_asked_anew = asyncio.Event()
        self._has_begun = asyncio.Event()

    def ask_anew(self) -> int:
        """Have the operation begin once more; returns the number of that run."""
        self._is_asked_anew.set()
        return self._runs + 1

    async def run(self, begin: Begin) -> bool:
        """Show what the operation says; returns whether to begin it anew.

        Until it ends, somebody joins, or something could not be loaded.
        """
        self._runs += 1
        self._is_asked_anew.clear()
        self._has_begun.clear()
        is_over, has_failed = await _first_of(self._pass_on(begin()), self._until_asked_anew())
        self._failures = self._failures + 1 if has_failed else 0
        if has_failed:
            await self._rest()
        return has_failed or not is_over

    async def _rest(self) -> None:
        """Ever longer while attempts fail; no longer than at first once somebody joins."""
        await asyncio.sleep(_RETRY_S)
        whole_s = pause_s(
            self._failures,
            random.random(),  # noqa: S311 - only to spread them
            first_s=_RETRY_S,
            longest_s=_LONGEST_RETRY_S,
        )
        with suppress(TimeoutError):
            async with asyncio.timeout(max(0.0, whole_s - _RETRY_S)):
                await self._is_asked_anew.wait()

    async def _until_asked_anew(self) -> tuple[bool, bool]:
        await self._has_begun.wait()
        await self._is_asked_anew.wait()
        return False, False

    async def _pass_on(self, messages: AsyncGenerator[Message]) -> tuple[bool, bool]:
        """Show the messages; returns whether all is said, and whether it is worth another attempt.

        Who has been shown something is not thrown out by a failed attempt.
        """
        async with aclosing(messages):
            async for message in messages:
                is_attempt = not (self.newest.is_empty or self._has_begun.is_set())
                if message.is_failure and is_attempt:
                    self.newest.fail(self._runs, _NotBegunError(message))
                    return False, True
                self._show(message)
                self._has_begun.set()
                if message.has_errors:
                    return False, True
        return True, False

    def _show(self, message: Message) -> None:
        """A result with errors takes no good one's place: it would stay until something changes."""
        newest = self.newest
        if newest.is_empty:
            newest.put(message, self._runs)
            return
        is_better = newest.value.has_errors or not message.has_errors
        # What made it run again may be nothing that the document selects.
        if is_better and message != newest.value:
            newest.put(message, self._runs)
        else:
            newest.refresh(newest.value, self._runs)


async def _first_of(*coroutines: Coroutine[Any, Any, tuple[bool, bool]]) -> tuple[bool, bool]:
    """What the first of them returns; the others are cancelled."""
    tasks = [asyncio.ensure_future(coroutine) for coroutine in coroutines]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        return next(task for task in tasks if task.done()).result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def stream_key(request: OperationRequest) -> StreamKey:
    """What is the same for all who ask for the same; raises for variables that have no encoding."""
    variables = orjson.dumps(request.variables or {}, option=orjson.OPT_SORT_KEYS)
    return _without_decoration(request.query), request.operation_name, variables


@lru_cache(maxsize=64)
def _without_decoration(query: str) -> str:
    """The document without whitespace, comments and commas: they part what asks for the same."""
    return strip_ignored_characters(query)
