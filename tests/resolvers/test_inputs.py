"""Reading input objects as Strawberry does, only prepared."""

from datetime import UTC, datetime
from enum import Enum
from typing import Any

import pytest
import strawberry
from strawberry.schema.config import StrawberryConfig
from strawberry.types.base import get_object_definition

from resolvers.inputs import prepare_inputs
from resolvers.root import graphql_schema


@strawberry.enum
class Size(Enum):
    SMALL = "small"


@strawberry.input
class Part:
    name: str
    sizes: list[Size] | None = None


@strawberry.input
class Whole:
    title: str
    count: int | None
    note: str | None = "none"
    made_at: datetime | None = None
    part: Part | None = None
    parts: list[Part] = strawberry.field(default_factory=list)
    rest: "Whole | None" = None


seen: list[Whole] = []


@strawberry.type
class Query:
    @strawberry.field
    def keep(self, whole: Whole) -> bool:
        seen.append(whole)
        return True


def _read(literal: str, *, prepared: bool) -> Whole:
    for kind in (Part, Whole):
        definition = get_object_definition(kind, strict=True)
        definition.from_input = None
    config = StrawberryConfig()
    schema = strawberry.Schema(Query, config=config)
    if prepared:
        prepare_inputs(graphql_schema(schema), config.name_converter)
    result = schema.execute_sync(f"{{ keep(whole: {literal}) }}")
    assert result.errors is None
    return seen.pop()


@pytest.mark.parametrize(
    "literal",
    [
        '{title: "a"}',
        '{title: "a", count: 1, note: null}',
        '{title: "a", madeAt: "2026-01-01T00:00:00Z"}',
        '{title: "a", part: {name: "p", sizes: [SMALL, SMALL]}}',
        '{title: "a", part: null, parts: [{name: "p"}, {name: "q", sizes: []}]}',
        '{title: "a", rest: {title: "b", parts: [], rest: {title: "c"}}}',
    ],
)
def test_what_is_read_is_what_strawberry_reads(literal: str) -> None:
    """Defaults, nulls, enums, lists, inputs in inputs, an input in itself."""
    assert _read(literal, prepared=True) == _read(literal, prepared=False)


def test_values_are_of_their_types() -> None:
    """Python names, parsed scalars, enum members, nested dataclasses."""
    whole: Any = _read(
        '{title: "a", madeAt: "2026-01-01T00:00:00Z", part: {name: "p", sizes: [SMALL]}}',
        prepared=True,
    )
    assert whole.made_at == datetime(2026, 1, 1, tzinfo=UTC)
    assert (whole.part, whole.count) == (Part(name="p", sizes=[Size.SMALL]), None)
