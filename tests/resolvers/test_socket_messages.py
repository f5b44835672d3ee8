"""Reading frames: whatever they hold, there is a message or a refusal, and nothing else."""

import json

from hypothesis import given, settings
from hypothesis import strategies as st

from resolvers.socket_messages import ClientMessage, InvalidMessage, read_message

_KINDS = (
    "connection_init connection_ack ping pong subscribe next error complete unknown".split()  # noqa: SIM905
)
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner),
    max_leaves=8,
)
_REQUESTS = st.fixed_dictionaries(
    {},
    optional={
        "query": st.text(max_size=5) | _JSON,
        "variables": _JSON,
        "operationName": _JSON,
        "extensions": _JSON,
    },
)
_MESSAGES = st.fixed_dictionaries(
    {},
    optional={
        "type": st.sampled_from(_KINDS) | _JSON,
        "id": st.text(max_size=3) | _JSON,
        "payload": _JSON | _REQUESTS,
    },
)


def read(frame: str | bytes) -> ClientMessage | None:
    try:
        return read_message(frame)
    except InvalidMessage:
        return None


@settings(deadline=None, derandomize=True, database=None)
@given(st.text() | st.binary() | _JSON.map(json.dumps))
def test_any_frame_is_a_message_or_refused(frame: str | bytes) -> None:
    """Nothing else is raised, whatever it holds."""
    assert isinstance(read(frame), ClientMessage | None)


@settings(deadline=None, derandomize=True, database=None)
@given(_MESSAGES)
def test_a_message_is_of_its_declared_shape(said: dict[str, object]) -> None:
    message = read(json.dumps(said, allow_nan=False, default=str) if _is_json(said) else "")
    if message is None:
        return
    assert message.kind == said["type"]
    assert message.has_payload == isinstance(said.get("payload"), dict)
    if message.kind == "subscribe":
        assert message.id == said["id"] != ""
        assert isinstance(message.payload["query"], str)
        assert isinstance(message.payload.get("variables"), dict | None)
        assert isinstance(message.payload.get("operationName"), str | None)


def _is_json(value: object) -> bool:
    try:
        json.dumps(value, allow_nan=False)
    except ValueError:
        return False
    return True
