"""Whatever a client sends over a socket: an answer of the protocol, or a code that says why not."""

import asyncio
import json
from contextlib import suppress
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed

from services.persisted import hash_of
from tests.resolvers.serving import ENDLESS, MAX_FRAME_BYTES, SECRET, make_endpoint, serve
from tests.resolvers.test_websocket import dial

CODES = {
    1009,  # a frame that is too big
    4400,  # no message of the protocol
    4401,  # before it was acknowledged, or not signed in
    4403,  # not allowed
    4408,  # connection_init did not come in time
    4409,  # an id that is in use
    4429,  # connection_init twice
    4500,  # what only servers say, and what nobody expected
}
SAID = {"connection_ack", "next", "error", "complete", "pong"}
INTERNAL = (SECRET, "Traceback", "Error(", ".py", "NoneType", "object at 0x")
LAST = {"type": "ping", "payload": {"last": True}}

ids = st.sampled_from(["1", "2", "3", "", "x" * 257, 7, None, ["1"]])
documents = st.sampled_from(
    [
        "{ hello }",
        "{ broken forbidden away tooBig }",
        "{ unencodable }",
        'query ($code: Code!) { coded(code: $code) } #"',
        "query A { hello } query B { hello }",
        "mutation { setName(name: 1) }",
        "subscription { count(to: 3) }",
        "subscription { endless }",
        "subscription { fails }",
        "subscription { refused }",
        "subscription { silent }",
        "subscription { unknown }",
        "{ thing { child",
        "{ ...F } fragment F on Query { ...F }",
        "",
        None,
        7,
    ]
)
anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=8,
)
hashes = st.one_of(
    documents.map(lambda document: hash_of(str(document))),
    documents.map(lambda document: hash_of(str(document)).upper()),
    st.text(max_size=70),
    st.sampled_from([None, 7, [], "x" * 257, "\ud800"]),
)


def persisted(digests: st.SearchStrategy[Any], versions: st.SearchStrategy[Any]) -> Any:
    """What Apollo's protocol says beside a document, or in its place."""
    return st.fixed_dictionaries({"sha256Hash": digests, "version": versions})


extensions = st.one_of(
    anything,
    st.fixed_dictionaries(
        {"persistedQuery": anything | persisted(hashes, st.sampled_from([1, 1, 1, 2, "1", None]))}
    ),
)
options = {
    "variables": st.sampled_from([None, {}, {"code": "bad"}, {"code": "good"}, [], "x"]),
    "operationName": st.sampled_from([None, "", "A", "C", 7]),
}


texts = documents.filter(lambda document: isinstance(document, str))
well_formed = st.fixed_dictionaries(
    {"query": texts},
    optional={
        "variables": st.sampled_from([None, {}, {"code": "bad"}, {"code": "good"}]),
        "extensions": st.fixed_dictionaries(
            {"persistedQuery": persisted(hashes, st.sampled_from([1, 1, 1, 2]))}
        ),
    },
)


def by_hash(document: str) -> Any:
    """A document with its own hash, or that alone."""
    extension = {"persistedQuery": {"version": 1, "sha256Hash": hash_of(document)}}
    query = st.sampled_from([document, ""])
    return st.fixed_dictionaries({"extensions": st.just(extension)}, optional={"query": query})


