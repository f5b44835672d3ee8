"""The scalars of the contract, strict in both directions."""

import json
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any

import pytest
from graphql import GraphQLError, GraphQLScalarType
from hypothesis import given
from hypothesis import strategies as st

from resolvers.root import build_schema, graphql_schema

MOST = 2**53 - 1
TYPES = graphql_schema(build_schema()).type_map


def scalar(name: str) -> tuple[Callable[[Any], Any], Callable[[Any], Any]]:
    """How a scalar is read and written."""
    found = TYPES[name]
    assert isinstance(found, GraphQLScalarType)
    return found.parse_value, found.serialize


read_points, write_points = scalar("Points")
read_instant, write_instant = scalar("DateTime")
read_day, write_day = scalar("Date")
OFFSETS = st.integers(-14 * 60, 14 * 60).map(lambda m: timezone(timedelta(minutes=m)))
INSTANTS = st.datetimes(
    min_value=datetime.fromisoformat("0002-01-01"),
    max_value=datetime.fromisoformat("9998-12-31"),
    timezones=OFFSETS,
)


@given(st.integers(-MOST, MOST))
def test_points_come_back(points: int) -> None:
    """As JSON numbers, exactly, written with or without a fraction of nothing."""
    assert read_points(write_points(points)) == points
    assert read_points(json.loads(json.dumps(float(points)))) == points


@pytest.mark.parametrize(
    "value",
    [MOST + 1, -MOST - 1, 2.5, 1e300, float("inf"), float("nan"), "5", True, None, [], {}],
)
def test_what_is_no_number_of_points(value: Any) -> None:
    """Beyond 2^53-1, fractions, text, truth."""
    with pytest.raises(GraphQLError, match="whole number"):
        read_points(value)


@given(INSTANTS)
def test_instants_are_written_in_utc_and_come_back(instant: datetime) -> None:
    """With a Z, whatever offset they had."""
    text = write_instant(instant)
    assert text.endswith("Z")
    assert "+" not in text
    assert read_instant(text) == instant
    assert read_instant(instant.isoformat()) == instant
    assert read_instant(text).tzinfo is UTC


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-11-20T12:00:00+08:00", "2026-11-20T04:00:00Z"),
        ("2026-11-20t04:00:00z", "2026-11-20T04:00:00Z"),
        ("2026-11-20T04:00:00.5Z", "2026-11-20T04:00:00.500000Z"),
        ("2026-11-20T04:00:00.123456789Z", "2026-11-20T04:00:00.123456Z"),
        ("2024-02-29T00:00:00-00:00", "2024-02-29T00:00:00Z"),
    ],
)
def test_rfc_3339_is_read(text: str, expected: str) -> None:
    """Any offset, small letters, fractions down to the microsecond."""
    assert write_instant(read_instant(text)) == expected


@pytest.mark.parametrize(
    "value",
    [
        "",
        "now",
        "2026-11-20",
        "2026-11-20T04:00:00",
        "2026-11-20 04:00:00Z",
        "2026-11-20T04:00Z",
        "2026-11-20T04Z",
        "20261120T040000Z",
        "2026-W47-5T04:00:00Z",
        "2026-11-20T04:00:00+0800",
        "2026-11-20T04:00:00+08",
        "2026-11-20T04:00:00+08:00:30",
        "2026-11-20T04:00:00,5Z",
        "2026-11-20T04:00:00Z ",
        "2026-11-20T04:00:00Z\n",
        "２０２６-11-20T04:00:00Z",
        "2026-02-29T00:00:00Z",
        "2026-11-20T24:00:00Z",
        "2026-11-20T04:00:61Z",
        "0000-01-01T00:00:00Z",
        "0001-01-01T00:00:00+01:00",
        "9999-12-31T23:59:59-01:00",
        "2026-11-20T04:00:00+25:00",
        1_795_000_000,
        1.5,
        True,
        None,
        [],
    ],
)
def test_what_is_no_instant(value: Any) -> None:
    """No offset, another format, a moment that is none or that cannot be told in UTC."""
    with pytest.raises(GraphQLError, match="RFC 3339"):
        read_instant(value)


@given(st.dates())
def test_days_come_back(day: date) -> None:
    """As YYYY-MM-DD."""
    assert read_day(write_day(day)) == day
    assert len(write_day(day)) == 10


@pytest.mark.parametrize(
    "value", ["", "2026-02-29", "20261120", "2026-W47-5", "2026-11-20T00:00:00Z", 20261120, None]
)
def test_what_is_no_day(value: Any) -> None:
    """Another format, or a day that is none."""
    with pytest.raises(GraphQLError, match="YYYY-MM-DD"):
        read_day(value)


@pytest.mark.parametrize("value", ["2026-1-5", "2026-11-5", "2026-1-05"])
def test_a_day_has_two_digits_everywhere(value: str) -> None:
    """`YYYY-MM-DD`, as the contract says."""
    with pytest.raises(GraphQLError, match="YYYY-MM-DD"):
        read_day(value)


@given(st.one_of(st.text(), st.integers(), st.floats(), st.booleans(), st.none()))
def test_nothing_else_is_ever_raised(value: Any) -> None:
    """Whatever comes: a value or a GraphQLError."""
    for read in (read_points, read_instant, read_day):
        with suppress(GraphQLError):
            assert read(value) is not None
