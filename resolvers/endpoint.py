"""The GraphQL endpoint: POST, GET, server-sent events, multipart and WebSocket at one address.

HTTP is answered here, on the shortest way through graphql-core. WebSocket connections take
Strawberry's way with the classes of ``resolvers.websocket``.
"""

from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from datetime import timedelta
from functools import partial
from typing import Any, Final, TypeVar

from graphql import OperationType
from starlette.requests import ClientDisconnect, HTTPConnection, Request
from starlette.responses import HTMLResponse, Response
from starlette.types import Receive, Scope, Send
from starlette.websockets import WebSocket
from strawberry import Schema
from strawberry.asgi import GraphQL
from strawberry.http.streaming import SSETransport
from strawberry.subscriptions import GRAPHQL_TRANSPORT_WS_PROTOCOL

from resolvers.answers import JsonAnswer, StreamAnswer, answer_errors, answer_result
from resolvers.attempts import Attempt, Observe, Permit
from resolvers.browsers import PAGE_POLICY, Browsers, adding, is_preflight
from resolvers.caches import DocumentCache
from resolvers.learning import Asker, Pay
from resolvers.media_types import Wanted, wanted
from resolvers.operation_requests import ANYBODYS_BODY_BYTES, BodyLimit, read_operation
from resolvers.operations import UNKNOWN_OPERATION, Operations
from resolvers.persisted import Safelist, Texts
from resolvers.socket_protocol import Admit, OnConnect, SocketHandler
from resolvers.streams import Shared, Streams
from resolvers.transport_errors import (
    DescribeError,
    Description,
    RefuseRequest,
    describe_closing,
    describe_outside_fields,
    error_entry,
    status_of,
)
from resolvers.websocket import SocketAdapter

Context = TypeVar("Context")

_MAX_OPERATIONS_PER_SOCKET: Final = 100
_FRAMES_HELD: Final = 2
"""What runs on a socket was asked for in no more than that. Parsed it takes 140 times as much."""
_BAD_REQUEST: Final = 400
_TOO_MANY_REQUESTS: Final = 429
_SERVER_ERRORS: Final = 500


