"""Ending what works in the background."""

import asyncio
from typing import Any, Final

_AGAIN_AFTER_S: Final = 0.5


async def end(*tasks: asyncio.Task[Any]) -> None:
    """Cancel these until they have ended; what they raised is theirs.

    Again and again: a task that is connecting to Redis may be cancelled and go on all the same
    (redis 8.1 with uvloop), so who asks once and waits may wait for ever.
    """
    waiting = set(tasks)
    while waiting:
        for task in waiting:
            task.cancel()
        _, waiting = await asyncio.wait(waiting, timeout=_AGAIN_AFTER_S)
