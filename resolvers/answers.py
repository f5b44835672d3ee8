"""Answers over HTTP: JSON in one piece, or a stream of results."""

import asyncio
import math
import time
from collections.abc import AsyncGenerator, Iterable, Sequence
from contextlib import ExitStack, aclosing, suppress
from typing import Any, Final

import orjson
from graphql import ExecutionResult, GraphQLError
from starlette.requests import ClientDisconnect
from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send
from strawberry.http.streaming import HTTPStreamTransport

from resolvers.media_types import Wanted
from resolvers.stream_messages import Message, payload_of
from resolvers.transport_errors import error_entry

_OK: Final = 200
_LAST_WORDS_S: Final = 5.0
"""For saying that the time is over; then the answer ends, whether or not anybody reads it."""
_HELD_BACK_BY_NOBODY: Final = {"X-Accel-Buffering": "no"}
"""What nginx heeds, so that a stream is sent as it comes. Strawberry says it of events only."""
_EXPIRED: Final = Message(
    orjson.dumps([error_entry("UNAUTHENTICATED", "The token has expired")]).decode(), True
)


class JsonAnswer:
    """One JSON body.

    The body is encoded at once, so that what cannot be encoded fails before anything is sent.
    Starlette's Response spends more time on its headers than a small query takes to run.
    """

    __slots__ = ("_body", "_headers", "_status", "code")

    def __init__(
        self,
        status: int,
        accept: Wanted,
        value: object,
        headers: Iterable[tuple[bytes, bytes]] = (),
        code: str | None = None,
    ) -> None:
        """`code` is that of the first error in it, if there is one."""
        self.code = code
        self._status = status
        self._body = orjson.dumps(value)
        self._headers = [
            (b"content-type", accept.content_type),
            (b"content-length", b"%d" % len(self._body)),
            *headers,
        ]

    async def send(self, send: Send, headers: Iterable[tuple[bytes, bytes]]) -> None:
        """Send the head, with these headers as well, and the body."""
        headers = [*self._headers, *headers]
        await send({"type": "http.response.start", "status": self._status, "headers": headers})
        await send({"type": "http.response.body", "body": self._body})


class StreamAnswer:
    """An ASGI application that sends results as they come, with heartbeats in between."""

    __slots__ = ("_ends_at_s", "_messages", "_place", "_transport")

    def __init__(
        self,
        messages: AsyncGenerator[Message],
        transport: HTTPStreamTransport,
        place: ExitStack,
        ends_at_s: float | None,
    ) -> None:
        """`place` is given back at the end, which comes at `ends_at_s` (epoch seconds) at last."""
        self._messages = messages
        self._transport = transport
        self._place = place
        self._ends_at_s = math.inf if ends_at_s is None else ends_at_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send until the results end or the client goes away; then end the results."""
        ends_in_s = self._ends_at_s - time.time() + _LAST_WORDS_S
        with self._place, suppress(TimeoutError):
            # Some servers say by an exception that the client is gone, others end it themselves.
            async with (
                asyncio.timeout(None if math.isinf(ends_in_s) else ends_in_s),
                aclosing(self._chunks()) as chunks,
            ):
                with suppress(ClientDisconnect):
                    headers = {**self._transport.headers, **_HELD_BACK_BY_NOBODY}
                    response = StreamingResponse(chunks, headers=headers)
                    await response(scope, receive, send)

    async def _chunks(self) -> AsyncGenerator[str]:
        """What is sent; nothing is fetched ahead, so that a slow client gets the newest."""
        heartbeat = self._transport.heartbeat_message(_encode_text)
        if self._transport.send_initial_heartbeat:
            yield heartbeat
        following: asyncio.Future[Message | None] | None = None
        try:
            while True:
                following = following or asyncio.ensure_future(anext(self._messages, None))
                await asyncio.wait([following], timeout=self._patience_s())
                if time.time() >= self._ends_at_s:  # first: there may always be a message
                    yield self._encode(_EXPIRED)
                    break
                if following.done():
                    message, following = following.result(), None
                    if message is None:
                        break
                    yield self._encode(message)
                else:
                    yield heartbeat
        finally:
            _close_aside(self._messages, following)
        yield self._transport.encode_complete()

    def _patience_s(self) -> float:
        remaining_s = max(0.0, self._ends_at_s - time.time())
        return min(self._transport.heartbeat_interval, remaining_s)

    def _encode(self, message: Message) -> str:
        text = f'{{"errors":{message.text}}}' if message.is_failure else message.text
        payload: Any = orjson.Fragment(text)
        return self._transport.encode_next(payload, _encode_text)


_closing: Final[set[asyncio.Task[None]]] = set()  # asyncio itself holds tasks weakly


def _close_aside(
    messages: AsyncGenerator[Message], following: asyncio.Future[Message | None] | None
) -> None:
    """End the messages in a task of its own: one that is cancelled again and again cannot wait."""

    async def close() -> None:
        if following is not None:
            following.cancel()
            await asyncio.gather(following, return_exceptions=True)
        await messages.aclose()

    task = asyncio.create_task(close())
    _closing.add(task)
    task.add_done_callback(_closing.discard)


def answer_result(
    result: ExecutionResult, accept: Wanted, extensions: dict[str, Any] | None
) -> JsonAnswer:
    """Answer with what ran; errors of its fields do not change the status."""
    payload = payload_of(result, extensions)
    return JsonAnswer(_OK, accept, payload, code=_first_code(result.errors))


def answer_errors(errors: Sequence[GraphQLError], status: int, accept: Wanted) -> JsonAnswer:
    """Answer that nothing ran: no data, and the status where the client's media type has one."""
    entries = {"errors": [error.formatted for error in errors]}
    status = status if accept.exact_status else _OK
    return JsonAnswer(status, accept, entries, code=_first_code(errors))


def _first_code(errors: Sequence[GraphQLError] | None) -> str | None:
    return (errors[0].extensions or {}).get("code") if errors else None


def _encode_text(value: object) -> str:
    return orjson.dumps(value).decode()