class GraphQLEndpoint(GraphQL[Context, None]):
    """An ASGI application that serves one schema.

    ``make_context`` gets the request, without its body, or the WebSocket; what it raises is
    described to the client like what a resolver raises. ``describe_error`` names what a client may
    know of an exception. ``on_connect`` gets a socket's context and the payload of its
    ``connection_init`` and may raise RefuseConnection. ``admit`` gets the context of whoever wants
    to be told of changes, over a socket or a stream, and holds a place for them. ``permit``
    gets the context and what is asked for before every operation begins; what it raises is
    described, too. ``pay`` is given what it costs to look at a document that is not known yet
    (``resolvers.learning``), and ``body_limit_bytes`` says how long a body may be that is
    longer than anybody's may; without it ``max_body_bytes`` is everybody's. ``observe`` is told
    of every request but those for GraphiQL's page, and of every operation on a socket; it must
    not raise. ``shared`` names the subscriptions that run once for all. ``max_cost`` is the
    most that an operation may cost (``resolvers.cost``); with it every answer to a query or
    mutation says what it cost. None runs longer than ``timeout_s``. Without ``introspection``
    clients are told nothing of the schema. ``texts`` holds what persisted queries name, for all
    processes, and ``safelist`` what alone is run. ``allowed_origins`` are those whose pages may
    ask, besides pages of this origin; ``csrf_guard`` keeps others from having browsers ask
    (``resolvers.browsers``). Raises ValueError for a schema with extensions, which would not
    run.
    """

    def __init__(
        self,
        schema: Schema,
        *,
        make_context: Callable[[HTTPConnection], Awaitable[Context]],
        describe_error: DescribeError | None = None,
        on_connect: OnConnect | None = None,
        admit: Admit | None = None,
        permit: Permit | None = None,
        pay: Pay | None = None,
        body_limit_bytes: Callable[[Context], int] | None = None,
        observe: Observe | None = None,
        shared: Shared[Context] | None = None,
        max_body_bytes: int = 4 * 1024 * 1024,
        max_frame_bytes: int = 64 * 1024,
        max_cost: int | None = None,
        timeout_s: float = 10.0,
        introspection: bool = True,
        texts: Texts | None = None,
        safelist: Safelist | None = None,
        graphiql: bool = False,
        allowed_origins: Sequence[str] = (),
        csrf_guard: bool = False,
        connection_init_timeout_s: float = 10.0,
    ) -> None:
        super().__init__(
            schema,
            subscription_protocols=(GRAPHQL_TRANSPORT_WS_PROTOCOL,),
            connection_init_wait_timeout=timedelta(seconds=connection_init_timeout_s),
            max_subscriptions_per_connection=_MAX_OPERATIONS_PER_SOCKET,
            allowed_origins=allowed_origins,
        )
        self._make_context = make_context
        self._describe_error = describe_error or _describe_nothing
        self._max_body_bytes = max_body_bytes
        self._body_limit_bytes = body_limit_bytes
        self._max_frame_bytes = max_frame_bytes
        policy = {"content-security-policy": PAGE_POLICY}
        self._page = HTMLResponse(self.graphql_ide_html, headers=policy) if graphiql else None
        self._browsers = Browsers(allowed_origins, is_guarded=csrf_guard)
        self._operations = Operations(
            schema,
            self._describe_error,
            permit,
            observe,
            max_cost=max_cost,
            timeout_s=timeout_s,
            introspection=introspection,
            texts=texts,
            pay=pay,
            safelist=safelist,
        )
        self._streams = Streams(self._operations, shared)
        self._admit = admit or _admit_for_ever
        self._prepare_sockets(on_connect or _welcome)

    def _prepare_sockets(self, on_connect: OnConnect) -> None:
        adapter: Any = partial(SocketAdapter, max_bytes=self._max_frame_bytes)
        handler: Any = partial(
            SocketHandler,
            max_held_size=_FRAMES_HELD * self._max_frame_bytes,
            streams=self._streams,
            on_connect=on_connect,
            admit=self._admit,
            describe_error=self._describe_error,
        )
        self.websocket_adapter_class = adapter
        self.graphql_transport_ws_handler_class = handler

    @property
    def documents(self) -> DocumentCache:
        """The cache of parsed and validated documents, with its counters."""
        return self._operations.documents

    async def get_context(
        self, request: Request | WebSocket, response: Response | WebSocket
    ) -> Context:
        """Return the context of a WebSocket connection."""
        del response
        return await self._make_context(request)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request or one WebSocket connection."""
        if scope["type"] == "http":
            await self._serve_http(scope, receive, send)
        else:
            await self._serve_websocket(WebSocket(scope, receive=receive, send=send))

    async def _serve_http(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers: dict[bytes, bytes] = dict(scope["headers"])
        accept = wanted(headers.get(b"accept", b""))
        more = self._browsers.headers(headers)
        if is_preflight(scope["method"], headers):
            await self._browsers.answer_preflight(headers, adding(more, send))
            return
        if self._page and accept.html and _asks_for_page(scope):
            await self._page(scope, receive, adding(more, send))
            return
        attempt = self._operations.attempt()
        try:
            answer = await self._answer(scope, headers, receive, accept, attempt)
        except RefuseRequest as refusal:
            body = {"errors": [refusal.entry]}
            answer = JsonAnswer(refusal.status, accept, body, refusal.headers, refusal.code)
        except ClientDisconnect:
            attempt.end(None)
            return
        except Exception as error:  # noqa: BLE001 - the client is told what it may know
            answer = self._answer_failure(error, accept)
        if isinstance(answer, JsonAnswer):
            attempt.end(answer.code)
            await answer.send(send, more)
        else:
            await answer(scope, receive, adding(more, send))

    async def _answer(
        self,
        scope: Scope,
        headers: dict[bytes, bytes],
        receive: Receive,
        accept: Wanted,
        attempt: Attempt,
    ) -> JsonAnswer | StreamAnswer:
        self._browsers.check(scope["method"], headers)
        who = Asker(self._make_context, scope)
        request = await read_operation(scope, headers, receive, self._body_limit(who))
        prepared = self._operations.known(request, attempt)
        if prepared is None:
            request, prepared = await self._operations.learn(request, attempt, who)
        operation = attempt.operation
        if prepared.errors:
            return answer_errors(prepared.errors, _BAD_REQUEST, accept)
        if operation is None:
            raise RefuseRequest(_BAD_REQUEST, UNKNOWN_OPERATION)
        streamed = _is_streamed(operation.kind, scope["method"], accept)
        cost = self._operations.weigh(operation, request.variables)
        context = await who()
        extensions = await self._operations.permit(operation, cost, context)
        if streamed and accept.stream:
            place = ExitStack()
            ends_at_s = place.enter_context(await self._admit(context))
            messages = self._streams.open(prepared, request, context, extensions=extensions)
            observed = self._streams.observed(messages, attempt)
            return StreamAnswer(observed, accept.stream, place, ends_at_s)
        is_query = operation.kind is OperationType.QUERY  # others are done, whoever waits
        leaving = partial(_until_gone, receive) if is_query else None
        result = await self._operations.execute(prepared, request, context, leaving)
        if isinstance(result, list):
            return answer_errors(result, _BAD_REQUEST, accept)
        return answer_result(result, accept, extensions)

    def _body_limit(self, who: Asker[Context]) -> BodyLimit:
        limit_of, most_bytes = self._body_limit_bytes, self._max_body_bytes
        if limit_of is None:
            return BodyLimit(most_bytes)

        async def raise_it() -> int:
            return min(most_bytes, limit_of(await who()))

        return BodyLimit(min(most_bytes, ANYBODYS_BODY_BYTES), raise_it, most_bytes)

    def _answer_failure(self, error: Exception, accept: Wanted) -> JsonAnswer:
        code, message, extensions = describe_outside_fields(error, self._describe_error)
        retry_after_s = extensions.get("retryAfter")
        status = status_of(code) if retry_after_s is None else _TOO_MANY_REQUESTS
        if status < _SERVER_ERRORS and not accept.exact_status:
            status = 200
        body = {"errors": [error_entry(code, message, extensions)]}
        headers = [] if retry_after_s is None else [(b"retry-after", b"%d" % retry_after_s)]
        return JsonAnswer(status, accept, body, headers, code)

    async def _serve_websocket(self, websocket: WebSocket) -> None:
        try:
            await self.run(websocket)
        except Exception as error:  # noqa: BLE001 - the client is told what it may know
            adapter = SocketAdapter(self, websocket, websocket, self._max_frame_bytes)
            await adapter.close(*describe_closing(error, self._describe_error))


async def _until_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _asks_for_page(scope: Scope) -> bool:
    return scope["method"] == "GET" and b"query=" not in scope["query_string"]


def _is_streamed(kind: OperationType, method: str, accept: Wanted) -> bool:
    """Return how the operation is answered; raise RefuseRequest when it cannot be."""
    if kind is OperationType.MUTATION and method == "GET":
        raise RefuseRequest(405, "Use POST for mutations", headers=((b"allow", b"POST"),))
    if kind is OperationType.SUBSCRIPTION and not accept.stream:
        raise RefuseRequest(_BAD_REQUEST, "Subscribe over WebSocket, or accept text/event-stream")
    return kind is OperationType.SUBSCRIPTION or isinstance(accept.stream, SSETransport)


def _describe_nothing(error: Exception) -> Description | None:
    """Describe no exception: a server that was told nothing discloses nothing."""
    del error


async def _welcome(context: object, payload: dict[str, Any]) -> None:
    """Let every client in."""
    del context, payload


async def _admit_for_ever(context: object) -> AbstractContextManager[float | None]:
    """Give a place, of which there are enough."""
    del context
    return nullcontext()
