"""The endpoint over real WebSockets: graphql-transport-ws and nothing else."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from structlog.testing import capture_logs
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidStatus
from websockets.typing import Origin, Subprotocol

from tests.resolvers.serving import (
    ENDLESS,
    MAX_FRAME_BYTES,
    SECRET,
    make_endpoint,
    serve,
    wait_until_endless_ends,
)

PROTOCOL = "graphql-transport-ws"


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
async def address() -> AsyncIterator[str]:
    async with serve(make_endpoint(connection_init_timeout_s=0.2)) as address:
        yield address


@asynccontextmanager
async def dial(
    address: str, protocol: str = PROTOCOL, **options: Any
) -> AsyncIterator[ClientConnection]:
    protocols = [Subprotocol(protocol)]
    async with (
        asyncio.timeout(10),
        connect(f"ws://{address}", subprotocols=protocols, proxy=None, **options) as socket,
    ):
        yield socket


@asynccontextmanager
async def greeted(address: str, **init: Any) -> AsyncIterator[ClientConnection]:
    async with dial(address) as socket:
        await socket.send(json.dumps({"type": "connection_init", **init}))
        assert await read(socket) == {"type": "connection_ack"}
        yield socket


async def read(socket: ClientConnection) -> Any:
    frame = await socket.recv()
    assert isinstance(frame, str)
    return json.loads(frame)


async def subscribe(socket: ClientConnection, query: object, **payload: Any) -> None:
    message = {"id": "1", "type": "subscribe", "payload": {"query": query, **payload}}
    await socket.send(json.dumps(message))


async def closing(socket: ClientConnection) -> tuple[int, str]:
    """Wait for the close frame; return its code and reason."""
    await socket.wait_closed()
    assert socket.close_code is not None
    return socket.close_code, socket.close_reason or ""


async def test_a_subscription_runs_to_its_end(address: str) -> None:
    async with greeted(address) as socket:
        await subscribe(
            socket, "subscription Count($to: Int!) { count(to: $to) }", variables={"to": 2}
        )
        payloads = [await read(socket) for _ in range(3)]
    assert payloads == [
        {"id": "1", "type": "next", "payload": {"data": {"count": 1}}},
        {"id": "1", "type": "next", "payload": {"data": {"count": 2}}},
        {"id": "1", "type": "complete"},
    ]


async def test_queries_and_mutations_run_too(address: str) -> None:
    async with greeted(address) as socket:
        for query in ("{ hello }", 'mutation { setName(name: "x") }'):
            await subscribe(socket, query, operationName=None, variables=None, extensions=None)
            assert (await read(socket))["type"] == "next"
            assert (await read(socket))["type"] == "complete"


@pytest.mark.parametrize(
    ("init", "received"),
    [({}, {}), ({"payload": None}, {}), ({"payload": {"Authorization": "Bearer x"}}, None)],
)
async def test_the_payload_reaches_the_context(
    address: str, init: dict[str, Any], received: dict[str, Any] | None
) -> None:
    async with greeted(address, **init) as socket:
        await subscribe(socket, "subscription { payload }")
        message = await read(socket)
    expected = init["payload"] if received is None else received
    assert message["payload"] == {"data": {"payload": [expected]}}


@pytest.mark.parametrize(
    ("token", "code", "reason"),
    [
        ("expired", 4401, "Token expired"),
        ("member", 4403, "Not for you"),
        ("broken", 4500, "Internal error"),
    ],
)
async def test_a_client_may_be_refused(address: str, token: str, code: int, reason: str) -> None:
    with capture_logs() as logs:
        async with dial(address) as socket:
            payload = {"Authorization": f"Bearer {token}"}
            await socket.send(json.dumps({"type": "connection_init", "payload": payload}))
            assert await closing(socket) == (code, reason)
    assert len(logs) == (token == "broken")


@pytest.mark.parametrize(("context", "code"), [("away", 4503), ("broken", 4500)])
async def test_a_refused_context_closes(address: str, context: str, code: int) -> None:
    with capture_logs():
        async with dial(address, additional_headers={"x-context": context}) as socket:
            assert (await closing(socket))[0] == code


@pytest.mark.parametrize(
    "frame",
    [
        "{",
        "[]",
        '"connection_init"',
        "null",
        "{}",
        '{"type": 1}',
        '{"type": "unknown"}',
        '{"type": "connection_init", "payload": []}',
        '{"type": "complete", "id": []}',
        '{"type": "subscribe", "payload": {"query": "{ hello }"}}',
        '{"type": "subscribe", "id": "1"}',
        '{"type": "subscribe", "id": "1", "payload": null}',
        '{"type": "subscribe", "id": "1", "payload": {"query": 7}}',
        '{"type": "subscribe", "id": "1", "payload": {"query": "{ hello }", "variables": []}}',
        '{"type": "subscribe", "id": "1", "payload": {"query": "{ hello }", "operationName": 7}}',
        b"{}",
    ],
)
async def test_malformed_messages_close_with_4400(address: str, frame: str | bytes) -> None:
    with capture_logs() as logs:
        async with greeted(address) as socket:
            await socket.send(frame)
            code, reason = await closing(socket)
    assert (code, reason) == (4400, "Invalid message received")
    assert logs == []


async def test_an_id_has_a_limit(address: str) -> None:
    """It is kept, and sent with every result."""
    async with greeted(address) as socket:
        message = {"id": "x" * 256, "type": "subscribe", "payload": {"query": "{ hello }"}}
        await socket.send(json.dumps(message))
        assert [(await read(socket))["id"] for _ in range(2)] == ["x" * 256] * 2
        await socket.send(json.dumps({**message, "id": "x" * 257}))
        assert await closing(socket) == (4400, "An id has at most 256 characters")


async def test_what_nobody_declared_is_not_kept(address: str) -> None:
    """However it is nested, and for however long the operation runs."""
    nested: list[Any] = []
    for _ in range(300):
        nested = [nested]
    async with greeted(address) as socket:
        query = "query ($text: String) { parameters echo(text: $text) }"
        await subscribe(socket, query, variables={"text": "a", "nested": nested})
        data = (await read(socket))["payload"]["data"]
    assert data == {"parameters": {"text": "a"}, "echo": "ared"}


async def test_a_message_that_is_too_big_closes(address: str) -> None:
    async with greeted(address) as socket:
        await socket.send(json.dumps({"type": "ping", "payload": {"x": "x" * MAX_FRAME_BYTES}}))
        assert await closing(socket) == (1009, "Message too big")


async def test_the_protocol_comes_first(address: str) -> None:
    async with dial(address, "graphql-ws") as socket:
        assert (await closing(socket))[0] == 4406
    async with dial(address) as socket:
        await subscribe(socket, "{ hello }")
        assert (await closing(socket))[0] == 4401
    async with dial(address) as socket:
        assert (await closing(socket))[0] == 4408
    async with greeted(address) as socket:
        await socket.send('{"type": "connection_init"}')
        assert (await closing(socket))[0] == 4429


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("", "GRAPHQL_PARSE_FAILED"),
        ("{ hello !", "GRAPHQL_PARSE_FAILED"),
        ("subscription { nothing }", "GRAPHQL_VALIDATION_FAILED"),
        ("subscription A { count(to: 1) } query B { hello }", "BAD_USER_INPUT"),
        ("subscription ($to: Int!) { count(to: $to) }", "BAD_USER_INPUT"),
        ("query ($text: String!) { echo(text: $text) }", "BAD_USER_INPUT"),
    ],
)
async def test_what_cannot_start_is_an_error(address: str, query: str, code: str) -> None:
    with capture_logs() as logs:
        async with greeted(address) as socket:
            await subscribe(socket, query)
            message = await read(socket)
    assert message["type"] == "error"
    assert [error["extensions"]["code"] for error in message["payload"]] == [code]
    assert logs == []


@pytest.mark.parametrize(
    ("query", "kinds"),
    [("subscription { fails }", ["next", "error"]), ("{ broken }", ["next", "complete"])],
)
async def test_unexpected_errors_are_masked(address: str, query: str, kinds: list[str]) -> None:
    with capture_logs() as logs:
        async with greeted(address) as socket:
            await subscribe(socket, query)
            messages = [await read(socket) for _ in kinds]
    assert [message["type"] for message in messages] == kinds
    payloads = [message.get("payload") for message in messages]
    (error,) = payloads[0]["errors"] if "errors" in payloads[0] else payloads[1]
    assert (error["message"], error["extensions"]) == ("Internal error", {"code": "INTERNAL"})
    assert SECRET not in json.dumps(messages)
    assert str(logs[0]["exc_info"]) == SECRET


async def test_operations_end_with_the_connection(address: str) -> None:
    with capture_logs() as logs:
        async with greeted(address) as socket:
            await subscribe(socket, "subscription { endless }")
            await read(socket)
            assert len(ENDLESS) == 1
            socket.transport.abort()
        await wait_until_endless_ends()
    assert logs == []


async def test_operations_at_once_are_limited(address: str) -> None:
    async with greeted(address) as socket:
        for number in range(101):
            payload = {"query": "subscription { silent }"}
            message = {"id": str(number), "type": "subscribe", "payload": payload}
            await socket.send(json.dumps(message))
        message = await read(socket)
    assert (message["id"], message["type"]) == ("100", "error")
    assert message["payload"][0]["extensions"] == {"code": "COST_LIMITED"}


async def test_what_operations_keep_is_limited(address: str) -> None:
    """All that run were asked for in two frames' size together: what they keep is bounded by it.

    One that ends makes room; one alone may be as large as a frame.
    """
    text = "x" * (MAX_FRAME_BYTES - 300)
    query = "subscription ($text: String!) { kept(text: $text) }"
    async with greeted(address) as socket:
        for identifier in "123":
            payload = {"query": query, "variables": {"text": text}}
            await socket.send(
                json.dumps({"id": identifier, "type": "subscribe", "payload": payload})
            )
        refused = await read(socket)
        assert (refused["id"], refused["type"]) == ("3", "error")
        assert refused["payload"][0]["extensions"] == {"code": "COST_LIMITED"}
        await socket.send(json.dumps({"id": "1", "type": "complete"}))
        payload = {"query": "query ($text: String!) { echo(text: $text) }"}
        payload["variables"] = {"text": text}
        await socket.send(json.dumps({"id": "4", "type": "subscribe", "payload": payload}))
        assert (await read(socket))["type"] == "next"


async def test_pages_of_other_origins_need_leave() -> None:
    origin = Origin("https://mall.example")
    async with serve(make_endpoint()) as address:
        with pytest.raises(InvalidStatus):
            async with dial(address, origin=origin):
                pass
        async with dial(address, origin=Origin(f"http://{address.partition('/')[0]}")):
            pass
    async with (
        serve(make_endpoint(allowed_origins=[origin])) as address,
        dial(address, origin=origin),
    ):
        pass
