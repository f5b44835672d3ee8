"""How long an operation may run: so many seconds, and not much longer than somebody waits for it.

What is cancelled takes its statements with it: the driver tells PostgreSQL. A batch of movements
is nobody's own, so it goes on for the others (`services.group_commit`).
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Final, TypeAlias

from starlette.requests import ClientDisconnect

from resolvers.transport_errors import SERVICE_UNAVAILABLE, OperationRefused

Leaving: TypeAlias = Callable[[], Awaitable[None]]
"""Returns when nobody waits for the answer any more."""

_LOOKS_AFTER_S: Final = 0.2
"""Only then is it worth a task to see who has left; most operations are over long before."""

TOO_SLOW: Final = (
    "This took too long and was given up. Whether a change was made is not known: "
    "send it again with the same idempotency key"
)


@asynccontextmanager
async def patience(limit_s: float, leaving: Leaving | None) -> AsyncGenerator[None]:
    """Cancel what the block awaits after `limit_s`, or when `leaving` returns.

    Raises OperationRefused for the one, ClientDisconnect for the other: that is no failure of ours.
    """
    watching: set[asyncio.Task[None]] = set()
    timer: asyncio.TimerHandle | None = None
    limit = asyncio.timeout(limit_s)
    try:
        async with limit:
            if leaving is not None:
                look = _watch(leaving, limit)
                loop = asyncio.get_running_loop()
                timer = loop.call_later(_LOOKS_AFTER_S, lambda: watching.add(look()))
            yield
    except TimeoutError as error:
        if not limit.expired():
            raise
        if any(task.done() for task in watching):
            raise ClientDisconnect from error
        raise OperationRefused(SERVICE_UNAVAILABLE, TOO_SLOW) from error
    finally:
        if timer is not None:
            timer.cancel()
        for task in watching:
            task.cancel()


def _watch(leaving: Leaving, limit: asyncio.Timeout) -> Callable[[], asyncio.Task[None]]:
    async def watch() -> None:
        await leaving()
        limit.reschedule(asyncio.get_running_loop().time())

    return lambda: asyncio.create_task(watch())
