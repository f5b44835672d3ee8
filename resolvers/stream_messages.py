"""The messages of operations that answer more than once, as JSON text for whatever transport."""

from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import Any, Final, NamedTuple

import orjson
import structlog
from graphql import ExecutionResult, GraphQLError

from resolvers.operations import Failure
from resolvers.transport_errors import INTERNAL, INTERNAL_MESSAGE, SERVICE_UNAVAILABLE, error_entry

_log: structlog.stdlib.BoundLogger = structlog.get_logger()


class Message(NamedTuple):
    """A result, encoded: an object with `data`, or, for a failure, the list of its errors.

    After a failure nothing comes.
    """

    text: str
    is_failure: bool = False
    has_errors: bool = False
    """Whether parts of the data could not be loaded."""
    may_pass: bool = False
    """Whether there are errors that are gone when a store is back."""
    code: str | None = None
    """Of the first error, if there is one."""


def payload_of(result: ExecutionResult, extensions: dict[str, Any] | None) -> dict[str, object]:
    """What a client is told of a result."""
    payload: dict[str, object] = {"data": result.data}
    if result.errors:
        payload["errors"] = _entries(result.errors)
    if extensions is not None:
        payload["extensions"] = extensions
    return payload


def encode(result: ExecutionResult | Failure, extensions: dict[str, Any] | None = None) -> Message:
    """The message that tells of this result."""
    errors = result.errors or ()
    codes = [_code(error) for error in errors]
    code, may_pass = codes[0] if codes else None, SERVICE_UNAVAILABLE in codes
    if isinstance(result, Failure):
        return Message(orjson.dumps(_entries(errors)).decode(), True, False, may_pass, code)
    payload = payload_of(result, extensions)
    return Message(orjson.dumps(payload).decode(), False, bool(errors), may_pass, code)


def refusal(code: str, text: str, extensions: Mapping[str, Any] | None = None) -> Message:
    """The one message of an operation that is not begun."""
    entries = [error_entry(code, text, extensions)]
    return Message(orjson.dumps(entries).decode(), is_failure=True, code=code)


BROKEN: Final = refusal(INTERNAL, INTERNAL_MESSAGE)


async def only(message: Message) -> AsyncGenerator[Message]:
    """The messages of an operation that says nothing else."""
    yield message


def break_off(error: Exception) -> AsyncGenerator[Message]:
    """The messages of an operation that failed in a way nobody expected; it is logged."""
    _log.error("stream_failed", exc_info=error)
    return only(BROKEN)


def _code(error: GraphQLError) -> str | None:
    return (error.extensions or {}).get("code")


def _entries(errors: Sequence[GraphQLError]) -> list[object]:
    return [error.formatted for error in errors]
