"""What every line that is logged in the course of something bears: which request, which job.

The facts go with the task, and into those that it begins; what works for many is begun by
`detached`, or its lines would bear whoever happened to come first.
"""

import asyncio
from collections.abc import Coroutine, Mapping, MutableMapping
from contextvars import Context, ContextVar
from typing import Any, TypeVar

ResultT = TypeVar("ResultT")

_NOTHING: Mapping[str, object] = {}
_facts: ContextVar[Mapping[str, object]] = ContextVar("log_facts", default=_NOTHING)


def add_facts(**facts: object) -> None:
    """Let the lines from now on bear these as well."""
    _facts.set({**_facts.get(), **facts})


def facts() -> Mapping[str, object]:
    """What lines bear now."""
    return _facts.get()


def merge_facts(
    _logger: object, _method: str, line: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    """A processor of structlog; what a line says itself holds."""
    return {**_facts.get(), **line}


def detached(work: Coroutine[Any, Any, ResultT]) -> asyncio.Task[ResultT]:
    """A task that works for many: it bears nothing of the one that begins it."""
    return asyncio.create_task(work, context=Context())
