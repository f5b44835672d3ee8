"""Waiting until nothing more arrives, so that what was asked at once is settled at once."""

import asyncio
from collections.abc import Callable, Sized
from typing import Final

QUIET_PASSES: Final = 10
"""Passes of the event loop that bring nothing. No timer: an idle mall is through with them in some
30 microseconds. Under load two processes with 32 clients each settle 31 exchanges a batch, against
17 without a pass and 27 with three passes whatever they bring; 6 to 40 made no difference."""
MOST_ROUNDS: Final = 3
"""Of what is on its way: a process that is always asked something would wait for ever."""

Arriving = Callable[[], "asyncio.Future[None] | None"]
"""What ends when those who are on their way have arrived; None while nobody is."""


async def gather(queue: Sized, most: int, arriving: Arriving | None = None) -> None:
    """Return when the queue, which others fill, is `most` long or has stopped growing."""
    quiet = rounds = 0
    while quiet < QUIET_PASSES and len(queue) < most:
        waiting = len(queue)
        coming = arriving() if arriving is not None and rounds < MOST_ROUNDS else None
        if coming is None:
            await asyncio.sleep(0)
        else:
            rounds += 1
            await asyncio.wait([coming])
        quiet = 0 if len(queue) > waiting else quiet + 1
