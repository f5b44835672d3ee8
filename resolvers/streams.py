"""The results of operations as streams of messages, for whatever transport carries them.

A subscription in which everybody sees the same runs once for all who ask for the same; any other
runs by itself, and is begun anew when a store that was away kept something from being loaded.
"""

import asyncio
import random
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AbstractContextManager, ExitStack, aclosing, nullcontext
from functools import partial
from typing import Any, Final, Generic, NamedTuple, TypeVar

import structlog
from graphql import OperationType

from resolvers.attempts import Attempt
from resolvers.caches import MAX_CACHED_CHARACTERS
from resolvers.documents import PreparedDocument, PreparedOperation
from resolvers.following import Costs, Following
from resolvers.operation_requests import OperationRequest
from resolvers.operations import Operations
from resolvers.shared_streams import Begin, SharedStreams, StreamKey, stream_key
from resolvers.stream_messages import BROKEN, Message, break_off, encode, only, refusal
from resolvers.transport_errors import COST_LIMITED, OperationRefused, describe_outside_fields

Context = TypeVar("Context")

_log: structlog.stdlib.BoundLogger = structlog.get_logger()

_FIRST_RETRY_S: Final = 1.0
_LONGEST_RETRY_S: Final = 30.0
_TOO_LONG: Final = refusal(
    COST_LIMITED, f"The document of a subscription has at most {MAX_CACHED_CHARACTERS:,} characters"
)


class Shared(NamedTuple, Generic[Context]):
    """Which subscriptions show everybody the same, and in which context they run.

    The contexts must know no viewer: whatever a field selects, nobody's own can be in it.
    """

    fields: frozenset[str]
    make_context: Callable[[], Context]
    holder_of: Callable[[Context], str]
    """Who asks, as far as anybody can tell: a user or an address.

    What shows them their own costs so much together at most, on all connections to this process.
    """


