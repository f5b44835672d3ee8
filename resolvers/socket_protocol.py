"""graphql-transport-ws: what is answered to what, when a connection ends and with which code.

The protocol is https://github.com/enisdenjo/graphql-ws/blob/master/PROTOCOL.md; codes and reasons
are those of its reference implementation, and a test compares them (decision 22).
"""

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine
from contextlib import AbstractContextManager, ExitStack, aclosing
from copy import copy
from datetime import timedelta
from typing import Any, Final, Generic, TypeAlias, TypeVar

import orjson
import structlog

from resolvers.following import Following
from resolvers.operation_requests import OperationRequest
from resolvers.socket_messages import ClientMessage, InvalidMessage, read_message
from resolvers.stream_messages import Message
from resolvers.streams import Streams
from resolvers.transport_errors import COST_LIMITED, DescribeError, describe_closing, error_entry
from resolvers.websocket import SocketAdapter

Context = TypeVar("Context")

OnConnect: TypeAlias = Callable[[Any, dict[str, Any]], Awaitable[None]]
"""Given the context and the payload of connection_init; may refuse by raising."""

Admit: TypeAlias = Callable[[Any], Awaitable[AbstractContextManager[float | None]]]
"""Given the context of who wants to be told of changes; may refuse by raising.

What it returns holds their place, and begins with when they have to ask again (epoch seconds), None
for never.
"""

_BAD_REQUEST, _UNAUTHORIZED, _INIT_TIMEOUT = 4400, 4401, 4408
_ALREADY_SUBSCRIBED, _INIT_TWICE, _UNEXPECTED = 4409, 4429, 4500

_MOST_LAST_WORDS: Final = 20
"""How many operations that are over may wait to say so, before no more is read."""
_LONGEST_TURN_S: Final = 0.005
"""After it others have theirs: frames that were sent at once are there at once."""

_log: structlog.stdlib.BoundLogger = structlog.get_logger()


