"""What a client is told when something goes wrong, and what it is never told.

Every entry of ``errors`` carries ``extensions.code``. Whatever nobody described is ``INTERNAL``:
the client reads "Internal error", the log has the original with its traceback.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final, TypeAlias

import structlog
from graphql import ArgumentNode, GraphQLError, Node, ObjectFieldNode, ValueNode
from strawberry.exceptions import StrawberryInputCoercionError

_log: structlog.stdlib.BoundLogger = structlog.get_logger()

PARSE_FAILED: Final = "GRAPHQL_PARSE_FAILED"
VALIDATION_FAILED: Final = "GRAPHQL_VALIDATION_FAILED"
BAD_USER_INPUT: Final = "BAD_USER_INPUT"
COST_LIMITED: Final = "COST_LIMITED"
INTERNAL: Final = "INTERNAL"
RATE_LIMITED: Final = "RATE_LIMITED"
SERVICE_UNAVAILABLE: Final = "SERVICE_UNAVAILABLE"

INTERNAL_MESSAGE: Final = "Internal error"

# Not 4429, which the protocol has for initialising twice: its clients take that for a bug of their
# own and give up. After this one they come back, ever less often.
_TRY_AGAIN_LATER: Final = 1013  # https://www.iana.org/assignments/websocket

_STATUS_BY_CODE: Final[Mapping[str, int]] = {
    "UNAUTHENTICATED": 401,
    "FORBIDDEN": 403,
    RATE_LIMITED: 429,
    INTERNAL: 500,
    SERVICE_UNAVAILABLE: 503,
}

Description: TypeAlias = tuple[str, str, Mapping[str, Any]]
"""The code, the message and the further extensions a client may read."""

DescribeError: TypeAlias = Callable[[Exception], Description | None]
"""Says what a client may know of an exception; None means nothing."""


class RefuseRequest(Exception):
    """The HTTP request is refused before any field runs.

    ``status`` is the HTTP status, ``code`` and ``message`` become the one entry of ``errors``.
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        code: str = BAD_USER_INPUT,
        headers: Iterable[tuple[bytes, bytes]] = (),
    ) -> None:
        super().__init__(message)
        self.status = status
        self.headers = headers
        self.code = code
        self.entry = error_entry(code, message)


class OperationRefused(Exception):
    """The operation does not begin, over whatever transport; ``description`` says why."""

    def __init__(
        self, code: str, message: str, extensions: Mapping[str, Any] | None = None
    ) -> None:
        super().__init__(message)
        self.description: Description = (code, message, extensions or {})


class RefuseConnection(Exception):
    """The WebSocket is closed with ``code`` (4400-4499) and ``reason`` (at most 123 bytes)."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


def error_entry(
    code: str, message: str, extensions: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Return an entry of ``errors`` that belongs to no place in a document."""
    return {"message": message, "extensions": {**(extensions or {}), "code": code}}


def status_of(code: str) -> int:
    """Return the HTTP status that says what the code says."""
    return _STATUS_BY_CODE.get(code, 400)


def describe_outside_fields(error: Exception, describe_error: DescribeError) -> Description:
    """Return what a client may know of an error that no field raised; log what nobody described."""
    if isinstance(error, OperationRefused):
        return error.description
    described = describe_error(error)
    if described is not None:
        return described
    _log.error("request_failed", exc_info=error)
    return INTERNAL, INTERNAL_MESSAGE, {}


def describe_closing(error: Exception, describe_error: DescribeError) -> tuple[int, str]:
    """Return the close code and reason that tell a WebSocket client why it is closed."""
    if isinstance(error, RefuseConnection):
        return error.code, error.reason
    code, message, _ = describe_outside_fields(error, describe_error)
    if code == RATE_LIMITED:
        return _TRY_AGAIN_LATER, message
    return 4000 + status_of(code), message  # 4401, 4403 and so on, as the protocol has them


def mark(error: GraphQLError, code: str) -> GraphQLError:
    """Give the error, in place, its code and drop what text of an exception it quotes."""
    error.message = _without_quoted_exception(error)
    error.extensions = {"code": code}
    return error.with_traceback(None)


def disclose(error: GraphQLError, describe_error: DescribeError) -> GraphQLError:
    """Turn a field's error, in place, into what a client may read; log what nobody described."""
    chain = list(_causes(error))
    cause = chain[-1]
    described = describe_error(cause)
    if described is not None:
        code, error.message, extensions = described
        error.extensions = {**extensions, "code": code}
        return error
    if any(_blames_the_arguments(link) for link in chain):
        return mark(error, BAD_USER_INPUT)
    _log.error("field_failed", path=error.path, exc_info=cause)
    error.message, error.extensions = INTERNAL_MESSAGE, {"code": INTERNAL}
    return error


def _causes(error: GraphQLError) -> Iterator[Exception]:
    """Yield the error and, link by link, what it wraps; the last is what was raised."""
    link: Exception | None = error
    while link is not None:
        yield link
        link = link.original_error if isinstance(link, GraphQLError) else None


def _blames_the_arguments(link: Exception) -> bool:
    if isinstance(link, StrawberryInputCoercionError):
        return True
    nodes: Iterable[Node] = (link.nodes or ()) if isinstance(link, GraphQLError) else ()
    # graphql-core points at the field when a resolver fails, at the value when the value is wrong.
    return any(isinstance(node, (ValueNode, ArgumentNode, ObjectFieldNode)) for node in nodes)


def _without_quoted_exception(error: GraphQLError) -> str:
    # graphql-core repeats what a scalar's parser raised. A GraphQLError is meant for the client,
    # anything else ("Incorrect padding") is internal text.
    *_, cause = _causes(error)
    if isinstance(cause, GraphQLError):
        return error.message
    return error.message.replace(f", but encountered error '{cause}'; found", ", found")