class Streams(Generic[Context]):
    """Runs operations as streams of messages."""

    def __init__(self, operations: Operations, shared: Shared[Context] | None) -> None:
        """Without `shared` every operation runs by itself."""
        self._operations = operations
        self._shared = shared
        self.shared = SharedStreams()
        self._costs = Costs("one user or address")

    def ask(
        self, request: OperationRequest, context: Context, following: Following
    ) -> AsyncGenerator[Message]:
        """The messages of an operation that is still to be found, prepared and permitted."""
        attempt = self._operations.attempt()
        prepared = self._operations.known(request, attempt)
        if prepared is None:
            return self._learned(request, context, following, attempt)
        return self._prepared(prepared, request, context, following, attempt)

    async def _learned(
        self,
        request: OperationRequest,
        context: Context,
        following: Following,
        attempt: Attempt,
    ) -> AsyncGenerator[Message]:
        who = partial(_given, context)
        try:
            request, prepared = await self._operations.learn(request, attempt, who)
        except Exception as error:  # noqa: BLE001 - the client is told what it may know
            yield self._refuse(error, attempt)
            return
        messages = self._prepared(prepared, request, context, following, attempt)
        del prepared, request, context, who  # they keep what the messages do not
        async with aclosing(messages):
            async for message in messages:
                yield message

    def _prepared(
        self,
        prepared: PreparedDocument,
        request: OperationRequest,
        context: Context,
        following: Following,
        attempt: Attempt,
    ) -> AsyncGenerator[Message]:
        try:
            operation = attempt.operation
            if operation is None:
                return self.observed(self.open(prepared, request, context), attempt)
            cost = self._operations.weigh(operation, request.variables)
            permission = partial(self._operations.permit, operation, cost, context)
            begin = partial(
                self.open, prepared, _needed(operation, request), context, following.streams
            )
            is_lasting = operation.kind is OperationType.SUBSCRIPTION
            place = following.holding(cost) if is_lasting else nullcontext()
            return self._permitted(permission, begin, place, attempt)
        except Exception as error:  # noqa: BLE001 - the operation ends, not the connection
            return only(self._refuse(error, attempt))

    def _refuse(self, error: Exception, attempt: Attempt) -> Message:
        refused = describe_outside_fields(error, self._operations.describe_error)
        attempt.end(refused[0])
        return refusal(*refused)

    async def _permitted(
        self,
        permission: Callable[[], Awaitable[dict[str, Any] | None]],
        begin: Callable[[dict[str, Any] | None], AsyncGenerator[Message]],
        place: AbstractContextManager[None],
        attempt: Attempt,
    ) -> AsyncGenerator[Message]:
        with ExitStack() as held:
            try:
                held.enter_context(place)
                messages = begin(await permission())
            except Exception as error:  # noqa: BLE001 - the client is told what it may know
                yield self._refuse(error, attempt)
                return
            del permission, begin  # they keep what the messages do not
            async with aclosing(self.observed(messages, attempt)) as observed:
                async for message in observed:
                    yield message

    async def observed(
        self, messages: AsyncGenerator[Message], attempt: Attempt
    ) -> AsyncGenerator[Message]:
        """The messages; the attempt ends with the first, that of a subscription before."""
        operation = attempt.operation
        if operation is not None and operation.kind is OperationType.SUBSCRIPTION:
            attempt.end(None)
        try:
            async with aclosing(messages):
                async for message in messages:
                    attempt.end(message.code)
                    yield message
        finally:
            attempt.end(None)  # nobody waited for the first

    def open(
        self,
        prepared: PreparedDocument,
        request: OperationRequest,
        context: Context,
        followed: Counter[StreamKey] | None = None,
        extensions: dict[str, Any] | None = None,
    ) -> AsyncGenerator[Message]:
        """The messages of an operation, whatever happens; its own or those of a shared one.

        `followed` is what the connection follows already of what is shared: 4 different at most.
        `extensions` are told with the result of a query or mutation.

        They keep no variables but those that the operation declares: a request may hold others,
        of any size, and some operations never end. Nor do they keep long documents, which take 140
        times as much memory once they are parsed.
        """
        operation = prepared.operations.get(request.operation_name)
        request = _needed(operation, request)
        if operation is None or operation.kind is not OperationType.SUBSCRIPTION:
            return self._run(prepared, request, context, extensions)
        if len(request.query) > MAX_CACHED_CHARACTERS:
            return only(_TOO_LONG)
        shared = self._shared
        if shared is None:
            return _persist(lambda: self._run(prepared, request, context))
        if not shared.fields.issuperset(operation.root_fields):
            cost = operation.price.of(request.variables or {})
            place = self._costs.holding(shared.holder_of(context), cost)
            return _held(place, _persist(lambda: self._run(prepared, request, context)))
        try:
            key = stream_key(request)
        except Exception as error:  # noqa: BLE001 - such as variables nested beyond encoding
            return break_off(error)
        return self.shared.follow(
            key,
            lambda: self._run(prepared, request, shared.make_context()),
            Counter() if followed is None else followed,
            shared.holder_of(context),
        )

    async def _run(
        self,
        prepared: PreparedDocument,
        request: OperationRequest,
        context: Context,
        extensions: dict[str, Any] | None = None,
    ) -> AsyncGenerator[Message]:
        try:
            async with aclosing(self._operations.stream(prepared, request, context)) as results:
                async for result in results:
                    yield encode(result, extensions)
        except Exception as error:  # noqa: BLE001 - what cannot be run or encoded has an end too
            _log.error("stream_failed", exc_info=error)
            yield BROKEN


async def _held(
    place: AbstractContextManager[None], messages: AsyncGenerator[Message]
) -> AsyncGenerator[Message]:
    """The messages, for as long as they may be told, or why they may not."""
    with ExitStack() as held:
        try:
            held.enter_context(place)
        except OperationRefused as refused:
            yield refusal(*refused.description)
            return
        async with aclosing(messages):
            async for message in messages:
                yield message


async def _persist(begin: Begin) -> AsyncGenerator[Message]:
    """The messages of a subscription; while a store is away it is begun anew, ever less often.

    What could not be loaded would else be missing until the next change, which may be in a week.
    Who has been shown something whole is not shown less; who has not is told at once how it stands.
    """
    shown: Message | None = None
    retry_s = _FIRST_RETRY_S
    while True:
        is_interrupted = False
        async with aclosing(begin()) as messages:
            async for message in messages:
                if message.may_pass and (shown is not None or not message.is_failure):
                    is_interrupted = True
                    if shown is None:
                        shown = message
                        yield message
                    break
                shown, retry_s = message, _FIRST_RETRY_S
                yield message
        if not is_interrupted:
            return
        await asyncio.sleep(retry_s * random.uniform(0.5, 1.5))  # noqa: S311 - all wait alike else
        retry_s = min(2 * retry_s, _LONGEST_RETRY_S)


async def _given(context: Context) -> Context:
    return context


def _needed(operation: PreparedOperation | None, request: OperationRequest) -> OperationRequest:
    """The request without what its operation cannot see."""
    declared = operation.variables if operation else frozenset[str]()
    given = request.variables or {}
    variables = {name: given[name] for name in given.keys() & declared}
    return request._replace(variables=variables, extensions=None)
