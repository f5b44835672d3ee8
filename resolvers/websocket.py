"""GraphQL over WebSocket: Strawberry's handler of graphql-transport-ws, hardened.

The protocol is https://github.com/enisdenjo/graphql-ws/blob/master/PROTOCOL.md.
"""

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from copy import copy
from typing import Any, Final, TypeAlias, cast

import orjson
import structlog
from starlette.websockets import WebSocket, WebSocketState
from strawberry.asgi import ASGIWebSocketAdapter, GraphQL
from strawberry.http.exceptions import (
    NonJsonMessageReceived,
    NonTextMessageReceived,
    WebSocketDisconnected,
)
from strawberry.schema.base import BaseSchema
from strawberry.subscriptions.protocols.graphql_transport_ws.handlers import (
    BaseGraphQLTransportWSHandler,
)
from strawberry.subscriptions.protocols.graphql_transport_ws.types import (
    ConnectionInitMessage,
    Message,
    SubscribeMessage,
)

from resolvers.operation_requests import OperationRequest, check_parameters
from resolvers.operations import Operations, Results
from resolvers.transport_errors import (
    COST_LIMITED,
    DescribeError,
    RefuseRequest,
    describe_closing,
    error_entry,
)

_log: structlog.stdlib.BoundLogger = structlog.get_logger()

OnConnect: TypeAlias = Callable[[Any, dict[str, Any]], Awaitable[float | None]]
"""Given the context and the payload of connection_init; may refuse by raising.

Returns when the connection has to end (epoch seconds), None for never.
"""

_UNAUTHENTICATED: Final = 4401
_MESSAGE_TOO_BIG: Final = 1009  # RFC 6455, 7.4.1
_MAX_REASON_BYTES: Final = 123  # RFC 6455, 5.5: a longer reason breaks the connection


class SocketAdapter(ASGIWebSocketAdapter):
    """Reads and writes JSON text frames; after the socket is closed it writes nothing."""

    def __init__(
        self, view: GraphQL[Any, None], request: WebSocket, response: WebSocket, max_bytes: int
    ) -> None:
        super().__init__(view, request, response)
        self._max_bytes = max_bytes

    async def iter_json(
        self, *, ignore_parsing_errors: bool = False
    ) -> AsyncGenerator[object, None]:
        """Yield each frame's value; raise for frames that hold no JSON text."""
        while self._is_open():
            frame = await self.ws.receive()
            if frame["type"] == "websocket.disconnect":
                return
            text: str | None = frame.get("text")
            if text is None:
                raise NonTextMessageReceived
            if self._is_too_big(text):
                await self.close(_MESSAGE_TOO_BIG, "Message too big")
                return
            try:
                value: object = orjson.loads(text)
            except orjson.JSONDecodeError as error:
                if not ignore_parsing_errors:
                    raise NonJsonMessageReceived from error
            else:
                yield value

    def _is_open(self) -> bool:
        states = (self.ws.application_state, self.ws.client_state)
        return WebSocketState.DISCONNECTED not in states

    def _is_too_big(self, text: str) -> bool:
        # No character takes more than four bytes, so most frames need not be encoded to be sure.
        return len(text) * 4 > self._max_bytes and len(text.encode()) > self._max_bytes

    async def send_json(self, message: Mapping[str, object]) -> None:
        """Send one frame, as text: clients take a binary frame for a broken one."""
        if self._is_open():
            await super().send_json(message)

    async def close(self, code: int, reason: str) -> None:
        """Close the socket unless it is closed; an overlong reason is cut."""
        if self._is_open():
            cut = reason.encode()[:_MAX_REASON_BYTES].decode(errors="ignore")
            await super().close(code, cut)


