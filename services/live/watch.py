"""Watching values of one kind: each is read once for all who watch it, and not too often."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Hashable, Iterable, Mapping
from collections.abc import Set as AbstractSet
from contextlib import aclosing
from itertools import islice
from typing import Generic, TypeVar

import structlog

from services.ending import end
from services.live.newest import Newest
from services.monitoring.log_context import detached
from services.transaction import is_store_away

KeyT = TypeVar("KeyT", bound=Hashable)
ValueT = TypeVar("ValueT")

_log: structlog.stdlib.BoundLogger = structlog.get_logger()

_RETRY_S = 1.0
_SHOWN_AT_ONCE = 50
"""Of thousands of values that changed; others have their turn between, and who follows too."""


class Watch(Generic[KeyT, ValueT]):
    """Those who watch, by what they watch.

    What may have changed is touched; a reader then reads all that was touched and is watched in
    one go, at once when it rested, and `1 / pause_s` times a second at most. Of thousands it reads
    so many at a time, those first that are known to have moved: what a process asks of the stores
    is bounded, however many watch. Followers are shown a value only when it is another than the one
    before; who begins is shown what was read after they came.
    """

    def __init__(
        self,
        name: str,
        read: Callable[[AbstractSet[KeyT]], Awaitable[Mapping[KeyT, ValueT]]],
        *,
        pause_s: float,
        most_at_once: int = 1_000,
        same: Callable[[ValueT, ValueT], bool] = lambda one, other: one == other,
    ) -> None:
        """`read` finds the values of keys; those it does not find are shown as None.

        It is asked for `most_at_once` keys at most. `same` says of two values that the second is no
        news; `name` is for the log.
        """
        self._name = name
        self._read = read
        self._same = same
        self._pause_s = pause_s
        self._most_at_once = most_at_once
        self._watched: dict[KeyT, _Watched[ValueT]] = {}
        # In order: what waits longest is read first.
        self._touched: dict[KeyT, None] = {}
        self._due: dict[KeyT, None] = {}
        """What is to be read because everything is; it gives way to what was touched by name."""
        self._look = 0
        self._are_all_touched = False
        self._wake = asyncio.Event()
        self._reader: asyncio.Task[None] | None = None
        self._is_failing = False

    @property
    def keys(self) -> AbstractSet[KeyT]:
        """What is being watched."""
        return self._watched.keys()

    async def follow(self, key: KeyT) -> AsyncGenerator[ValueT | None]:
        """Yield the value, then each newer one; None where there is nothing.

        Raises what reading it raised, if it could not be read at the start.
        """
        watched = self._enter(key)
        # A look that is under way may have read what it finds before this follower came.
        since = self._look + 1
        try:
            async with aclosing(watched.newest.follow(since)) as values:
                async for value in values:
                    yield value
        finally:
            self._leave(key, watched)

    def touch(self, keys: Iterable[KeyT]) -> None:
        """Read the values of these keys anew, as far as anybody watches them."""
        touched = self._watched.keys() & keys
        if touched:
            self._touched |= dict.fromkeys(touched)
            self._wake.set()

    def touch_all(self) -> None:
        """Read whatever is watched anew; costs the same however much that is."""
        if self._watched:
            self._are_all_touched = True
            self._wake.set()

    def show_all(self) -> None:
        """Read whatever is watched anew, and show also what is no news.

        What is made of a value may depend on the time.
        """
        for watched in self._watched.values():
            watched.is_shown_anyway = True
        self.touch_all()

    async def aclose(self) -> None:
        """Read no more; whoever still follows waits for ever."""
        if self._reader is not None:
            await end(self._reader)

    def _enter(self, key: KeyT) -> "_Watched[ValueT]":
        watched = self._watched.get(key)
        if watched is None:
            watched = self._watched[key] = _Watched[ValueT]()
        watched.followers += 1
        self.touch([key])
        if self._reader is None:
            self._reader = detached(self._read_on())
        return watched

    def _leave(self, key: KeyT, watched: "_Watched[ValueT]") -> None:
        watched.followers -= 1
        if not watched.followers and self._watched.get(key) is watched:
            del self._watched[key]
            self._touched.pop(key, None)
            self._due.pop(key, None)
            if not self._watched:
                self._wake.set()  # the reader has nothing left to do

    async def _read_on(self) -> None:
        try:
            while self._watched:
                await self._wake.wait()
                self._wake.clear()
                if keys := self._take():
                    is_read = await self._read_these(keys)
                    await asyncio.sleep(self._pause_s if is_read else _RETRY_S)
        finally:
            self._reader = None

    def _take(self) -> AbstractSet[KeyT]:
        """What to look at now; the rest waits for the next look."""
        if self._are_all_touched:
            self._are_all_touched = False
            self._due |= dict.fromkeys(self._watched)
        taken = dict.fromkeys(islice(self._touched, self._most_at_once))
        taken |= dict.fromkeys(islice(self._due, self._most_at_once - len(taken)))
        for key in taken:
            self._touched.pop(key, None)
            self._due.pop(key, None)
        if self._touched or self._due:
            self._wake.set()
        return taken.keys()

    async def _read_these(self, keys: AbstractSet[KeyT]) -> bool:
        """Read these; on failure they are touched again, and False is returned."""
        self._look += 1
        look = self._look
        try:
            found = await self._read(keys)
        except Exception as error:  # noqa: BLE001 - watching goes on; those who begin are told
            self._fail(look, error)
            self.touch(keys)
            return False
        self._is_failing = False
        for shown, key in enumerate(keys, start=1):
            self._show(key, found.get(key), look)
            if shown % _SHOWN_AT_ONCE == 0:
                await asyncio.sleep(0)
        return True

    def _show(self, key: KeyT, value: ValueT | None, look: int) -> None:
        watched = self._watched.get(key)
        if watched is None:  # everybody left while it was read
            return
        newest = watched.newest
        is_news = newest.is_empty or not self._is_same(newest.value, value)
        if is_news or watched.is_shown_anyway:
            watched.is_shown_anyway = False
            newest.put(value, look)
        else:
            newest.refresh(value, look)  # what is no news may differ all the same

    def _is_same(self, one: ValueT | None, other: ValueT | None) -> bool:
        if one is None or other is None:
            return one is other
        return self._same(one, other)

    def _fail(self, look: int, error: Exception) -> None:
        """Tell all who wait to begin, also for what this look left to the next."""
        if not self._is_failing:  # once, not four times a second for as long as it lasts
            _log.warning(
                "live_not_read",
                kind=self._name,
                exc_info=None if is_store_away(error) else error,
                cause=repr(error),
            )
        self._is_failing = True
        for watched in self._watched.values():
            watched.newest.fail(look, error)


class _Watched(Generic[ValueT]):
    """A value and how many follow it."""

    __slots__ = ("followers", "is_shown_anyway", "newest")

    def __init__(self) -> None:
        self.followers = 0
        self.is_shown_anyway = False
        self.newest = Newest[ValueT | None]()
