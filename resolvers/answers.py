"""Answers over HTTP: JSON in one piece, or a stream of results."""

from collections.abc import AsyncGenerator, Iterable, Sequence
from contextlib import aclosing, suppress
from typing import Any, Final

import orjson
from graphql import ExecutionResult, GraphQLError
from starlette.requests import ClientDisconnect
from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send
from strawberry.http.streaming import HTTPStreamTransport, merge_stream_with_heartbeat
from strawberry.types import ExecutionResult as StreamedResult
from strawberry.types.execution import PreExecutionError

from resolvers.media_types import Wanted
from resolvers.operations import Results

_OK: Final = 200


class JsonAnswer:
    """An ASGI application that sends one JSON body.

    The body is encoded at once, so that what cannot be encoded fails before anything is sent.
    Starlette's Response spends more time on its headers than a small query takes to run.
    """

    __slots__ = ("_body", "_headers", "_status")

    def __init__(
        self,
        status: int,
        accept: Wanted,
        value: object,
        headers: Iterable[tuple[bytes, bytes]] = (),
    ) -> None:
        self._status = status
        self._body = orjson.dumps(value)
        self._headers = [
            (b"content-type", accept.content_type),
            (b"content-length", b"%d" % len(self._body)),
            *headers,
        ]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the head and the body."""
        del scope, receive
        head = {"type": "http.response.start", "status": self._status, "headers": self._headers}
        await send(head)
        await send({"type": "http.response.body", "body": self._body})


class StreamAnswer:
    """An ASGI application that sends results as they come, with heartbeats in between."""

    __slots__ = ("_results", "_transport")

    def __init__(self, results: Results, transport: HTTPStreamTransport) -> None:
        self._results = results
        self._transport = transport

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send until the results end or the client goes away; then end the results."""
        transport = self._transport
        merged = merge_stream_with_heartbeat(
            self._chunks,
            lambda: transport.heartbeat_message(_encode_text),
            transport.heartbeat_interval,
            send_initial_heartbeat=transport.send_initial_heartbeat,
        )
        async with aclosing(merged()) as chunks:
            # Some servers say so by an exception, others end the response themselves.
            with suppress(ClientDisconnect):
                response = StreamingResponse(chunks, headers=dict(transport.headers))
                await response(scope, receive, send)

    async def _chunks(self) -> AsyncGenerator[str, None]:
        async with aclosing(self._results) as results:
            async for result in results:
                payload: Any = _payload(result)
                yield self._transport.encode_next(payload, _encode_text)
        yield self._transport.encode_complete()


def answer_result(result: ExecutionResult, accept: Wanted) -> JsonAnswer:
    """Answer with what ran; errors of its fields do not change the status."""
    return JsonAnswer(_OK, accept, _payload(result))


def answer_errors(errors: Sequence[GraphQLError], status: int, accept: Wanted) -> JsonAnswer:
    """Answer that nothing ran: no data, and the status where the client's media type has one."""
    entries = {"errors": [error.formatted for error in errors]}
    return JsonAnswer(status if accept.exact_status else _OK, accept, entries)


def _payload(result: ExecutionResult | StreamedResult) -> dict[str, object]:
    if not result.errors:
        return {"data": result.data}
    errors = [error.formatted for error in result.errors]
    if isinstance(result, PreExecutionError):
        return {"errors": errors}
    return {"data": result.data, "errors": errors}


def _encode_text(value: object) -> str:
    return orjson.dumps(value).decode()
