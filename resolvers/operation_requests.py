"""From an HTTP request to the GraphQL operation it asks for."""

from collections.abc import Mapping
from typing import Any, NamedTuple
from urllib.parse import parse_qsl

import orjson
from starlette.requests import ClientDisconnect
from starlette.types import Receive, Scope

from resolvers.media_types import is_json
from resolvers.transport_errors import RefuseRequest

_MAX_QUERY_PARAMETERS = 20
_CLOSE = ((b"connection", b"close"),)  # the rest of the body is not worth reading


class OperationRequest(NamedTuple):
    """What GraphQL over HTTP calls the request parameters."""

    query: str
    """Empty only where `extensions` name it by a hash (`resolvers.persisted`)."""
    variables: dict[str, Any] | None
    operation_name: str | None
    extensions: dict[str, Any] | None


async def read_operation(
    scope: Scope, headers: Mapping[bytes, bytes], receive: Receive, max_body_bytes: int
) -> OperationRequest:
    """Read the operation of a POST or GET request.

    Raises RefuseRequest for anything malformed or too large, ClientDisconnect when nobody waits.
    """
    method = scope["method"]
    if method == "POST":
        if not is_json(headers.get(b"content-type", b"")):
            raise RefuseRequest(415, "The body must be application/json in UTF-8")
        body = await _read_body(headers, receive, max_body_bytes)
        return check_parameters(_parse_json(body, "body"))
    if method == "GET":
        return check_parameters(_query_parameters(scope["query_string"]))
    raise RefuseRequest(405, "Use POST or GET", headers=((b"allow", b"GET, POST"),))


def check_parameters(parameters: object) -> OperationRequest:
    """Return the parameters, each of its type; raise RefuseRequest when one is not."""
    if not isinstance(parameters, dict):
        what = "Batches are not supported" if isinstance(parameters, list) else "Not an object"
        raise RefuseRequest(400, f"{what}: send one JSON object")
    extensions = _mapping(parameters, "extensions")
    query: object = parameters.get("query")
    if query is None and is_persisted(extensions):
        query = ""
    if not isinstance(query, str) or not (query or is_persisted(extensions)):
        raise RefuseRequest(400, "The parameter query must be a string that is not empty")
    name: object = parameters.get("operationName")
    if name is not None and not isinstance(name, str):
        raise RefuseRequest(400, "The parameter operationName must be a string or null")
    return OperationRequest(
        query=query,
        variables=_mapping(parameters, "variables"),
        operation_name=name or None,  # some clients send "" for an anonymous operation
        extensions=extensions,
    )


def is_persisted(extensions: Mapping[str, Any] | None) -> bool:
    """Whether they name a document by its hash."""
    return extensions is not None and extensions.get("persistedQuery") is not None


def _mapping(parameters: Mapping[str, Any], name: str) -> dict[str, Any] | None:
    value = parameters.get(name)
    if value is not None and not isinstance(value, dict):
        raise RefuseRequest(400, f"The parameter {name} must be an object or null")
    return value


def _query_parameters(query_string: bytes) -> dict[str, object]:
    try:
        pairs = parse_qsl(query_string.decode("latin-1"), max_num_fields=_MAX_QUERY_PARAMETERS)
    except ValueError:  # too many of them
        raise RefuseRequest(400, "Too many parameters in the address") from None
    parameters: dict[str, object] = dict(pairs)
    for name in ("variables", "extensions"):
        text = parameters.get(name)
        if isinstance(text, str):
            parameters[name] = _parse_json(text, f"parameter {name}")
    return parameters


def _parse_json(text: bytes | str, what: str) -> object:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        # The parser's own message quotes positions in bytes the client may not have sent as such.
        raise RefuseRequest(400, f"The {what} is not valid JSON") from None


async def _read_body(
    headers: Mapping[bytes, bytes], receive: Receive, max_body_bytes: int
) -> bytes:
    announced = headers.get(b"content-length", b"")
    if announced.isdigit() and int(announced) > max_body_bytes:
        raise _too_large(max_body_bytes)
    message = await receive()
    body: bytes = message.get("body", b"")
    if len(body) <= max_body_bytes and not message.get("more_body", False):
        _check_connected(message["type"])
        return body
    chunks = [body]
    length = len(body)
    while length <= max_body_bytes and message.get("more_body", False):
        message = await receive()
        _check_connected(message["type"])
        chunks.append(message.get("body", b""))
        length += len(chunks[-1])
    if length > max_body_bytes:
        raise _too_large(max_body_bytes)
    return b"".join(chunks)


def _check_connected(message_type: str) -> None:
    if message_type == "http.disconnect":
        raise ClientDisconnect


def _too_large(max_body_bytes: int) -> RefuseRequest:
    return RefuseRequest(413, f"The body exceeds {max_body_bytes} bytes", headers=_CLOSE)
