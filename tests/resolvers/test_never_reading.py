"""Clients that never read, over real TCP: they cost a buffer, for a while, and harm nobody."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, suppress
from typing import Any, Self

import pytest
import uvicorn
from websockets.asyncio.client import ClientConnection
from websockets.client import ClientProtocol
from websockets.typing import Subprotocol
from websockets.uri import parse_uri

from settings import ServerSettings
from tests.resolvers.serving import ENDLESS, make_endpoint, serve_visibly, wait_until_endless_ends
from tests.resolvers.test_websocket import greeted, read, subscribe

FRAME_BYTES = 50_000
HIGH_WATER_BYTES = 64 * 1024  # asyncio's default
PATIENCE_S = 0.7


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@asynccontextmanager
async def serving(**settings: Any) -> AsyncIterator[tuple[str, uvicorn.Server]]:
    options = ServerSettings(send_timeout_s=PATIENCE_S, **settings)
    async with serve_visibly(make_endpoint(), options) as served:
        yield served


class Deaf:
    """A client of graphql-transport-ws that says what it likes and never reads."""

    def __init__(self, address: str) -> None:
        self._uri = parse_uri(f"ws://{address}")
        self._socket = socket.socket()
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        self._socket.setblocking(False)
        await loop.sock_connect(self._socket, (self._uri.host, self._uri.port))
        self._protocol = ClientProtocol(
            self._uri, subprotocols=[Subprotocol("graphql-transport-ws")]
        )
        self._protocol.send_request(self._protocol.connect())
        await self._flush()
        answer = b""
        while b"\r\n\r\n" not in answer:
            answer += await loop.sock_recv(self._socket, 1024)
        self._protocol.receive_data(answer)
        await self.say({"type": "connection_init"})
        return self

    async def __aexit__(self, *_: object) -> None:
        self._socket.close()

    async def say(self, message: object) -> None:
        self._protocol.send_text(json.dumps(message).encode())
        await self._flush()

    async def ping(self) -> None:
        self._protocol.send_ping(b"x" * 125)
        await self._flush()

    async def sip(self, size: int) -> None:
        """Read so many bytes after all."""
        loop = asyncio.get_running_loop()
        while size > 0:
            size -= len(await loop.sock_recv(self._socket, size))

    async def _flush(self) -> None:
        data = b"".join(self._protocol.data_to_send())
        await asyncio.get_running_loop().sock_sendall(self._socket, data)


def buffered_bytes(server: uvicorn.Server) -> int:
    """What all connections have yet to send."""
    connections: Any = server.server_state.connections
    return sum(each.transport.get_write_buffer_size() for each in connections)


async def until_gone(server: uvicorn.Server, most_bytes: int, left: int = 0) -> None:
    """Wait until so many connections are left, watching what is buffered all the while."""
    async with asyncio.timeout(20):
        while len(server.server_state.connections) > left:
            assert buffered_bytes(server) <= most_bytes
            await asyncio.sleep(0.005)


async def test_a_subscriber_who_never_reads_costs_one_buffer_and_is_cut_off() -> None:
    """However many operations it has begun, and while others are served."""
    async with serving() as (address, server), greeted(address) as other, Deaf(address) as deaf:
        for number in range(100):
            query = f"subscription {{ flood(size: {FRAME_BYTES}) }}"
            await deaf.say({"id": str(number), "type": "subscribe", "payload": {"query": query}})
        await until_gone(server, HIGH_WATER_BYTES + 2 * FRAME_BYTES, left=1)
        await wait_until_endless_ends()
        await answers(other)


async def test_who_reads_now_and_then_costs_no_more() -> None:
    """What waits for room writes in turn: a hundred operations do not fill it all at once."""
    async with serving() as (address, server), Deaf(address) as deaf:
        for number in range(100):
            query = f"subscription {{ flood(size: {FRAME_BYTES}) }}"
            await deaf.say({"id": str(number), "type": "subscribe", "payload": {"query": query}})
        for _ in range(20):
            await deaf.sip(10 * FRAME_BYTES)
            assert len(server.server_state.connections) == 1
            assert buffered_bytes(server) <= HIGH_WATER_BYTES + 2 * FRAME_BYTES


async def test_operations_that_are_over_do_not_pile_up() -> None:
    """Their ids are free, but what they have to say waits: then no more is read."""
    async with serving() as (address, server), Deaf(address) as deaf:
        before = len(asyncio.all_tasks())
        async with asyncio.timeout(20):
            with suppress(ConnectionError):
                for batch in range(300):
                    await ask_for_nothing(deaf, range(100 * batch, 100 * batch + 100))
                    await asyncio.sleep(0.005)  # what was asked runs, and forgets its id
                    assert len(asyncio.all_tasks()) - before <= 130
        await until_gone(server, HIGH_WATER_BYTES + 2 * FRAME_BYTES)


async def ask_for_nothing(deaf: Deaf, identifiers: Iterable[int]) -> None:
    payload = {"query": "{ " + "x" * 1000 + " }"}
    for number in identifiers:
        await deaf.say({"id": str(number), "type": "subscribe", "payload": payload})


async def answers(socket: ClientConnection) -> None:
    """The connection is as good as ever."""
    await subscribe(socket, "{ hello }")
    assert (await read(socket))["payload"] == {"data": {"hello": "world"}}


@pytest.mark.parametrize("kind", ["of WebSocket", "of the protocol"])
async def test_pings_are_not_answered_without_end(kind: str) -> None:
    """To whom asks and asks and does not read the answers."""
    async with serving() as (address, server), Deaf(address) as deaf:
        async with asyncio.timeout(15):
            await ping_until_cut_off(deaf, server, by_frame=kind == "of WebSocket")
        await until_gone(server, 2 * HIGH_WATER_BYTES)


async def ping_until_cut_off(deaf: Deaf, server: uvicorn.Server, *, by_frame: bool) -> None:
    with suppress(OSError):
        while True:
            if by_frame:
                await deaf.ping()
            else:
                await deaf.say({"type": "ping", "payload": {"x": "x" * 1000}})
            # What was read in one go, 256 KiB at most, may be answered before there is a pause.
            assert buffered_bytes(server) <= 5 * HIGH_WATER_BYTES


async def test_a_dead_peer_is_noticed() -> None:
    """It answers no pings: closed, and gone although the closing is never read."""
    settings = {"ping_interval_s": 0.1, "ping_timeout_s": 0.1}
    async with serving(**settings) as (address, server), Deaf(address) as deaf:
        query = "subscription { endless }"
        await deaf.say({"id": "1", "type": "subscribe", "payload": {"query": query}})
        async with asyncio.timeout(10):
            while not ENDLESS:  # noqa: ASYNC110 - the server begins it
                await asyncio.sleep(0.01)
        await until_gone(server, HIGH_WATER_BYTES)
        await wait_until_endless_ends()


async def test_an_event_stream_nobody_reads_is_cut_off() -> None:
    async with serving() as (address, server):
        host, _, port = address.partition("/")[0].partition(":")
        reader, writer = await asyncio.open_connection(host, int(port), limit=1024)
        query = f"subscription {{ flood(size: {FRAME_BYTES}) }}"
        body = json.dumps({"query": query}).encode()
        head = f"POST /graphql HTTP/1.1\r\nhost: {host}\r\naccept: text/event-stream\r\n"
        head += f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
        writer.write(head.encode() + body)
        await reader.readline()  # it has begun; no more is read
        assert ENDLESS
        await until_gone(server, HIGH_WATER_BYTES + 2 * FRAME_BYTES)
        await wait_until_endless_ends()
        writer.close()
