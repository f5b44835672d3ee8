"""How large a document and its variables may be: at each limit, and one beyond it."""

from typing import Any

import pytest
from graphql import GraphQLError, parse

from resolvers.limits import (
    MAX_DIRECTIVES,
    MAX_DIRECTIVES_AT_A_PLACE,
    MAX_OPERATIONS,
    MAX_ROOT_FIELDS,
    MAX_VARIABLE_DEPTH,
    MAX_VARIABLE_VALUES,
    MAX_VARIABLES,
    check_limits,
    check_variables,
)


def directives(places: int, at_each: int = 1) -> str:
    return "{ a " + " ".join("b" + " @skip(if: true)" * at_each for _ in range(places)) + " }"


def aliased(number: int) -> str:
    return "{ ...F ... { " + " ".join(f"a{n}: x" for n in range(number - 1)) + " } } "


@pytest.mark.parametrize(
    ("allowed", "refused", "what"),
    [
        (directives(MAX_DIRECTIVES), directives(MAX_DIRECTIVES + 1), "directives"),
        (
            directives(1, MAX_DIRECTIVES_AT_A_PLACE),
            directives(1, MAX_DIRECTIVES_AT_A_PLACE + 1),
            "directives in a place",
        ),
        (
            aliased(MAX_ROOT_FIELDS) + "fragment F on Query { z z z }",
            aliased(MAX_ROOT_FIELDS) + "fragment F on Query { z y }",
            "fields at its root",
        ),
        (
            " ".join(f"query q{n} {{ a }}" for n in range(MAX_OPERATIONS)),
            " ".join(f"query q{n} {{ a }}" for n in range(MAX_OPERATIONS + 1)),
            "operations",
        ),
        (
            "query (" + " ".join(f"$v{n}: Int" for n in range(MAX_VARIABLES)) + ") { a }",
            "query (" + " ".join(f"$v{n}: Int" for n in range(MAX_VARIABLES + 1)) + ") { a }",
            "variables",
        ),
    ],
)
def test_documents(allowed: str, refused: str, what: str) -> None:
    check_limits(parse(allowed))
    with pytest.raises(GraphQLError, match=what):
        check_limits(parse(refused))


@pytest.mark.parametrize(
    "place",
    [
        "query X DIRECTIVES { a }",
        "query ($v: Int DIRECTIVES) { a }",
        "{ ...F } fragment F on Query DIRECTIVES { a }",
        "{ ...F DIRECTIVES } fragment F on Query { a }",
        "{ ... DIRECTIVES { a } }",
    ],
)
def test_directives_count_wherever_they_stand(place: str) -> None:
    too_many = "@d " * (MAX_DIRECTIVES_AT_A_PLACE + 1)
    with pytest.raises(GraphQLError, match="directives in a place"):
        check_limits(parse(place.replace("DIRECTIVES", too_many)))


def nested(depth: int) -> Any:
    value: Any = 1
    for level in range(depth):
        value = [value] if level % 2 else {"key": value}
    return value


class _Watched(list[int]):
    """A list that must not be looked into."""

    def __iter__(self) -> Any:
        raise AssertionError("it was looked into")


def test_variables() -> None:
    assert check_variables([nested(MAX_VARIABLE_DEPTH), "x", None]) is None
    assert "nested" in str(check_variables([nested(MAX_VARIABLE_DEPTH + 1)]))
    assert check_variables([[0] * (MAX_VARIABLE_VALUES - 1)]) is None
    assert "values" in str(check_variables([_Watched([0] * MAX_VARIABLE_VALUES)]))
