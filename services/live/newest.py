"""A value that changes, and those who follow it: a slow one sees the newest, never a queue."""

import asyncio
from collections.abc import AsyncGenerator
from typing import Generic, TypeVar

ValueT = TypeVar("ValueT")


class Newest(Generic[ValueT]):
    """One place for a value; a new value replaces the old one for everybody.

    However many follow and however slowly, only one value is kept.
    """

    __slots__ = ("_changed", "_failure", "_is_over", "_value", "_version")

    def __init__(self) -> None:
        """There is no value yet: followers wait for the first."""
        self._value: ValueT | None = None
        self._version = 0
        self._is_over = False
        self._failure: Exception | None = None
        self._changed = asyncio.Event()

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
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

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
                await self._changed.wait()