class _Streams:
    """The one thing the handler wants of a schema."""

    def __init__(self, operations: Operations) -> None:
        self._operations = operations

    async def stream(
        self,
        query: str,
        *,
        variable_values: dict[str, Any] | None,
        context_value: object,
        root_value: object,
        operation_name: str | None,
    ) -> Results:
        """Return the results of an operation, parsed and validated through the cache."""
        del root_value  # no endpoint has one
        request = OperationRequest(query, variable_values, operation_name or None, None)
        prepared = self._operations.documents.prepare(query)
        # A copy for each: what one operation loaded must not be another's truth, minutes later.
        return self._operations.stream(prepared, request, copy(context_value))


class SocketHandler(BaseGraphQLTransportWSHandler[Any, None]):
    """One connection. Malformed messages close it with 4400; nothing internal is ever sent."""

    def __init__(
        self,
        *,
        operations: Operations,
        on_connect: OnConnect,
        describe_error: DescribeError,
        **arguments: Any,
    ) -> None:
        super().__init__(**arguments)
        self.schema = cast("BaseSchema", cast("object", _Streams(operations)))
        self._on_connect = on_connect
        self._end: asyncio.Task[None] | None = None
        self._describe_error = describe_error

    async def handle_message(self, message: Message) -> None:
        """Check the shape that the protocol prescribes, then act."""
        problem = _problem_of(message)
        if problem:
            await self.handle_invalid_message(problem)
        else:
            await super().handle_message(message)

    async def handle_connection_init(self, message: ConnectionInitMessage) -> None:
        """Greet the client once, as ``on_connect`` decides."""
        if self.connection_timed_out:
            return
        if self.connection_init_timeout_task:
            self.connection_init_timeout_task.cancel()
        if self.connection_init_received:
            await self.websocket.close(4429, "Too many initialisation requests")
            return
        self.connection_init_received = True
        if await self._is_welcome(message.get("payload") or {}):
            await self.send_message({"type": "connection_ack"})
            self.connection_acknowledged = True

    async def _is_welcome(self, payload: dict[str, Any]) -> bool:
        try:
            ends_at_s = await self._on_connect(self.context, payload)
        except Exception as error:  # noqa: BLE001 - the client is told what it may know
            await self.websocket.close(*describe_closing(error, self._describe_error))
            return False
        if ends_at_s is not None:
            self._end = asyncio.create_task(self._close_at(ends_at_s))
        return True

    async def _close_at(self, ends_at_s: float) -> None:
        await asyncio.sleep(ends_at_s - time.time())
        await self.websocket.close(_UNAUTHENTICATED, "The token has expired")

    async def shutdown(self) -> None:
        """Leave nothing behind."""
        if self._end is not None:
            self._end.cancel()
        await super().shutdown()

    async def handle_subscribe(self, message: SubscribeMessage) -> None:
        """Start an operation; one too many on this connection is an error of its own."""
        limit = self.max_subscriptions_per_connection
        is_new = message["id"] not in self.operations
        if self.connection_acknowledged and is_new and limit and len(self.operations) >= limit:
            entry = error_entry(COST_LIMITED, f"At most {limit} operations on one connection")
            error: Any = {"id": message["id"], "type": "error", "payload": [entry]}
            await self.send_message(error)
            return
        await super().handle_subscribe(message)

    async def handle_task_exception(self, error: Exception) -> None:
        """Log what ended a task; that the client went away is no news."""
        if not isinstance(error, WebSocketDisconnected):
            _log.error("websocket_task_failed", exc_info=error)


def _problem_of(message: object) -> str | None:
    """Say what is wrong with the shape of a message, in words for the client."""
    if not isinstance(message, dict):
        return "The message must be a JSON object"
    kind: object = message.get("type")
    if not isinstance(kind, str):
        return "The type must be a string"
    if kind in {"subscribe", "complete"} and not isinstance(message.get("id"), str):
        return "The id must be a string"
    payload: object = message.get("payload")
    if kind == "subscribe":
        return _problem_of_parameters(payload)
    if payload is not None and not isinstance(payload, dict):
        return "The payload must be an object or null"
    return None


def _problem_of_parameters(payload: object) -> str | None:
    try:
        check_parameters(payload)
    except RefuseRequest as refusal:
        return str(refusal)
    return None
