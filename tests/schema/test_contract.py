"""What is served is what the contract says, but for the fields of later issues, which are absent.

`contract.graphql` beside this file is a copy, so that a plain clone can run this test.
"""

from pathlib import Path

import pytest
from graphql import (
    GraphQLArgument,
    GraphQLEnumType,
    GraphQLInputField,
    GraphQLInputObjectType,
    GraphQLInterfaceType,
    GraphQLNamedType,
    GraphQLObjectType,
    GraphQLSchema,
    GraphQLUnionType,
    build_schema,
)

from resolvers import root

COPY = Path(__file__).with_name("contract.graphql")
ORIGINAL = Path(__file__).parents[3] / "shared" / "contract.graphql"

CONTRACT = build_schema(COPY.read_text())
SERVED = build_schema(root.export_schema(root.build_schema()))  # as clients read it


def members(kind: GraphQLNamedType) -> dict[str, object]:
    """What a type consists of, by name."""
    if isinstance(kind, GraphQLEnumType):
        return dict(kind.values)
    if isinstance(kind, GraphQLUnionType):
        return {each.name: each.name for each in kind.types}
    return dict(getattr(kind, "fields", {}))


def names(schema: GraphQLSchema) -> set[str]:
    """Every type and every `Type.member`, but for GraphQL's own."""
    found = set()
    for name, kind in schema.type_map.items():
        if not name.startswith("__"):
            found |= {name, *(f"{name}.{member}" for member in members(kind))}
    return found


def _described(value: object) -> str:
    if isinstance(value, GraphQLArgument | GraphQLInputField):
        return f"{value.type} = {value.default_value!r}"
    return str(getattr(value, "type", ""))


def description(schema: GraphQLSchema, name: str) -> object:
    """What has to agree: kind and interfaces of a type; type, default and arguments of a member."""
    type_name, _, member_name = name.partition(".")
    kind = schema.type_map[type_name]
    if not member_name:
        interfaces = getattr(kind, "interfaces", ())
        return type(kind).__name__, sorted(each.name for each in interfaces)
    return _described(members(kind)[member_name])


def arguments(schema: GraphQLSchema, name: str) -> dict[str, GraphQLArgument]:
    """The arguments of a field."""
    type_name, _, member_name = name.partition(".")
    kind = schema.type_map[type_name]
    if not member_name or not isinstance(kind, GraphQLObjectType | GraphQLInterfaceType):
        return {}
    return dict(kind.fields[member_name].args)


NAMES = sorted(names(CONTRACT))


def test_the_copy_is_the_contract() -> None:
    """Word for word, where the original is at hand."""
    if not ORIGINAL.exists():
        pytest.skip("the contract is not beside this checkout")
    assert COPY.read_text() == ORIGINAL.read_text()


def test_everything_is_served() -> None:
    """Every type, field, input field, enum value and union member."""
    assert len(NAMES) > 250
    assert set(NAMES) - names(SERVED) == set()


@pytest.mark.parametrize("name", NAMES)
def test_it_is_served_exactly_so(name: str) -> None:
    """Kind, interfaces, type, nullability, default and arguments agree."""
    assert description(SERVED, name) == description(CONTRACT, name)
    expected = {key: _described(arg) for key, arg in arguments(CONTRACT, name).items()}
    served = {key: _described(arg) for key, arg in arguments(SERVED, name).items()}
    assert {key: served.get(key) for key in expected} == expected


def test_nothing_that_is_added_is_demanded() -> None:
    """The server may add arguments and input fields, if clients may leave them out."""
    added = [
        (name, key)
        for name in NAMES
        for key, argument in arguments(SERVED, name).items()
        if key not in arguments(CONTRACT, name) and str(argument.type).endswith("!")
    ]
    for name in names(SERVED) - set(NAMES):
        type_name, _, field = name.partition(".")
        kind = SERVED.type_map[type_name]
        if isinstance(kind, GraphQLInputObjectType) and type_name in NAMES and field:
            assert not str(kind.fields[field].type).endswith("!"), name
    assert added == []


def test_the_description_of_the_schema_is_what_clients_find() -> None:
    """`schema export` and introspection say the same."""
    assert names(SERVED) == names(root.graphql_schema(root.build_schema()))
