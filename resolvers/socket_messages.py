"""What a client may say over graphql-transport-ws, and whether it has said it properly.

Both are as in PROTOCOL.md and the reference implementation, the npm package `graphql-ws`:
https://github.com/enisdenjo/graphql-ws
"""

from typing import Any, Final, NamedTuple

import orjson

from resolvers.operation_requests import is_persisted

MAX_ID_CHARACTERS: Final = 256
"""An id is sent with every result; usual ones are UUIDs or small numbers."""

_WITH_PAYLOAD: Final = frozenset({"connection_init", "connection_ack", "ping", "pong"})


class InvalidMessage(Exception):
    """The frame holds no message of the protocol; the text says so to the client."""

    def __init__(self, reason: str = "Invalid message received") -> None:
        super().__init__(reason)


class ClientMessage(NamedTuple):
    """A message whose shape is right."""

    kind: str
    id: str
    """Empty for those that have none."""
    payload: dict[str, Any]
    """Empty for those that have none."""
    has_payload: bool
    size: int
    """Of the whole frame, in characters or bytes."""


def read_message(frame: str | bytes) -> ClientMessage:
    """Read a frame; raises InvalidMessage for anything that the protocol does not know.

    A message that only servers send is one that it knows.
    """
    try:
        message: object = orjson.loads(frame)
    except orjson.JSONDecodeError as error:
        raise InvalidMessage from error
    if not isinstance(message, dict):
        raise InvalidMessage
    kind: object = message.get("type")
    identifier, payload = message.get("id"), message.get("payload")
    if not isinstance(kind, str) or not _is_right(kind, identifier, payload):
        raise InvalidMessage
    if isinstance(identifier, str) and len(identifier) > MAX_ID_CHARACTERS:
        raise InvalidMessage(f"An id has at most {MAX_ID_CHARACTERS} characters")
    return ClientMessage(
        kind,
        identifier if isinstance(identifier, str) else "",
        payload if isinstance(payload, dict) else {},
        isinstance(payload, dict),
        len(frame),
    )


def _is_right(kind: str, identifier: object, payload: object) -> bool:
    if kind in _WITH_PAYLOAD:
        return payload is None or isinstance(payload, dict)
    if not isinstance(identifier, str) or not identifier:
        return False
    match kind:
        case "subscribe":
            return isinstance(payload, dict) and _is_request(payload)
        case "complete":
            return True
        case "next":
            return isinstance(payload, dict)
        case "error":
            return isinstance(payload, list) and bool(payload) and all(map(_is_error, payload))
        case _:
            return False


def _is_request(payload: dict[str, Any]) -> bool:
    name, query = payload.get("operationName"), payload.get("query")
    extensions = payload.get("extensions")
    is_by_hash = query is None and isinstance(extensions, dict) and is_persisted(extensions)
    return (
        (isinstance(query, str) or is_by_hash)
        and (name is None or isinstance(name, str))
        and all(
            isinstance(payload.get(field), dict | None) for field in ("variables", "extensions")
        )
    )


def _is_error(entry: object) -> bool:
    return isinstance(entry, dict) and "message" in entry