requests = st.one_of(
    st.fixed_dictionaries({"query": documents}, optional={**options, "extensions": extensions}),
    st.fixed_dictionaries({"extensions": extensions}, optional=options),
    texts.flatmap(by_hash),
)
greetings = st.sampled_from(
    [None, {}, *({"Authorization": f"Bearer {kind}"} for kind in ("x", "expired", "member"))]
)
subscriptions = st.builds(
    lambda identifier, payload: {"id": identifier, "type": "subscribe", "payload": payload},
    ids,
    requests,
)
messages = st.one_of(
    subscriptions,
    subscriptions,
    st.builds(lambda identifier: {"id": identifier, "type": "complete"}, ids),
    st.builds(lambda payload: {"type": "connection_init", "payload": payload}, greetings),
    st.builds(lambda kind, payload: {"type": kind, "payload": payload}, st.text(), anything),
    st.sampled_from(["ping", "pong", "next", "connection_ack", "error", "start"]).map(
        lambda kind: {"id": "1", "type": kind, "payload": {}}
    ),
    anything,
)
talk = st.one_of(
    st.builds(
        lambda identifier, payload: {"id": identifier, "type": "subscribe", "payload": payload},
        st.uuids().map(str),
        well_formed | texts.flatmap(by_hash),
    ),
    st.just({"type": "ping"}),
).map(json.dumps)
"""What closes no connection that was greeted, whatever is asked for."""

frames = st.one_of(
    messages.map(json.dumps),
    messages.map(json.dumps),
    messages.map(json.dumps),
    st.text(max_size=50),
    st.binary(max_size=50),
    st.just("x" * (MAX_FRAME_BYTES + 1)),
    st.just("[" * (MAX_FRAME_BYTES - 1)),
)


async def hear(socket: ClientConnection) -> Any:
    """What the server says next, which must be nothing of the inside."""
    frame = await socket.recv()
    assert isinstance(frame, str)
    assert not [text for text in INTERNAL if text in frame], frame
    return json.loads(frame)


async def hear_all(socket: ClientConnection) -> list[Any]:
    """What it says until it has heard all that was sent, or closed: before that, too."""
    said: list[Any] = []
    with suppress(ConnectionClosed):
        await socket.send(json.dumps(LAST))
    with suppress(ConnectionClosed):
        while not said or said[-1] != {**LAST, "type": "pong"}:
            said.append(await hear(socket))
    return said


async def converse(socket: ClientConnection, frames: list[str]) -> list[Any]:
    """Say one after another, and hear what comes first of each, if anything comes."""
    said: list[Any] = []
    for frame in frames:
        await socket.send(frame)
        with suppress(TimeoutError):
            async with asyncio.timeout(0.1):
                said.append(await hear(socket))
    return said


async def play(talked: list[str], sent: list[str | bytes]) -> None:
    async with serve(make_endpoint(connection_init_timeout_s=0.3)) as address:
        tasks_before = len(asyncio.all_tasks())
        async with dial(address) as socket:
            heard: list[Any] = []
            with suppress(ConnectionClosed):
                heard = await converse(socket, talked)
                for frame in sent:
                    await socket.send(frame)
            said = heard + await hear_all(socket)
            assert {message["type"] for message in said} <= SAID
            if said[-1:] != [{**LAST, "type": "pong"}]:  # it was closed
                assert socket.close_code in CODES, (socket.close_code, socket.close_reason)
                assert not [text for text in INTERNAL if text in (socket.close_reason or "")]
        async with asyncio.timeout(5):
            while ENDLESS or len(asyncio.all_tasks()) > tasks_before:  # noqa: ASYNC110
                await asyncio.sleep(0.005)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.sampled_from([True, True, False]), st.lists(talk, max_size=8), st.lists(frames, max_size=8)
)
def test_whatever_is_sent_is_answered_by_the_protocol(
    is_greeted: bool,
    talked: list[str],
    sent: list[str | bytes],
) -> None:
    """Nothing of the inside is said, and nothing is left when the connection is gone."""
    greeting = ['{"type": "connection_init"}'] if is_greeted else []
    with capture_logs() as logs:
        asyncio.run(play(greeting + talked, sent))
    unexpected = {"websocket_task_failed", "stream_failed"}
    assert not [line for line in logs if line["event"] in unexpected and not is_known(line)]


def is_known(line: Any) -> bool:
    """Whether it is what the schema of these tests does on purpose: a number beyond JSON's."""
    return "Integer exceeds 64-bit range" in repr(line.get("exc_info"))
