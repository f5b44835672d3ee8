"""The results of operations as JSON text, for whatever transport carries them.

A subscription in which everybody sees the same runs once for all who ask for it in the same words:
one execution and one encoding each time it changes, however many sockets show it.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from typing import Final, Generic, NamedTuple, TypeAlias, TypeVar

import orjson
import structlog
from graphql import ExecutionResult, FieldNode, GraphQLError, OperationType

from resolvers.caches import PreparedDocument
from resolvers.operation_requests import OperationRequest
from resolvers.operations import Failure, Operations
from resolvers.transport_errors import INTERNAL, INTERNAL_MESSAGE, error_entry
from services.live.newest import Newest

Context = TypeVar("Context")

_log: structlog.stdlib.BoundLogger = structlog.get_logger()


class Message(NamedTuple):
    """A result, encoded: an object with `data`, or, for a failure, the list of its errors.

    After a failure nothing comes.
    """

    text: str
    is_failure: bool = False


class Shared(NamedTuple, Generic[Context]):
    """Which subscriptions show everybody the same, and in which context they run.

    The contexts must know no viewer: whatever a field selects, nobody's own can be in it.
    """

    fields: frozenset[str]
    make_context: Callable[[], Context]


_Key: TypeAlias = tuple[str, str | None, bytes]
"""The document's text, the operation's name, its variables."""

_BROKEN: Final = Message(orjson.dumps([error_entry(INTERNAL, INTERNAL_MESSAGE)]).decode(), True)


class Streams(Generic[Context]):
    """Runs operations as streams of messages."""

    def __init__(self, operations: Operations, shared: Shared[Context] | None) -> None:
        """Without `shared` every operation runs by itself."""
        self._operations = operations
        self._shared = shared
        self._running: dict[_Key, _Running] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def running(self) -> int:
        """How many shared operations are running."""
        return len(self._running)

    def open(
        self, prepared: PreparedDocument, request: OperationRequest, context: Context
    ) -> AsyncGenerator[Message]:
        """The messages of an operation, whatever happens; its own or those of a shared one.

        They keep no variables but those that the operation declares: a request may hold others,
        of any size, and some operations never end.
        """
        shared, request = self._shared, _needed(prepared, request)
        if shared is None or _root_field(prepared, request) not in shared.fields:
            return self._run(prepared, request, context)
        return self._follow(prepared, request, shared.make_context)

    async def _run(
        self, prepared: PreparedDocument, request: OperationRequest, context: Context
    ) -> AsyncGenerator[Message]:
        try:
            async with aclosing(self._operations.stream(prepared, request, context)) as results:
                async for result in results:
                    yield _encode(result)
        except Exception as error:  # noqa: BLE001 - what cannot be run or encoded has an end too
            _log.error("stream_failed", exc_info=error)
            yield _BROKEN

    async def _follow(
        self,
        prepared: PreparedDocument,
        request: OperationRequest,
        make_context: Callable[[], Context],
    ) -> AsyncGenerator[Message]:
        variables = orjson.dumps(request.variables or {}, option=orjson.OPT_SORT_KEYS)
        key = request.query, request.operation_name, variables
        running = self._running.get(key)
        if running is None:
            messages = self._run(prepared, request, make_context())
            running = self._running[key] = _Running()
            running.task = asyncio.create_task(self._feed(key, running, messages))
            self._tasks.add(running.task)  # asyncio itself holds tasks weakly
            running.task.add_done_callback(self._tasks.discard)
        running.followers += 1
        try:
            async with aclosing(running.newest.follow()) as newest:
                async for message in newest:
                    yield message
        finally:
            running.followers -= 1
            if not running.followers:
                self._end(key, running)

    async def _feed(
        self, key: _Key, running: "_Running", messages: AsyncGenerator[Message]
    ) -> None:
        try:
            async with aclosing(messages):
                async for message in messages:
                    # What made it run again may be nothing that the document selects.
                    if running.newest.is_empty or message != running.newest.value:
                        running.newest.put(message)
        finally:
            self._end(key, running)

    def _end(self, key: _Key, running: "_Running") -> None:
        """Let nobody join any more: the operation is over, or nobody is left."""
        running.newest.close()
        if self._running.get(key) is running:
            del self._running[key]
        if running.task is not None and not running.followers:
            running.task.cancel()


class _Running:
    """A shared operation and those who follow it."""

    __slots__ = ("followers", "newest", "task")

    def __init__(self) -> None:
        self.followers = 0
        self.newest = Newest[Message]()
        self.task: asyncio.Task[None] | None = None


async def break_off(error: Exception) -> AsyncGenerator[Message]:
    """The messages of an operation that failed in a way nobody expected; it is logged."""
    _log.error("stream_failed", exc_info=error)
    yield _BROKEN


def _needed(prepared: PreparedDocument, request: OperationRequest) -> OperationRequest:
    """The request without what its operation cannot see."""
    operation = prepared.operations.get(request.operation_name)
    declared = operation.variable_definitions or () if operation else ()
    names = {definition.variable.name.value for definition in declared}
    given = request.variables or {}
    variables = {name: given[name] for name in given.keys() & names}
    return request._replace(variables=variables, extensions=None)


def _root_field(prepared: PreparedDocument, request: OperationRequest) -> str | None:
    """The name of a subscription's field; None for other operations, and for one in a fragment."""
    operation = prepared.operations.get(request.operation_name)
    if operation is None or operation.operation is not OperationType.SUBSCRIPTION:
        return None
    field, *others = operation.selection_set.selections
    return field.name.value if isinstance(field, FieldNode) and not others else None


def _encode(result: ExecutionResult | Failure) -> Message:
    if isinstance(result, Failure):
        return Message(orjson.dumps(_entries(result.errors)).decode(), is_failure=True)
    payload: dict[str, object] = {"data": result.data}
    if result.errors:
        payload["errors"] = _entries(result.errors)
    return Message(orjson.dumps(payload).decode())


def _entries(errors: Sequence[GraphQLError]) -> list[object]:
    return [error.formatted for error in errors]
