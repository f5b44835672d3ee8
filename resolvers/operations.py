"""Running a prepared document: one result, or a stream of them.

Strawberry converts the types and its resolvers; graphql-core runs them. What Strawberry's own
``Schema.execute`` puts between the two for every request (an extension runner, four context
managers, a middleware manager) is left out: this server has no schema extensions.
"""

from collections.abc import AsyncGenerator, AsyncIterable, Mapping, Sequence
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

from resolvers.attempts import Asked, Attempt, Observe, Permit
from resolvers.caches import DocumentCache
from resolvers.cost import MOST_OF_A_SUBSCRIPTION
from resolvers.documents import PreparedDocument, PreparedOperation
from resolvers.learning import Learning, Pay, Who
from resolvers.limits import check_variables
from resolvers.operation_requests import OperationRequest, is_persisted
from resolvers.patience import Leaving, Patience
from resolvers.persisted import PersistedQueries, Safelist, Texts
from resolvers.transport_errors import (
    BAD_USER_INPUT,
    COST_LIMITED,
    DescribeError,
    OperationRefused,
    disclose,
    mark,
)


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

    def __init__(
        self,
        schema: Schema,
        describe_error: DescribeError,
        permit: Permit | None = None,
        observe: Observe | None = None,
        *,
        max_cost: int | None = None,
        timeout_s: float = 10.0,
        introspection: bool = True,
        pay: Pay | None = None,
        texts: Texts | None = None,
        safelist: Safelist | None = None,
    ) -> None:
        if schema.extensions or schema.directives:
            raise ValueError("schema extensions and operation directives would never run")
        self._schema = schema._schema  # noqa: SLF001 # pyright: ignore[reportPrivateUsage] - the only way
        self.describe_error = describe_error
        self._permit = permit
        self._observe = observe
        self._max_cost = max_cost
        self._patience = Patience(timeout_s)
        self._introspection = introspection
        self.documents = DocumentCache(self._schema, introspection=introspection)
        self._is_safe = safelist is None or safelist.mode == "off"
        self._persisted = PersistedQueries(texts, safelist)
        self._learning = Learning(self.documents, pay)

    def attempt(self) -> Attempt:
        """A request that has just come."""
        return Attempt(self._observe)

    def known(self, request: OperationRequest, attempt: Attempt) -> PreparedDocument | None:
        """The document, where the request brings its text and that is kept.

        Which of its operations is meant is the attempt's from now on, if it has that one.
        """
        if not self._has_text(request):
            return None
        kept = self.documents.find(request.query)
        if kept is not None:
            attempt.is_known = not kept.errors
            attempt.operation = kept.operations.get(request.operation_name)
        return kept

    async def learn(
        self, request: OperationRequest, attempt: Attempt, who: Who
    ) -> tuple[OperationRequest, PreparedDocument]:
        """The request with the text that it means, and its document: for what is not `known`.

        Raises OperationRefused when there is no text, and whatever `who` or `pay` raise.
        """
        kept = None
        if not self._has_text(request):
            request = await self._persisted.resolve(request)
            kept = self.documents.find(request.query)
        attempt.is_known = kept is not None and not kept.errors
        prepared = kept or await self._learning.learn(request.query, who)
        if not prepared.errors:
            await self._persisted.keep(request)
        attempt.operation = prepared.operations.get(request.operation_name)
        return request, prepared

    def _has_text(self, request: OperationRequest) -> bool:
        return self._is_safe and bool(request.query) and not is_persisted(request.extensions)

    def weigh(self, operation: PreparedOperation, variables: Mapping[str, Any] | None) -> int:
        """What the operation costs; raises OperationRefused for too much of it or its variables."""
        given = variables or {}
        excess = check_variables([given[name] for name in operation.variables if name in given])
        if excess is not None:
            raise OperationRefused(BAD_USER_INPUT, excess)
        cost = operation.price.of(given)
        most = self._max_cost
        if most is not None and operation.kind is OperationType.SUBSCRIPTION:
            most = min(most, MOST_OF_A_SUBSCRIPTION)
        if most is not None and cost > most:
            message = f"The operation costs {cost:,}, at most {most:,} is allowed"
            numbers = {"requested": cost, "maximum": most}
            raise OperationRefused(COST_LIMITED, message, {"cost": numbers})
        return cost

    async def permit(
        self, operation: PreparedOperation, cost: int, context: object
    ) -> dict[str, Any] | None:
        """Let the operation begin, or raise what keeps it from it.

        Returns the `extensions` of its answer, None where no cost is limited.
        """
        more: Mapping[str, Any] | None = None
        if self._permit is not None:
            asked = Asked(operation.name, operation.kind, operation.root_fields, cost)
            more = await self._permit(context, asked)
        if self._max_cost is None:
            return None
        return {"cost": {"requested": cost, "maximum": self._max_cost, **(more or {})}}

    async def execute(
        self,
        prepared: PreparedDocument,
        request: OperationRequest,
        context: object,
        leaving: Leaving | None = None,
    ) -> ExecutionResult | list[GraphQLError]:
        """Run a query or mutation; a list of errors means that it never started.

        `leaving` returns when nobody waits for it any more. Raises ClientDisconnect when it is
        given up for that, OperationRefused when it takes too long.
        """
        executor = self._build_executor(prepared, request, context)
        if isinstance(executor, list):
            return executor
        result: Any = executor.execute_operation()
        try:
            if _is_awaitable(result):
                result = await self._patience.wait_for(result, leaving)
        finally:
            executor.release()
        for error in result.errors or ():
            disclose(error, self.describe_error)
        return result

    async def stream(
        self, prepared: PreparedDocument, request: OperationRequest, context: object
    ) -> Results:
        """Run any operation; yield its results; a Failure is the last."""
        operation = prepared.operations.get(request.operation_name)
        if operation is None or prepared.errors:
            unknown = GraphQLError(UNKNOWN_OPERATION, extensions={"code": BAD_USER_INPUT})
            yield Failure(prepared.errors or [unknown])
        elif operation.kind is OperationType.SUBSCRIPTION:
            async with aclosing(self._subscribe(prepared, request, context)) as results:
                async for result in results:
                    yield result
        else:
            yield await self._execute_or_fail(prepared, request, context)

    async def _execute_or_fail(
        self, prepared: PreparedDocument, request: OperationRequest, context: object
    ) -> ExecutionResult | Failure:
        try:
            result = await self.execute(prepared, request, context)
        except OperationRefused as refused:
            code, message, extensions = refused.description
            return Failure([GraphQLError(message, extensions={**extensions, "code": code})])
        return Failure(result) if isinstance(result, list) else result

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
                        disclose(error, self.describe_error)
                    yield result
            except Exception as error:  # noqa: BLE001 - a source that fails ends as an error entry
                failure = GraphQLError(str(error), original_error=error)
                yield Failure([disclose(failure, self.describe_error)])

    def _not_subscribed(self, result: ExecutionResult) -> Failure:
        return Failure([disclose(error, self.describe_error) for error in result.errors or ()])

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
            hide_suggestions=not self._introspection,
        )
        if isinstance(executor, list):
            return [mark(error, BAD_USER_INPUT) for error in executor]
        executor.operation_extensions = request.extensions
        return executor
