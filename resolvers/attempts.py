"""What an operation asks for before it begins, and what became of it afterwards."""

import time
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple, TypeAlias

from graphql import OperationType

from resolvers.documents import PreparedOperation


class Asked(NamedTuple):
    """What an operation asks for, before it begins."""

    name: str | None
    """As the client wrote it: any of them, without end."""
    kind: OperationType
    root_fields: tuple[str, ...]
    """As often as each is asked for."""
    cost: int
    """In the units of the query cost."""


class Observation(NamedTuple):
    """What became of a request over HTTP, or of an operation on a socket."""

    name: str | None
    """As the client wrote it: any of them, without end."""
    root_fields: tuple[str, ...]
    kind: OperationType | None
    """None where the request never became an operation."""
    duration_s: float
    """Until its answer was ready to be sent; of a subscription until it began."""
    code: str | None
    """Of its first error, None where there was none."""
    is_known: bool
    """Whether its document was among the valid ones that are kept."""


Permit: TypeAlias = Callable[[Any, Asked], Awaitable[None]]
"""Given a context and what is asked for in it; may refuse by raising."""

Observe: TypeAlias = Callable[[Observation], None]
"""Told of each request or operation once, when it ended; of a subscription when it began."""


class Attempt:
    """A request, or an operation on a socket, from when it came until it is observed."""

    __slots__ = ("_observe", "_started_at_s", "is_known", "operation")

    def __init__(self, observe: Observe | None) -> None:
        """It begins now."""
        self._observe = observe
        self._started_at_s = time.perf_counter()
        self.operation: PreparedOperation | None = None
        self.is_known = False

    def end(self, code: str | None) -> None:
        """Have it observed, unless it was already; `code` is that of its first error."""
        observe, self._observe = self._observe, None
        if observe is None:
            return
        duration_s = time.perf_counter() - self._started_at_s
        operation = self.operation
        if operation is None:
            observe(Observation(None, (), None, duration_s, code, self.is_known))
        else:
            name, fields, kind = operation.name, operation.root_fields, operation.kind
            observe(Observation(name, fields, kind, duration_s, code, self.is_known))
