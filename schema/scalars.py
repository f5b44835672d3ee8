"""The scalars of the contract, strict in both directions."""

import re
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any, NewType

import strawberry
from graphql import GraphQLError
from strawberry.scalars import JSON

from models.base import MAX_POINTS

_DAY = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
_RFC_3339 = re.compile(
    r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d{1,9})?([Zz]|[+-]\d\d:\d\d)", re.ASCII
)

if TYPE_CHECKING:
    Points = int
else:
    Points = NewType("Points", int)


def _parse_points(value: Any) -> int:
    # A bool is an int to Python; 5.0 is a whole number to JSON and to a JavaScript client.
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if type(value) is not int or not -MAX_POINTS <= value <= MAX_POINTS:
        raise GraphQLError(f"Points must be a whole number within ±{MAX_POINTS}")
    return value


def _parse_instant(value: Any) -> datetime:
    problem = GraphQLError("DateTime must be RFC 3339 with an offset")
    if not isinstance(value, str) or not _RFC_3339.fullmatch(value):
        raise problem
    try:
        return datetime.fromisoformat(value.upper()).astimezone(UTC)
    except (ValueError, OverflowError):
        raise problem from None


def _write_instant(instant: datetime) -> str:
    return instant.astimezone(UTC).isoformat().replace("+00:00", "Z")


def _parse_day(value: Any) -> date:
    problem = GraphQLError("Date must be YYYY-MM-DD")
    if not isinstance(value, str) or not _DAY.fullmatch(value):
        raise problem
    try:
        return date.fromisoformat(value)
    except ValueError:
        raise problem from None


SCALARS: dict[object, Any] = {
    Points: strawberry.scalar(
        name="Points",
        description="A whole number of points, between -(2^53-1) and 2^53-1.",
        serialize=int,
        parse_value=_parse_points,
    ),
    datetime: strawberry.scalar(
        name="DateTime",
        description="An instant, RFC 3339 in UTC with a `Z`, microseconds at most.",
        serialize=_write_instant,
        parse_value=_parse_instant,
    ),
    date: strawberry.scalar(
        name="Date",
        description="A calendar day in the mall's time zone, `YYYY-MM-DD`.",
        serialize=date.isoformat,
        parse_value=_parse_day,
    ),
}

__all__ = ["JSON", "SCALARS", "Points"]
