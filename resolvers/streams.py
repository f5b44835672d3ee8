"""The results of operations as JSON text, for whatever transport carries them.

A subscription in which everybody sees the same runs once for all who ask for the same: one
execution and one encoding each time it changes, however many sockets show it.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from contextlib import aclosing
from functools import lru_cache
from typing import Final, Generic, NamedTuple, TypeAlias, TypeVar

import orjson
import structlog
from graphql import (
    ExecutionResult,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLError,
    InlineFragmentNode,
    OperationDefinitionNode,
    OperationType,
    strip_ignored_characters,
)

from resolvers.caches import PreparedDocument
from resolvers.operation_requests import OperationRequest
from resolvers.operations import Failure, Operations
from resolvers.transport_errors import COST_LIMITED, INTERNAL, INTERNAL_MESSAGE, error_entry
from services.live.newest import Newest

Context = TypeVar("Context")

_log: structlog.stdlib.BoundLogger = structlog.get_logger()


class Message(NamedTuple):
    """A result, encoded: an object with `data`, or, for a failure, the list of its errors.

    After a failure nothing comes.
    """

    text: str
    is_failure: bool = False
    has_errors: bool = False
    """Whether parts of the data could not be loaded."""


class Shared(NamedTuple, Generic[Context]):
    """Which subscriptions show everybody the same, and in which context they run.

    The contexts must know no viewer: whatever a field selects, nobody's own can be in it.
    """

    fields: frozenset[str]
    make_context: Callable[[], Context]


StreamKey: TypeAlias = tuple[str, str | None, bytes]
"""The document without what means nothing, the operation's name, the variables it declares."""

MOST_SHARED: Final = 4
"""Different shared streams that one connection may follow. Each is work for the whole process."""

_RETRY_S: Final = 1.0
"""How soon a shared operation whose result had errors is begun anew."""

_BROKEN: Final = Message(orjson.dumps([error_entry(INTERNAL, INTERNAL_MESSAGE)]).decode(), True)
_TOO_MANY_TEXT: Final = f"At most {MOST_SHARED} different streams of this kind on one connection"
_TOO_MANY: Final = Message(orjson.dumps([error_entry(COST_LIMITED, _TOO_MANY_TEXT)]).decode(), True)


class Streams(Generic[Context]):
    """Runs operations as streams of messages."""

    def __init__(self, operations: Operations, shared: Shared[Context] | None) -> None:
        """Without `shared` every operation runs by itself."""
        self._operations = operations
        self._shared = shared
        self._running: dict[StreamKey, _Running] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def running(self) -> int:
        """How many shared operations are running."""
        return len(self._running)

    def open(
        self,
        prepared: PreparedDocument,
        request: OperationRequest,
        context: Context,
        followed: Counter[StreamKey] | None = None,
    ) -> AsyncGenerator[Message]:
        """The messages of an operation, whatever happens; its own or those of a shared one.

        `followed` is what the connection follows already of what is shared: 4 different at most.

        They keep no variables but those that the operation declares: a request may hold others,
        of any size, and some operations never end.
        """
        shared, request = self._shared, _needed(prepared, request)
        if shared is None or not _is_of(shared.fields, prepared, request):
            return self._run(prepared, request, context)
        try:
            key = _key(request)
        except Exception as error:  # noqa: BLE001 - such as variables nested beyond encoding
            return break_off(error)
        return self._follow(
            key,
            lambda: self._run(prepared, request, shared.make_context()),
            Counter() if followed is None else followed,
        )

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
        key: StreamKey,
        begin: Callable[[], AsyncGenerator[Message]],
        followed: Counter[StreamKey],
    ) -> AsyncGenerator[Message]:
        if key not in followed and len(followed) >= MOST_SHARED:
            yield _TOO_MANY
            return
        running = self._join(key, begin)
        followed[key] += 1
        try:
            async with aclosing(running.newest.follow()) as newest:
                async for message in newest:
                    yield message
        finally:
            followed[key] -= 1
            if not followed[key]:
                del followed[key]
            running.followers -= 1
            if not running.followers:
                self._end(key, running)

    def _join(self, key: StreamKey, begin: Callable[[], AsyncGenerator[Message]]) -> "_Running":
        running = self._running.get(key)
        if running is None:
            running = self._running[key] = _Running()
            running.task = asyncio.create_task(self._feed(key, running, begin))
            self._tasks.add(running.task)  # asyncio itself holds tasks weakly
            running.task.add_done_callback(self._tasks.discard)
        running.followers += 1
        return running

    async def _feed(
        self, key: StreamKey, running: "_Running", begin: Callable[[], AsyncGenerator[Message]]
    ) -> None:
        try:
            while await _pass_on(begin(), running.newest):  # noqa: ASYNC110 - it tells, not waits
                await asyncio.sleep(_RETRY_S)
        finally:
            self._end(key, running)

    def _end(self, key: StreamKey, running: "_Running") -> None:
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


async def _pass_on(messages: AsyncGenerator[Message], newest: Newest[Message]) -> bool:
    """Show the messages; return whether to begin anew, for something could not be loaded.

    A result with errors takes no good one's place: it would stay until something changes, however
    soon its cause is gone. Who has been shown something is not thrown out by a failed attempt.
    """
    is_attempt = not newest.is_empty
    async with aclosing(messages):
        async for message in messages:
            if message.is_failure and is_attempt:
                return True
            is_attempt = False
            # What made it run again may be nothing that the document selects.
            is_news = newest.is_empty or message != newest.value
            if is_news and (newest.is_empty or newest.value.has_errors or not message.has_errors):
                newest.put(message)
            if message.has_errors:
                return True
    return False


def _key(request: OperationRequest) -> StreamKey:
    variables = orjson.dumps(request.variables or {}, option=orjson.OPT_SORT_KEYS)
    return _without_decoration(request.query), request.operation_name, variables


@lru_cache(maxsize=64)
def _without_decoration(query: str) -> str:
    """The document without whitespace, comments and commas: they part what asks for the same."""
    return strip_ignored_characters(query)


def _is_of(fields: frozenset[str], prepared: PreparedDocument, request: OperationRequest) -> bool:
    """Whether this is a subscription to one of these fields, in whatever fragments it stands."""
    operation = prepared.operations.get(request.operation_name)
    if operation is None or operation.operation is not OperationType.SUBSCRIPTION:
        return False
    return set(_root_fields(prepared, operation)) <= fields


def _root_fields(prepared: PreparedDocument, operation: OperationDefinitionNode) -> Iterator[str]:
    definitions = prepared.document.definitions
    fragments = {
        node.name.value: node.selection_set
        for node in definitions
        if isinstance(node, FragmentDefinitionNode)
    }
    found = [operation.selection_set]
    while found:
        for selection in found.pop().selections:
            if isinstance(selection, FieldNode):
                yield selection.name.value
            elif isinstance(selection, InlineFragmentNode):
                found.append(selection.selection_set)
            elif isinstance(selection, FragmentSpreadNode):  # once each, however often spread
                found.extend(filter(None, [fragments.pop(selection.name.value, None)]))


def _encode(result: ExecutionResult | Failure) -> Message:
    if isinstance(result, Failure):
        return Message(orjson.dumps(_entries(result.errors)).decode(), is_failure=True)
    payload: dict[str, object] = {"data": result.data}
    if result.errors:
        payload["errors"] = _entries(result.errors)
    return Message(orjson.dumps(payload).decode(), has_errors=bool(result.errors))


def _entries(errors: Sequence[GraphQLError]) -> list[object]:
    return [error.formatted for error in errors]
