"""The limits that a process holds by itself while Redis is away: strict ones, for value only.

A process cannot know how many others there are, so it gives a quarter of each limit: four of them
give no more together than is allowed, and nobody is refused who asks at a person's pace.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final

from services.errors import ServiceUnavailable
from services.limits.bucket import take
from services.limits.rates import Rate, Take

SHARE: Final = 4
MOST_BUCKETS: Final = 100_000
"""So many, of 200 bytes each; beyond them nobody new is served."""
_SWEEP_US: Final = 1_000_000


class Alone:
    """Buckets in the memory of one process."""

    def __init__(
        self, rates: Mapping[str, Rate], clock_ns: Callable[[], int] = time.monotonic_ns
    ) -> None:
        """All are full. `clock_ns` never goes back."""
        self._rates = rates
        self._clock_ns = clock_ns
        self._full_at_us: dict[tuple[str, str], int] = {}
        self._swept_at_us = 0

    def take(self, takes: Sequence[Take]) -> tuple[str, int] | None:
        """Take all or none; returns the limit that is short for longest, and for how long (µs).

        Raises ServiceUnavailable when there is no room to count them.
        """
        now_us = self._clock_ns() // 1_000
        after: dict[tuple[str, str], int] = {}
        short: tuple[str, int] | None = None
        for bucket, tokens in self._held(takes):
            rate = self._rates[bucket[0]]
            takes_us = SHARE * tokens * rate.interval_us
            held_us = self._full_at_us.get(bucket)
            after[bucket], wait_us = take(held_us, now_us, takes_us, rate.size_us)
            if wait_us > (short[1] if short else 0):
                short = (bucket[0], wait_us)
        if short is None:
            self._keep(after, now_us)
        return short

    def _held(self, takes: Sequence[Take]) -> Iterator[tuple[tuple[str, str], int]]:
        """The buckets, and what is taken of them, of those limits that hold."""
        for holder, amounts in takes:
            for limit, tokens in amounts:
                if limit in self._rates:
                    yield (limit, holder), tokens

    def drop_full(self) -> None:
        """Keep what is not full yet, and only that."""
        self._drop_full(self._clock_ns() // 1_000)

    def _keep(self, after: Mapping[tuple[str, str], int], now_us: int) -> None:
        if len(self._full_at_us) + len(after) > MOST_BUCKETS:
            self._sweep(now_us)
            if len(self._full_at_us) + len(after) > MOST_BUCKETS:
                raise ServiceUnavailable("too many members to count without Redis")
        self._full_at_us |= after

    def _sweep(self, now_us: int) -> None:
        """Drop what is full again; not for every request that finds no room."""
        if now_us - self._swept_at_us >= _SWEEP_US:
            self._swept_at_us = now_us
            self._drop_full(now_us)

    def _drop_full(self, now_us: int) -> None:
        self._full_at_us = {key: at for key, at in self._full_at_us.items() if at > now_us}
