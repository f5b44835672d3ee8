"""Keyset pages: a page begins after the last row seen, so rows that come or go shift nothing."""

import base64
import binascii
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Generic, TypeVar
from uuid import UUID

import orjson

from services.errors import BadInput

LARGEST_PAGE = 100
_LONGEST_CURSOR = 4_096
"""A text of 255 characters, six bytes each when they are escaped, in base64, and then some."""

RowT = TypeVar("RowT")


@dataclass(frozen=True, slots=True)
class Page(Generic[RowT]):
    """Rows in order, a cursor for each, and whether rows stand before or after them."""

    rows: Sequence[RowT]
    cursors: Sequence[str]
    has_next: bool
    has_previous: bool


def require_page_size(first: int | None, name: str = "first") -> int:
    """The number asked for (null: 20); raises BadInput outside 1 to 100."""
    size = 20 if first is None else first
    if not 1 <= size <= LARGEST_PAGE:
        raise BadInput(f"{name} must lie between 1 and {LARGEST_PAGE}")
    return size


def page_of(
    rows: Sequence[RowT], size: int, cursor_of: Callable[[RowT], str], *, has_previous: bool
) -> Page[RowT]:
    """A page from `size` + 1 rows read: the one too many says that more follow."""
    shown = rows[:size]
    return Page(shown, [cursor_of(row) for row in shown], len(rows) > size, has_previous)


def encode_cursor(order: str, *values: Any) -> str:
    """An opaque cursor of the row with these key values, for one way of ordering."""
    plain = [value.hex if isinstance(value, UUID) else value for value in values]
    return base64.urlsafe_b64encode(orjson.dumps([order, *plain])).decode().rstrip("=")


def decode_cursor(cursor: str, order: str, *kinds: type) -> tuple[Any, ...]:
    """The key values in a cursor, one per kind (int, str, datetime or UUID).

    Raises BadInput for anything `encode_cursor` would not have made for this order.
    """
    try:
        padded = cursor + "=" * (-len(cursor) % 4)
        values = orjson.loads(base64.b64decode(padded[:_LONGEST_CURSOR], b"-_", validate=True))
        found_order, *keys = values
        found = tuple(_read(kind, key) for kind, key in zip(kinds, keys, strict=True))
    except (binascii.Error, ValueError, TypeError, OverflowError) as error:
        raise BadInput("the cursor is not one of this list") from error
    if found_order != order:
        raise BadInput("the cursor is not one of this list")
    return found


def _read(kind: type, value: Any) -> Any:
    if kind is int:
        if type(value) is not int or not -(2**63) <= value < 2**63:
            raise ValueError(value)
        return value
    if not isinstance(value, str):
        raise ValueError(value)  # noqa: TRY004 - one kind of mistake, whatever is wrong
    if kind is str:
        if "\x00" in value:  # nothing that is stored holds one
            raise ValueError(value)
        return value
    if kind is datetime:
        return datetime.fromisoformat(value).astimezone(UTC)
    return UUID(value)
