"""Parsing and validating what is not known yet: paid for beforehand, and one after another.

A document of 3,000 characters can hold a process for 50 ms, and whoever sends ever new ones finds
none of them kept. So it is taken from what the asker may cost before anything looks at the text,
and between two of them everybody else has a turn.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Final, Generic, TypeAlias, TypeVar

from starlette.requests import HTTPConnection, Request
from starlette.types import Scope

from resolvers.caches import DocumentCache
from resolvers.documents import PreparedDocument

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


class Learning:
    """Adds documents to those that are known."""

    def __init__(self, documents: DocumentCache, pay: Pay | None) -> None:
        """Without `pay` everybody may send as many new ones as they like."""
        self._documents = documents
        self._pay = pay
        self._turn = asyncio.Lock()

    async def learn(self, source: str, who: Who) -> PreparedDocument:
        """The document of a text that was not found, or its errors.

        Raises whatever keeps its asker from having it looked at.
        """
        if self._pay is not None:
            await self._pay(await who(), price_of(source))
        async with self._turn:
            await asyncio.sleep(0)  # a free lock is taken at once, by one after another
            return self._documents.add(source)
