"""graphql-transport-ws as its reference implementation speaks it: npm's graphql-ws on ws.

Every scenario is played to both servers; what they say, the code with which they close and the
reason must be the same.
"""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed
from websockets.typing import Subprotocol

from resolvers.endpoint import GraphQLEndpoint
from services.errors import Forbidden
from tests.node import installed
from tests.resolvers.serving import Caller, make_context, make_schema, serve

_SOURCE = Path(__file__).parent / "graphql_ws"
INIT = {"type": "connection_init"}
_SILENCE_S = 0.4  # longer than both servers wait for connection_init


class Transcript(NamedTuple):
    """What a server said, and how it ended; None for a connection that stays open."""

    said: list[Any]
    closed: tuple[int, str] | None


def subscribe(query: object = "subscription { silent }", id: object = "1", **more: object) -> Any:
    return {"id": id, "type": "subscribe", "payload": {"query": query, **more}}


async def on_connect(context: Caller, payload: dict[str, Any]) -> None:
    del context
    if payload.get("Authorization") == "Bearer member":
        raise Forbidden


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
async def ours() -> AsyncIterator[str]:
    endpoint = GraphQLEndpoint(
        make_schema(),
        make_context=make_context,
        on_connect=on_connect,
        describe_error=lambda error: (
            ("FORBIDDEN", "Forbidden", {}) if isinstance(error, Forbidden) else None
        ),
        connection_init_timeout_s=0.2,
    )
    async with serve(endpoint) as address:
        yield address


