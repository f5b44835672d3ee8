"""A value that changes, and those who follow it: a slow one sees the newest, never a queue."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from typing import Final, Generic, TypeVar

ValueT = TypeVar("ValueT")

_WOKEN_AT_ONCE: Final = 50
"""Of thousands who follow; others have their turn between one slice and the next."""


class Newest(Generic[ValueT]):
    """One place for a value; a new value replaces the old one for everybody.

    However many follow and however slowly, only one value is kept.
    """

    __slots__ = ("_failure", "_is_over", "_value", "_version", "_waiting")

    def __init__(self) -> None:
        """There is no value yet: followers wait for the first."""
        self._value: ValueT | None = None
        self._version = 0
        self._is_over = False
        self._failure: Exception | None = None
        self._waiting: dict[asyncio.Future[None], None] = {}

    @property
    def is_empty(self) -> bool:
        """Whether there was never a value."""
        return self._version == 0

    @property
    def value(self) -> ValueT:
        """The newest value; raises LookupError while there is none."""
        if self.is_empty:
            raise LookupError("no value yet")
        return self._value  # pyright: ignore[reportReturnType] - ValueT may itself allow None

    def put(self, value: ValueT) -> None:
        """Show this value from now on."""
        self._value = value
        self._version += 1
        self._wake()

    def refresh(self, value: ValueT) -> None:
        """Show this value to whoever comes from now on; those who follow need not hear of it."""
        self._value = value

    def close(self, failure: Exception | None = None) -> None:
        """No value comes any more: who follows sees the last one, then the end or the failure."""
        self._is_over, self._failure = True, failure
        self._wake()

    def _wake(self) -> None:
        waiting, self._waiting = list(self._waiting), {}
        _wake_in_slices(waiting)

    async def follow(self) -> AsyncGenerator[ValueT]:
        """Yield the value as soon as there is one, then, whenever it changed, the newest."""
        seen = 0
        while True:
            if self._version > seen:
                seen = self._version
                yield self.value
            elif self._failure is not None:
                raise self._failure
            elif self._is_over:
                return
            else:
                await self._wait()

    async def _wait(self) -> None:
        woken = asyncio.get_running_loop().create_future()
        self._waiting[woken] = None
        try:
            await woken
        finally:
            self._waiting.pop(woken, None)


def _wake_in_slices(waiting: Sequence[asyncio.Future[None]], first: int = 0) -> None:
    after = first + _WOKEN_AT_ONCE
    for woken in waiting[first:after]:
        if not woken.done():  # its follower may have left
            woken.set_result(None)
    if after < len(waiting):
        asyncio.get_running_loop().call_soon(_wake_in_slices, waiting, after)
