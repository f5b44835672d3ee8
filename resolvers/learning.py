"""Parsing and validating what is not known yet: paid for beforehand, and one after another.

A document of 3,000 characters can hold a process for 50 ms, and whoever sends ever new ones finds
none of them kept. So it is taken from what the asker may cost before anything looks at the text,
no more than a fifth of a process is spent on them while others wait, and only so many wait.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any, Final, Generic, TypeAlias, TypeVar

from starlette.requests import HTTPConnection, Request
from starlette.types import Scope

from resolvers.caches import DocumentCache
from resolvers.documents import PreparedDocument
from resolvers.transport_errors import SERVICE_UNAVAILABLE, OperationRefused
from services.monitoring.log_context import detached

Pay: TypeAlias = Callable[[Any, int], Awaitable[None]]
"""Given a context and what its asker is to pay beside their operations, in the units of the query
cost; may refuse by raising."""

Who: TypeAlias = Callable[[], Awaitable[Any]]
"""Finds out in which context something is asked; may refuse by raising."""

ContextT = TypeVar("ContextT")


class Asker(Generic[ContextT]):
    """Who asks: found out when it matters first, and once."""

    __slots__ = ("_context", "_make_context", "_scope")

    def __init__(
        self, make_context: Callable[[HTTPConnection], Awaitable[ContextT]], scope: Scope
    ) -> None:
        """Of a request over HTTP. What `make_context` raises is raised by who needs to know."""
        self._make_context = make_context
        self._scope = scope
        self._context: ContextT | None = None

    async def __call__(self) -> ContextT:
        """The context of the request."""
        if self._context is None:
            self._context = await self._make_context(Request(self._scope))
        return self._context


LEAST_PRICE: Final = 200
MOST_PRICE: Final = 1_250
"""50 ms: a process answers with some 25 objects in a millisecond."""
_CHARACTERS_FOR_ONE: Final = 3


def price_of(source: str) -> int:
    """What it costs to look at a text for the first time, by its length alone."""
    return min(LEAST_PRICE + len(source) // _CHARACTERS_FOR_ONE, MOST_PRICE)


MOST_WAITING: Final = 25_000
"""What may wait to be looked at, by its price: a second of work, and four of rest in between."""

REST: Final = 4
"""How much longer a process does something else after a document than it took.

A request takes a turn at every step: one turn a document would make it wait for ten of them.
"""

AHEAD_S: Final = 0.1
"""Rest that may be made up for later: 20 ms of small documents, an app's first, wait for none."""

_TOO_MANY: Final = "Too many operations are new at the moment: send it again in a few seconds"


class Learning:
    """Adds documents to those that are known."""

    def __init__(self, documents: DocumentCache, pay: Pay | None) -> None:
        """Without `pay` everybody may send as many new ones as they like."""
        self._documents = documents
        self._pay = pay
        self._turn = asyncio.Lock()
        self._rested_at_s = 0.0
        self._waiting: dict[str, asyncio.Task[PreparedDocument]] = {}
        self._waiting_price = 0

    async def learn(self, source: str, who: Who) -> PreparedDocument:
        """The document of a text that was not found, or its errors.

        Whoever asks for a text that is waiting gets the same. Raises OperationRefused where too
        many others wait, and whatever keeps its asker from having it looked at.
        """
        if self._pay is not None:
            await self._pay(await who(), price_of(source))
        waiting = self._waiting.get(source) or self._begin(source)
        return await asyncio.shield(waiting)

    def _begin(self, source: str) -> asyncio.Task[PreparedDocument]:
        price = price_of(source)
        if self._waiting_price + price > MOST_WAITING:
            raise OperationRefused(SERVICE_UNAVAILABLE, _TOO_MANY)
        self._waiting_price += price
        task = self._waiting[source] = detached(self._prepare(source, price))
        return task

    async def _prepare(self, source: str, price: int) -> PreparedDocument:
        try:
            async with self._turn:
                await asyncio.sleep(self._rested_at_s - time.perf_counter())
                return self._prepare_now(source)
        finally:
            del self._waiting[source]
            self._waiting_price -= price

    def _prepare_now(self, source: str) -> PreparedDocument:
        began_at_s = time.perf_counter()
        try:
            return self._documents.add(source)
        finally:
            took_s = time.perf_counter() - began_at_s
            rested_at_s = max(self._rested_at_s, began_at_s - AHEAD_S)
            self._rested_at_s = rested_at_s + (1 + REST) * took_s
