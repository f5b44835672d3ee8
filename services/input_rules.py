"""Rules that several inputs share: texts that can be stored, numbers within their bounds."""

import re
from collections.abc import Collection, Iterator, Mapping
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

import orjson

from services.errors import InvalidInput

FieldPath = tuple[str, ...]
"""Path into the input, named as the contract names it."""

LONGEST_URL = 2_000
# PostgreSQL stores no U+0000, UTF-8 has no surrogates.
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")
_NUL = re.compile(rb"(?<!\\)(\\\\)*\\u0000")  # an escape, not an escaped backslash before "u0000"
# PostgreSQL writes 1e300 in full, as a whole number, which orjson could not write to a client.
_LARGEST_NUMBER = 2**63 - 1


class TextInvalid(InvalidInput):
    """A text is shorter than `shortest`, longer than `longest`, or cannot be stored."""

    def __init__(self, field: FieldPath, shortest: int, longest: int) -> None:
        super().__init__(field, f"{shortest} to {longest} characters")
        self.shortest = shortest
        self.longest = longest


class OutOfRange(InvalidInput):
    """Not a whole number from `least` to `most`."""

    def __init__(self, field: FieldPath, least: int, most: int) -> None:
        super().__init__(field, f"a whole number from {least} to {most}")
        self.least = least
        self.most = most


class EndsBeforeItBegins(InvalidInput):
    """A window whose end does not lie after its beginning."""


def require_text(field: FieldPath, value: Any, longest: int, *, shortest: int = 1) -> None:
    """Raise TextInvalid for anything but a text of so many characters; blanks alone are none."""
    is_text = isinstance(value, str) and not _UNSTORABLE.search(value)
    if not is_text or len(value) > longest or len(value.strip()) < shortest:
        raise TextInvalid(field, shortest, longest)


def require_url(field: FieldPath, value: str) -> None:
    """Raise InvalidInput for anything but the address of something on the web."""
    require_text(field, value, LONGEST_URL)
    try:
        parts = urlsplit(value)
        is_web = parts.scheme in ("http", "https") and bool(parts.hostname)
    except ValueError:  # brackets of an IPv6 address that do not match
        is_web = False
    if not is_web or any(character.isspace() for character in value):
        raise InvalidInput(field, "an http or https URL")


def require_between(field: FieldPath, value: Any, least: int, most: int) -> None:
    """Raise OutOfRange for anything but a whole number from `least` to `most`."""
    if type(value) is not int or not least <= value <= most:  # a bool is an int to Python
        raise OutOfRange(field, least, most)


def require_flag(field: FieldPath, value: Any) -> None:
    """Raise InvalidInput for anything but true and false."""
    if not isinstance(value, bool):
        raise InvalidInput(field, "true or false")


def require_known(field: FieldPath, value: Mapping[str, Any], known: Collection[str]) -> None:
    """Raise InvalidInput, naming the key, for a key that nothing reads: it may be misspelt."""
    for key in value:
        if key not in known:
            raise InvalidInput((*field, key), f"not one of {', '.join(sorted(known))}")


def require_window(field: FieldPath, begins: datetime | None, ends: datetime | None) -> None:
    """Raise EndsBeforeItBegins unless the window, open on either side or not, holds an instant."""
    if begins is not None and ends is not None and begins >= ends:
        raise EndsBeforeItBegins(field, "has to lie after the beginning")


class JsonInvalid(InvalidInput):
    """JSON that cannot be stored, is longer than `most_bytes` or deeper than `most_levels`."""

    def __init__(self, field: FieldPath, most_bytes: int, most_levels: int) -> None:
        bounds = f"{most_bytes} bytes and {most_levels} levels at most"
        super().__init__(field, f"JSON that can be stored, {bounds}")
        self.most_bytes = most_bytes
        self.most_levels = most_levels


def require_json(field: FieldPath, value: Any, *, most_bytes: int, most_levels: int) -> Any:
    """Any JSON as it will be stored; raises JsonInvalid."""
    invalid = JsonInvalid(field, most_bytes, most_levels)
    if not is_storable_json(value):
        raise invalid
    written = orjson.dumps(value)
    stored = orjson.loads(written)
    is_too_large = len(written) > most_bytes or _levels(stored) > most_levels
    if is_too_large or any(abs(number) > _LARGEST_NUMBER for number in _numbers(stored)):
        raise invalid
    return stored


def is_same_json(one: Any, other: Any) -> bool:
    """Whether two values are the same JSON; to Python true is 1, to a client it is not."""
    match one, other:
        case dict(), dict():
            return one.keys() == other.keys() and all(
                is_same_json(value, other[key]) for key, value in one.items()
            )
        case list(), list():
            return len(one) == len(other) and all(map(is_same_json, one, other))
        case _:
            return isinstance(one, bool) is isinstance(other, bool) and one == other


def _levels(value: Any) -> int:
    """How deep lists and objects are nested; 0 for what is neither."""
    if not isinstance(value, dict | list):
        return 0
    return 1 + max(map(_levels, value.values() if isinstance(value, dict) else value), default=0)


def require_object(field: FieldPath, value: Any) -> dict[str, Any]:
    """A JSON object as it will be stored; raises InvalidInput for one that cannot be read again."""
    if not isinstance(value, dict) or not is_storable_json(value):
        raise InvalidInput(field, "a JSON object of values that can be stored")
    stored = orjson.loads(orjson.dumps(value))  # what is no number is stored as null
    if any(abs(number) > _LARGEST_NUMBER for number in _numbers(stored)):
        raise InvalidInput(field, "numbers within 64 bits")
    return stored


def _numbers(value: Any) -> Iterator[int | float]:
    """Every number in JSON."""
    match value:
        case dict() | list():
            for inner in value.values() if isinstance(value, dict) else value:
                yield from _numbers(inner)
        case int() | float():
            yield value
        case _:
            pass


def is_storable_json(value: Any) -> bool:
    """Whether JSON survives PostgreSQL (no U+0000) and orjson (64 bits, 254 levels at most)."""
    try:
        return not _NUL.search(orjson.dumps(value))
    except orjson.JSONEncodeError:
        return False
