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
requests = st.fixed_dictionaries(
    {"query": documents},
    optional={
        "variables": st.sampled_from([None, {}, {"code": "bad"}, {"code": "good"}, [], "x"]),
        "operationName": st.sampled_from([None, "", "A", "C", 7]),
        "extensions": anything,
    },
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
frames = st.one_of(
    messages.map(json.dumps),
    messages.map(json.dumps),
    messages.map(json.dumps),
    st.text(max_size=50),
    st.binary(max_size=50),
    st.just("x" * (MAX_FRAME_BYTES + 1)),
    st.just("[" * (MAX_FRAME_BYTES - 1)),
)


async def hear(socket: ClientConnection) -> list[Any]:
    """What the server says until it has heard all that was sent, or closed."""
    said: list[Any] = []
    with suppress(ConnectionClosed):
        await socket.send(json.dumps(LAST))
        while not said or said[-1] != {**LAST, "type": "pong"}:
            frame = await socket.recv()
            assert isinstance(frame, str)
            assert not [text for text in INTERNAL if text in frame], frame
            said.append(json.loads(frame))
    return said


async def play(sent: list[str | bytes]) -> None:
    async with serve(make_endpoint(connection_init_timeout_s=0.3)) as address:
        tasks_before = len(asyncio.all_tasks())
        async with dial(address) as socket:
            with suppress(ConnectionClosed):
                for frame in sent:
                    await socket.send(frame)
            said = await hear(socket)
            assert {message["type"] for message in said} <= SAID
            if said[-1:] != [{**LAST, "type": "pong"}]:  # it was closed
                assert socket.close_code in CODES, (socket.close_code, socket.close_reason)
                assert not [text for text in INTERNAL if text in (socket.close_reason or "")]
        async with asyncio.timeout(5):
            while ENDLESS or len(asyncio.all_tasks()) > tasks_before:  # noqa: ASYNC110
                await asyncio.sleep(0.005)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.booleans(), st.lists(frames, max_size=12))
def test_whatever_is_sent_is_answered_by_the_protocol(
    is_greeted: bool,
    sent: list[str | bytes],
) -> None:
    """Nothing of the inside is said, and nothing is left when the connection is gone."""
    greeting: list[str | bytes] = ['{"type": "connection_init"}'] if is_greeted else []
    with capture_logs() as logs:
        asyncio.run(play(greeting + sent))
    unexpected = {"websocket_task_failed", "stream_failed"}
    assert not [line for line in logs if line["event"] in unexpected and not is_known(line)]


def is_known(line: Any) -> bool:
    """Whether it is what the schema of these tests does on purpose: a number beyond JSON's."""
    return "Integer exceeds 64-bit range" in repr(line.get("exc_info"))