@pytest.fixture(scope="module")
async def reference() -> AsyncIterator[str]:
    async with installed(_SOURCE, "reference.mjs") as script:
        process = await asyncio.create_subprocess_exec(
            "node",
            script.name,
            cwd=script.parent,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        assert process.stdin
        assert process.stdout
        async with asyncio.timeout(20):
            port = int(await process.stdout.readline())
        yield f"127.0.0.1:{port}/graphql"
        process.stdin.close()
        await process.wait()


@asynccontextmanager
async def dial(address: str, protocol: str | None) -> AsyncIterator[ClientConnection]:
    protocols = [Subprotocol(protocol)] if protocol else None
    async with asyncio.timeout(10):
        socket = await connect(f"ws://{address}", subprotocols=protocols, proxy=None)
    try:
        yield socket
    finally:
        await socket.close()


async def play(address: str, frames: list[object], protocol: str | None) -> Transcript:
    """Say these frames; hear what comes until it is silent."""
    said: list[Any] = []
    async with dial(address, protocol) as socket:
        try:
            for frame in frames:
                is_raw = isinstance(frame, str | bytes)
                await socket.send(frame if is_raw else json.dumps(frame))
                if frame == INIT and not said:  # as a client waits for its welcome
                    said.append(json.loads(await socket.recv()))
            while True:
                async with asyncio.timeout(_SILENCE_S):
                    said.append(json.loads(await socket.recv()))
        except TimeoutError:
            return Transcript(said, None)
        except ConnectionClosed:
            assert socket.close_code is not None
            return Transcript(said, (socket.close_code, socket.close_reason or ""))


BROKEN: dict[str, object] = {
    "no JSON": "{",
    "nothing": "",
    "null": "null",
    "an array": "[]",
    "a string": '"connection_init"',
    "a number": "7",
    "no type": {},
    "a type that is no string": {"type": 1},
    "a type that is an object": {"type": {}},
    "an empty type": {"type": ""},
    "an unknown type": {"type": "start"},
    "an array for ping": {"type": "ping", "payload": []},
    "a string for pong": {"type": "pong", "payload": "x"},
    "a number for init": {"type": "connection_init", "payload": 7},
    "subscribe without anything": {"type": "subscribe"},
    "subscribe without an id": {"type": "subscribe", "payload": {"query": "{ hello }"}},
    "a number as id": subscribe(id=1),
    "an empty id": subscribe(id=""),
    "null as id": subscribe(id=None),
    "subscribe without a payload": {"id": "1", "type": "subscribe"},
    "subscribe with null": {"id": "1", "type": "subscribe", "payload": None},
    "subscribe with an array": {"id": "1", "type": "subscribe", "payload": []},
    "subscribe without a query": {"id": "1", "type": "subscribe", "payload": {}},
    "a query that is a number": subscribe(7),
    "a query that is null": subscribe(None),
    "a query that is an object": subscribe({}),
    "variables in an array": subscribe(variables=[]),
    "variables as text": subscribe(variables="{}"),
    "a name that is a number": subscribe(operationName=7),
    "extensions in an array": subscribe(extensions=[]),
    "complete without an id": {"type": "complete"},
    "complete with a number": {"type": "complete", "id": 1},
    "complete with an empty id": {"type": "complete", "id": ""},
    "next without an id": {"type": "next", "payload": {}},
    "next with null": {"type": "next", "id": "1", "payload": None},
    "error without errors": {"type": "error", "id": "1", "payload": []},
    "binary nonsense": b"\x00\xff",
    "a binary array": b"[]",
}
UNEXPECTED: dict[str, object] = {
    "a welcome": {"type": "connection_ack"},
    "a result": {"type": "next", "id": "1", "payload": {"data": None}},
    "an error": {"type": "error", "id": "1", "payload": [{"message": "x"}]},
}
SCENARIOS: dict[str, list[object]] = {
    **{f"{name}, first": [frame] for name, frame in (BROKEN | UNEXPECTED).items()},
    **{f"{name}, later": [INIT, frame] for name, frame in (BROKEN | UNEXPECTED).items()},
    "init": [INIT],
    "init with null": [{**INIT, "payload": None}],
    "init with a payload": [{**INIT, "payload": {"Authorization": "Bearer x"}}],
    "init refused": [{**INIT, "payload": {"Authorization": "Bearer member"}}],
    "init twice": [INIT, INIT],
    "init never": [],
    "pings do not count as init": [{"type": "ping"}],
    "a binary init": [b'{"type":"connection_init"}'],
    "ping before init": [{"type": "ping", "payload": {"x": 1}}, INIT],
    "ping": [INIT, {"type": "ping"}],
    "ping with null": [INIT, {"type": "ping", "payload": None}],
    "ping with an empty payload": [INIT, {"type": "ping", "payload": {}}],
    "ping with a payload": [INIT, {"type": "ping", "payload": {"x": [1, {"y": "ü"}]}}],
    "pong": [INIT, {"type": "pong"}, {"type": "pong", "payload": {"x": 1}}],
    "subscribe before init": [subscribe()],
    "complete before init": [{"type": "complete", "id": "1"}, INIT],
    "complete of nothing": [INIT, {"type": "complete", "id": "1"}],
    "an id twice": [INIT, subscribe(), subscribe()],
    "an odd id twice": [INIT, subscribe(id='"ü" \\ \n'), subscribe(id='"ü" \\ \n')],
    "an id after complete": [INIT, subscribe(), {"type": "complete", "id": "1"}, subscribe()],
    "two ids": [INIT, subscribe(id="1"), subscribe(id="2")],
    "a query": [INIT, subscribe("{ hello }", operationName=None, variables=None, extensions=None)],
    "a subscription": [
        INIT,
        subscribe("subscription ($to: Int!) { count(to: $to) }", variables={"to": 3}),
    ],
    "unknown members": [INIT, {**subscribe("{ hello }"), "x": 1}],
    "a message after the end": [INIT, "{", subscribe("{ hello }")],
}


@pytest.mark.parametrize("name", SCENARIOS)
async def test_both_say_and_close_the_same(ours: str, reference: str, name: str) -> None:
    protocol = "graphql-transport-ws"
    mine, theirs = await asyncio.gather(
        play(ours, SCENARIOS[name], protocol), play(reference, SCENARIOS[name], protocol)
    )
    assert mine == theirs


@pytest.mark.parametrize("protocol", [None, "graphql-ws", "soap"])
async def test_both_want_the_protocol(ours: str, reference: str, protocol: str | None) -> None:
    mine, theirs = [await play(address, [], protocol) for address in (ours, reference)]
    assert mine == theirs
    assert mine.closed == (4406, "Subprotocol not acceptable")


@pytest.mark.parametrize(
    ("query", "closed"),
    [("{ hello !", (4500, 'Syntax Error: Expected Name, found "!".')), ("{ nothing }", None)],
)
async def test_a_document_that_cannot_run_ends_only_itself(
    ours: str, reference: str, query: str, closed: tuple[int, str] | None
) -> None:
    """Where the reference closes the whole connection, ours refuses that one operation."""
    frames: list[object] = [INIT, subscribe(query)]
    protocol = "graphql-transport-ws"
    mine, theirs = [await play(address, frames, protocol) for address in (ours, reference)]
    assert mine.closed is None
    assert [message["type"] for message in mine.said] == ["connection_ack", "error"]
    assert theirs.closed == closed