class SocketHandler(Generic[Context]):
    """One connection, from the handshake to its end, which leaves nothing behind."""

    def __init__(
        self,
        *,
        websocket: SocketAdapter,
        context: Context,
        connection_init_wait_timeout: timedelta,
        max_subscriptions_per_connection: int,
        max_held_size: int,
        streams: Streams[Context],
        on_connect: OnConnect,
        admit: Admit,
        describe_error: DescribeError,
        **_of_strawberry: object,
    ) -> None:
        """Nothing was said yet. The names of the first four are those that Strawberry calls."""
        self._socket = websocket
        self._context = context
        self._init_timeout_s = connection_init_wait_timeout.total_seconds()
        self._most_operations = max_subscriptions_per_connection
        self._max_held_size = max_held_size
        self._streams = streams
        self._on_connect = on_connect
        self._admit = admit
        self._describe_error = describe_error
        self._is_init_received = False
        self._is_acknowledged = False
        self._operations: dict[str, asyncio.Task[None]] = {}
        self._following = Following()
        self._tasks: dict[asyncio.Task[None], int] = {}
        """With the size of the frame that each may keep something of."""
        self._timer: asyncio.TimerHandle | None = None
        self._place = ExitStack()

    async def handle(self) -> None:
        """Serve the connection until it ends."""
        self._close_in(self._init_timeout_s, _INIT_TIMEOUT, "Connection initialisation timeout")
        try:
            async with aclosing(self._socket.frames()) as frames:
                await self._hear_all(frames)
        finally:
            self._place.close()
            self._stop_timer()
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _hear_all(self, frames: AsyncGenerator[str | bytes]) -> None:
        began_at_s = time.perf_counter()
        async for frame in frames:
            await self._hear(frame)
            await self._wait_for_room()
            if time.perf_counter() - began_at_s > _LONGEST_TURN_S:
                await asyncio.sleep(0)
                began_at_s = time.perf_counter()

    async def _wait_for_room(self) -> None:
        """Read no more from who lets too many last words wait.

        Ids are free again before, so only this bounds what a client costs that never reads.
        """
        while len(self._tasks) >= self._most_operations + _MOST_LAST_WORDS:
            await asyncio.wait(self._tasks, return_when=asyncio.FIRST_COMPLETED)

    async def _hear(self, frame: str | bytes) -> None:
        try:
            message = read_message(frame)
        except InvalidMessage as invalid:
            await self._socket.close(_BAD_REQUEST, str(invalid))
            return
        match message.kind:
            case "connection_init":
                await self._greet(message)
            case "subscribe":
                await self._subscribe(message)
            case "complete":
                self._cancel(message.id)
            case "ping":
                await self._say({"type": "pong", **_echo(message)})
            case "pong":
                pass
            case kind:  # only servers say that
                reason = f"Unexpected message of type {kind} received"
                await self._socket.close(_UNEXPECTED, reason)

    async def _greet(self, message: ClientMessage) -> None:
        if self._is_init_received:
            await self._socket.close(_INIT_TWICE, "Too many initialisation requests")
            return
        self._is_init_received = True
        self._stop_timer()
        try:
            await self._on_connect(self._context, message.payload)
            ends_at_s = self._place.enter_context(await self._admit(self._context))
        except Exception as error:  # noqa: BLE001 - the client is told what it may know
            await self._socket.close(*describe_closing(error, self._describe_error))
            return
        if ends_at_s is not None:
            self._close_in(ends_at_s - time.time(), _UNAUTHORIZED, "The token has expired")
        self._is_acknowledged = True
        await self._say({"type": "connection_ack"})

    async def _subscribe(self, message: ClientMessage) -> None:
        if not self._is_acknowledged:
            await self._socket.close(_UNAUTHORIZED, "Unauthorized")
        elif message.id in self._operations:
            reason = f"Subscriber for {message.id} already exists"
            await self._socket.close(_ALREADY_SUBSCRIBED, reason)
        elif len(self._operations) >= self._most_operations:
            limit = f"At most {self._most_operations} operations on one connection"
            await self._refuse(message.id, limit)
        elif self._tasks and sum(self._tasks.values()) + message.size > self._max_held_size:
            limit = f"At most {self._max_held_size:,} bytes of requests at once on one connection"
            await self._refuse(message.id, limit)
        else:
            running = self._run(message.id, self._open(message.payload))
            self._operations[message.id] = self._begin(running, message.size)

    async def _refuse(self, identifier: str, limit: str) -> None:
        entries = [error_entry(COST_LIMITED, limit)]
        await self._say({"id": identifier, "type": "error", "payload": entries})

    def _open(self, payload: dict[str, Any]) -> AsyncGenerator[Message]:
        """The messages of an operation, which keep of the payload only what they need."""
        # A copy for each: what one operation loaded must not be another's truth, later.
        return self._streams.ask(_request(payload), copy(self._context), self._following)

    async def _run(self, identifier: str, messages: AsyncGenerator[Message]) -> None:
        """Run an operation to its end. Its id is free again before its last word is sent."""
        head = '{"id":' + orjson.dumps(identifier).decode() + ',"type":'
        try:
            async with aclosing(messages):
                async for result in messages:
                    if result.is_failure:
                        self._forget(identifier)
                        await self._socket.send_text(f'{head}"error","payload":{result.text}}}')
                        return
                    await self._socket.send_text(f'{head}"next","payload":{result.text}}}')
            self._forget(identifier)
            await self._socket.send_text(head + '"complete"}')
        finally:
            self._forget(identifier)

    def _forget(self, identifier: str) -> None:
        """Free the id, unless a later operation has it by now."""
        if self._operations.get(identifier) is asyncio.current_task():
            del self._operations[identifier]

    def _cancel(self, identifier: str) -> None:
        task = self._operations.pop(identifier, None)
        if task is not None:
            task.cancel()
            self._tasks[task] = 0  # it is about to let go of what it kept

    async def _say(self, message: dict[str, Any]) -> None:
        await self._socket.send_text(orjson.dumps(message).decode())

    def _begin(self, work: Coroutine[Any, Any, None], size: int = 0) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._tasks[task] = size
        task.add_done_callback(self._end)
        return task

    def _end(self, task: asyncio.Task[None]) -> None:
        self._tasks.pop(task, None)
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("websocket_task_failed", exc_info=error)

    def _close_in(self, delay_s: float, code: int, reason: str) -> None:
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(
            delay_s, lambda: self._begin(self._socket.close(code, reason))
        )

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()


def _echo(message: ClientMessage) -> dict[str, Any]:
    return {"payload": message.payload} if message.has_payload else {}


def _request(payload: dict[str, Any]) -> OperationRequest:
    name: str | None = payload.get("operationName") or None  # some clients send ""
    return OperationRequest(
        payload.get("query") or "", payload.get("variables"), name, payload.get("extensions")
    )
