"""Running a prepared document: one result, or a stream of them.

Strawberry converts the types and its resolvers; graphql-core runs them. What Strawberry's own
``Schema.execute`` puts between the two for every request (an extension runner, four context
managers, a middleware manager) is left out: this server has no schema extensions.
"""

from collections.abc import AsyncGenerator, AsyncIterable, Sequence
from contextlib import aclosing
from typing import Any, Final, NamedTuple, TypeAlias

from graphql import (
    ExecutionResult,
    Executor,
    GraphQLError,
    OperationType,
    create_source_event_stream,
    map_source_to_response_event,
)
from strawberry import Schema
from strawberry.execution import optimized_is_awaitable
from strawberry.schema.schema import StrawberryGraphQLCoreExecutionContext

from resolvers.caches import DocumentCache, PreparedDocument
from resolvers.operation_requests import OperationRequest
from resolvers.transport_errors import BAD_USER_INPUT, DescribeError, disclose, mark


class Failure(NamedTuple):
    """The end of an operation that never started, or whose source failed: nothing comes after."""

    errors: Sequence[GraphQLError]


Results: TypeAlias = AsyncGenerator[ExecutionResult | Failure, None]

UNKNOWN_OPERATION: Final = "No operation, or more than one, fits the parameter operationName"


class _Executor(Executor[Any]):
    """graphql-core's plain executor: @defer and @stream, which it lacks, are not in the schema."""

    operation_extensions: dict[str, Any] | None = None

    # What Strawberry's Info is made of, taken from Strawberry's own (incremental) executor.
    build_resolve_info: Any = StrawberryGraphQLCoreExecutionContext.build_resolve_info

    def release(self) -> None:
        """Let go of the helpers that refer back here: the one cycle of an operation.

        With it everything the operation made, some fifty objects, waits for the garbage collector.
        """
        del self.async_helpers


_is_awaitable: Final[Any] = optimized_is_awaitable  # declared without graphql-core's TypeGuard


class Operations:
    """Prepares and runs the operations of one schema, disclosing no error unasked."""

    def __init__(self, schema: Schema, describe_error: DescribeError) -> None:
        if schema.extensions or schema.directives:
            raise ValueError("schema extensions and operation directives would never run")
        self._schema = schema._schema  # noqa: SLF001 # pyright: ignore[reportPrivateUsage] - the only way
        self._describe_error = describe_error
        self.documents = DocumentCache(self._schema)

    async def execute(
        self, prepared: PreparedDocument, request: OperationRequest, context: object
    ) -> ExecutionResult | list[GraphQLError]:
        """Run a query or mutation; a list of errors means that it never started."""
        executor = self._build_executor(prepared, request, context)
        if isinstance(executor, list):
            return executor
        result: Any = executor.execute_operation()
        if _is_awaitable(result):
            result = await result
        executor.release()
        for error in result.errors or ():
            disclose(error, self._describe_error)
        return result

    async def stream(
        self, prepared: PreparedDocument, request: OperationRequest, context: object
    ) -> Results:
        """Run any operation; yield its results; a Failure is the last."""
        operation = prepared.operations.get(request.operation_name)
        if operation is None or prepared.errors:
            unknown = GraphQLError(UNKNOWN_OPERATION, extensions={"code": BAD_USER_INPUT})
            yield Failure(prepared.errors or [unknown])
        elif operation.operation is OperationType.SUBSCRIPTION:
            async with aclosing(self._subscribe(prepared, request, context)) as results:
                async for result in results:
                    yield result
        else:
            result = await self.execute(prepared, request, context)
            yield Failure(result) if isinstance(result, list) else result

    async def _subscribe(
        self, prepared: PreparedDocument, request: OperationRequest, context: object
    ) -> Results:
        executor = self._build_executor(prepared, request, context)
        if isinstance(executor, list):
            yield Failure(executor)
            return
        events: Any = create_source_event_stream(executor)
        if _is_awaitable(events):
            events = await events
        if isinstance(events, ExecutionResult):
            yield self._not_subscribed(events)
            return
        async with aclosing(self._map(executor, events)) as results:
            async for result in results:
                yield result

    async def _map(self, executor: Executor[Any], events: AsyncIterable[Any]) -> Results:
        async with aclosing(map_source_to_response_event(executor, events)) as results:
            try:
                async for result in results:
                    for error in result.errors or ():
                        disclose(error, self._describe_error)
                    yield result
            except Exception as error:  # noqa: BLE001 - a source that fails ends as an error entry
                failure = GraphQLError(str(error), original_error=error)
                yield Failure([disclose(failure, self._describe_error)])

    def _not_subscribed(self, result: ExecutionResult) -> Failure:
        return Failure([disclose(error, self._describe_error) for error in result.errors or ()])

    def _build_executor(
        self, prepared: PreparedDocument, request: OperationRequest, context: object
    ) -> _Executor | list[GraphQLError]:
        executor: Any = _Executor.build(
            self._schema,
            prepared.document,
            context_value=context,
            raw_variable_values=request.variables,
            operation_name=request.operation_name,
            is_awaitable=_is_awaitable,
        )
        if isinstance(executor, list):
            return [mark(error, BAD_USER_INPUT) for error in executor]
        executor.operation_extensions = request.extensions
        return executor
