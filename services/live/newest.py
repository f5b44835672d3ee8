"""A value that changes, and those who follow it: a slow one sees the newest, never a queue."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from typing import Final, Generic, TypeVar

ValueT = TypeVar("ValueT")

_WOKEN_AT_ONCE: Final = 50
"""Of thousands who follow; others have their turn between one slice and the next."""


class Newest(Generic[ValueT]):
    """One place for a value; a new value replaces the old one for everybody.

    However many follow and however slowly, only one value is kept. Who puts values may number the
    looks that found them: who begins to follow can then ask for what no earlier look has found.
    """

    __slots__ = (
        "_beginning",
        "_failed_look",
        "_failure",
        "_is_over",
        "_look",
        "_value",
        "_version",
        "_waiting",
    )

    def __init__(self) -> None:
        """There is no value yet: followers wait for the first."""
        self._value: ValueT | None = None
        self._version = 0
        self._look = self._failed_look = -1
        self._is_over = False
        self._failure: Exception | None = None
        self._waiting: dict[asyncio.Future[None], None] = {}
        self._beginning: dict[asyncio.Future[None], None] = {}
        """Those of them that have not been shown anything."""

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

    def put(self, value: ValueT, look: int = 0) -> None:
        """Show this value, which that look found, from now on."""
        self._version += 1
        self.refresh(value, look)
        self._wake()

    def refresh(self, value: ValueT, look: int = 0) -> None:
        """Show this value to whoever begins from now on; those who follow need not hear of it."""
        self._value, self._look = value, look
        self._wake_beginning()

    def fail(self, look: int, failure: Exception) -> None:
        """That look found nothing: who waits to begin is told; who follows goes on."""
        self._failed_look, self._failure = look, failure
        self._wake_beginning()

    def close(self) -> None:
        """No value comes any more: who follows sees the last one, then the end."""
        self._is_over = True
        self._wake()
        self._wake_beginning()

    def _wake(self) -> None:
        waiting, self._waiting = list(self._waiting), {}
        _wake_in_slices(waiting)

    def _wake_beginning(self) -> None:
        beginning, self._beginning = list(self._beginning), {}
        _wake_in_slices(beginning)

    async def follow(self, since: int = 0) -> AsyncGenerator[ValueT]:
        """Yield the value that the look `since` or a later one found, then newer ones.

        A value as soon as there is one, then, whenever it changed, the newest. Raises what kept
        the look from finding one.
        """
        await self._begin(since)
        seen = 0
        while True:
            if self._version > seen:
                seen = self._version
                yield self.value
            elif self._is_over:
                return
            else:
                await self._wait(self._waiting)

    async def _begin(self, since: int) -> None:
        while not self._is_over and (self.is_empty or self._look < since):
            if self._failure is not None and self._failed_look >= since:
                raise self._failure
            await self._wait(self._beginning)

    async def _wait(self, among: dict[asyncio.Future[None], None]) -> None:
        woken = asyncio.get_running_loop().create_future()
        among[woken] = None
        try:
            await woken
        finally:
            among.pop(woken, None)


def _wake_in_slices(waiting: Sequence[asyncio.Future[None]], first: int = 0) -> None:
    after = first + _WOKEN_AT_ONCE
    for woken in waiting[first:after]:
        if not woken.done():  # its follower may have left
            woken.set_result(None)
    if after < len(waiting):
        asyncio.get_running_loop().call_soon(_wake_in_slices, waiting, after)
