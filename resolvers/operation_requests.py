"""From an HTTP request to the GraphQL operation it asks for."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, NamedTuple
from urllib.parse import parse_qsl

import orjson
from starlette.requests import ClientDisconnect
from starlette.types import Receive, Scope

from resolvers.media_types import is_json
from resolvers.transport_errors import RefuseRequest

ANYBODYS_BODY_BYTES: Final = 64 * 1024
"""Of a longer body it is asked whose it is first: 4 MiB of JSON can hold a process for 200 ms."""
_MAX_QUERY_PARAMETERS = 20
_CLOSE = ((b"connection", b"close"),)  # the rest of the body is not worth reading


class OperationRequest(NamedTuple):
    """What GraphQL over HTTP calls the request parameters."""

    query: str
    """Empty only where `extensions` name it by a hash (`resolvers.persisted`)."""
    variables: dict[str, Any] | None
    operation_name: str | None
    extensions: dict[str, Any] | None


class BodyLimit(NamedTuple):
    """How long a body may be."""

    most_bytes: int
    raise_it: Callable[[], Awaitable[int]] | None = None
    """Finds out whether more is allowed to who asks, for nearly nobody needs that."""
    most_dropped_bytes: int = 0
    """What is too long but no longer is dropped as it comes: who still sends reads no answer."""

    async def raised_for(self, length_bytes: int, *, is_whole: bool = False) -> "BodyLimit":
        """The limit under which a body of this length may be read; raises RefuseRequest."""
        if length_bytes <= self.most_bytes:
            return self
        if self.raise_it is None:
            is_short = is_whole and length_bytes <= self.most_dropped_bytes
            text = f"The body exceeds {self.most_bytes} bytes"
            raise RefuseRequest(413, text, headers=() if is_short else _CLOSE)
        higher = self._replace(most_bytes=await self.raise_it(), raise_it=None)
        return await higher.raised_for(length_bytes, is_whole=is_whole)


async def read_operation(
    scope: Scope, headers: Mapping[bytes, bytes], receive: Receive, limit: BodyLimit
) -> OperationRequest:
    """Read the operation of a POST or GET request.

    Raises RefuseRequest for anything malformed or too large, ClientDisconnect when nobody waits,
    and what asking for a higher limit raises.
    """
    method = scope["method"]
    if method == "POST":
        if not is_json(headers.get(b"content-type", b"")):
            raise RefuseRequest(415, "The body must be application/json in UTF-8")
        body = await _read_body(headers, receive, limit)
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


async def _read_body(headers: Mapping[bytes, bytes], receive: Receive, limit: BodyLimit) -> bytes:
    announced = headers.get(b"content-length", b"")
    if announced.isdigit() and int(announced) > limit.most_bytes:
        limit = await limit.raised_for(int(announced), is_whole=True)
    chunks: list[bytes] = []
    length, is_more = 0, True
    while is_more:
        message = await receive()
        _check_connected(message["type"])
        chunks.append(message.get("body", b""))
        length += len(chunks[-1])
        if length > limit.most_bytes:
            limit = await limit.raised_for(length)
        is_more = message.get("more_body", False)
    return chunks[0] if len(chunks) == 1 else b"".join(chunks)


def _check_connected(message_type: str) -> None:
    if message_type == "http.disconnect":
        raise ClientDisconnect
