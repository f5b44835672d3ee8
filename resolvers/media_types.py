"""Which media type a request brings and which it wants back."""

from functools import lru_cache
from typing import Final, NamedTuple

from strawberry.http.streaming import (
    HTTPStreamTransport,
    MultipartSubscriptionTransport,
    SSETransport,
)

_JSON: Final = "application/json"
_GRAPHQL_RESPONSE: Final = "application/graphql-response+json"
_EVENTS: Final = SSETransport()
_MULTIPART: Final = MultipartSubscriptionTransport()


class Wanted(NamedTuple):
    """What the Accept header asks for."""

    content_type: bytes
    """Of an answer in one piece."""
    exact_status: bool
    """Whether a document that cannot run answers 4xx; plain JSON clients expect 200."""
    stream: HTTPStreamTransport | None
    """How a subscription may be streamed."""
    html: bool
    """Whether a browser asks for a page."""


@lru_cache(maxsize=256)
def wanted(accept: bytes) -> Wanted:
    """Read an Accept header; an empty one means plain JSON."""
    text = accept.decode("latin-1").lower()
    quality = _qualities(text)
    stream = next((each for each in (_EVENTS, _MULTIPART) if each.accepts(text)), None)
    graphql_response = quality.get(_GRAPHQL_RESPONSE, 0.0)
    prefers_it = graphql_response > 0 and graphql_response >= quality.get(_JSON, 0.0)
    content_type = _GRAPHQL_RESPONSE if prefers_it else _JSON
    return Wanted(
        content_type=f"{content_type}; charset=utf-8".encode(),
        # A reader of events would take a 200 in JSON for an empty stream.
        exact_status=prefers_it or stream is _EVENTS,
        stream=stream,
        html="text/html" in quality,
    )


@lru_cache(maxsize=64)
def is_json(content_type: bytes) -> bool:
    """Return whether a body of this type is JSON in UTF-8, the only encoding JSON has."""
    media_type, *parameters = content_type.decode("latin-1").lower().split(";")
    charset = [
        value.strip().strip('"')
        for name, _, value in (parameter.partition("=") for parameter in parameters)
        if name.strip() == "charset"
    ]
    return media_type.strip() == _JSON and all(each in {"utf-8", "utf8"} for each in charset)


def _qualities(accept: str) -> dict[str, float]:
    qualities: dict[str, float] = {}
    for item in accept.split(","):
        media_type, *parameters = item.split(";")
        qualities[media_type.strip()] = _quality(parameters)
    return qualities


def _quality(parameters: list[str]) -> float:
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip() == "q":
            try:
                return float(value)
            except ValueError:  # not a number: the range was meant, so it counts in full
                return 1.0
    return 1.0
