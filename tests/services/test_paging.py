"""Cursors: what a list gave out comes back; anything else is bad input and nothing worse."""

import base64
import json
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.errors import BadInput
from services.paging import decode_cursor, encode_cursor, page_of, require_page_size

KINDS = st.lists(st.sampled_from([int, str, datetime, UUID]), min_size=1, max_size=3)
instants = st.datetimes(timezones=st.just(UTC))
VALUES: dict[type, st.SearchStrategy[Any]] = {
    int: st.integers(-(2**63), 2**63 - 1),
    datetime: instants,
    UUID: st.uuids(),
    str: st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00")),
}
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=6,
)


def crafted(body: Any) -> str:
    """A cursor that says this."""
    return base64.urlsafe_b64encode(json.dumps(body).encode()).decode().rstrip("=")


@st.composite
def keys(draw: st.DrawFn) -> tuple[list[type], list[Any]]:
    """Some kinds, and a value of each."""
    kinds = draw(KINDS)
    return kinds, [draw(VALUES[kind]) for kind in kinds]


@given(st.sampled_from(["lots", "history", "newest"]), keys())
def test_what_was_given_out_comes_back(order: str, key: tuple[list[type], list[Any]]) -> None:
    """Every value, exactly."""
    kinds, values = key
    cursor = encode_cursor(order, *values)
    assert decode_cursor(cursor, order, *kinds) == tuple(values)
    assert cursor.isascii()


@given(keys(), keys())
def test_a_cursor_is_good_for_its_list_alone(
    key: tuple[list[type], list[Any]], other: tuple[list[type], list[Any]]
) -> None:
    """Another order, or another number of values, is bad input."""
    cursor = encode_cursor("lots", *key[1])
    with pytest.raises(BadInput):
        decode_cursor(cursor, "history", *key[0])
    if len(key[0]) != len(other[0]):
        with pytest.raises(BadInput):
            decode_cursor(cursor, "lots", *other[0])


def _reads_or_refuses(cursor: str, kinds: list[type]) -> None:
    try:
        found = decode_cursor(cursor, "lots", *kinds)
    except BadInput:
        return
    assert [type(value) for value in found] == kinds


@given(st.text() | st.text(alphabet=st.characters(categories=["Cs", "Lu", "Nd"])), KINDS)
def test_any_text_is_a_cursor_or_bad_input(text: str, kinds: list[type]) -> None:
    """Lone surrogates and NUL included."""
    _reads_or_refuses(text, kinds)


@given(st.binary(), KINDS)
def test_any_bytes_in_base64_are_a_cursor_or_bad_input(raw: bytes, kinds: list[type]) -> None:
    """With their padding and without."""
    padded = base64.urlsafe_b64encode(raw).decode()
    _reads_or_refuses(padded, kinds)
    _reads_or_refuses(padded.rstrip("="), kinds)


@given(json_values, KINDS)
def test_any_json_is_a_cursor_or_bad_input(body: Any, kinds: list[type]) -> None:
    """Whatever it holds."""
    _reads_or_refuses(crafted(body), kinds)


@given(st.lists(json_values, max_size=3), KINDS)
def test_any_values_are_a_cursor_or_bad_input(values: list[Any], kinds: list[type]) -> None:
    """Under the right order."""
    _reads_or_refuses(crafted(["lots", *values]), kinds)


@given(keys(), st.data())
def test_a_tampered_cursor_is_a_cursor_or_bad_input(
    key: tuple[list[type], list[Any]], data: st.DataObject
) -> None:
    """One character changed, left out or put in, anywhere."""
    kinds, values = key
    cursor = encode_cursor("lots", *values)
    at = data.draw(st.integers(0, len(cursor) - 1))
    put = data.draw(st.text(max_size=1))
    _reads_or_refuses(cursor[:at] + put + cursor[at + 1 :], kinds)
    _reads_or_refuses(cursor[:at] + put + cursor[at:], kinds)


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (int, True),
        (int, 1.0),
        (int, "1"),
        (int, None),
        (int, 2**63),
        (int, -(2**63) - 1),
        (datetime, 1),
        (datetime, "yesterday"),
        (datetime, "0001-01-01T00:00:00+14:00"),
        (datetime, "9999-12-31T23:59:59-14:00"),
        (UUID, 5),
        (UUID, "5"),
        (UUID, []),
        (UUID, {}),
        (UUID, None),
    ],
)
def test_a_value_of_another_kind_is_bad_input(kind: type, value: Any) -> None:
    """Nothing is coerced, and nothing overflows."""
    with pytest.raises(BadInput):
        decode_cursor(crafted(["lots", value]), "lots", kind)


def test_endless_cursors_are_not_read() -> None:
    """However good their beginning is."""
    for cursor in ("a" * 1_000_000, crafted(["lots", "9" * 5000]), crafted(["lots", [[]] * 5000])):
        with pytest.raises(BadInput):
            decode_cursor(cursor, "lots", int)


@given(st.integers())
def test_a_page_has_1_to_100_rows(size: int) -> None:
    """Null asks for 20."""
    if 1 <= size <= 100:
        assert require_page_size(size) == size
    else:
        with pytest.raises(BadInput, match="top must lie between 1 and 100"):
            require_page_size(size, "top")
    assert require_page_size(None) == 20


@given(st.lists(st.integers(), max_size=12), st.integers(1, 11), st.booleans())
def test_the_row_too_many_says_that_more_follow(rows: list[int], size: int, later: bool) -> None:
    """It is not shown itself, and every row has its cursor."""
    read = rows[: size + 1]
    page = page_of(read, size, str, has_previous=later)
    assert list(page.rows) == rows[:size]
    assert page.has_next is (len(rows) > size)
    assert (page.has_previous, list(page.cursors)) == (later, [str(row) for row in rows[:size]])
