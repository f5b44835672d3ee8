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

# What later issues bring. Everything named here must be absent: a field that is served is compared.
_PENDING_QUERIES = """
    kpis
"""
_PENDING_MUTATIONS = """
    submitSatisfaction
"""
_PENDING_MEMBERS = ""
_PENDING_TYPES = """
    KpiDay KpiReport KpiTarget
"""


def _pending() -> set[str]:
    """Names of types, and of members as `Type.member`."""
    mutations = _PENDING_MUTATIONS.split()
    of_mutations = {
        name[0].upper() + name[1:] + suffix
        for name in mutations
        for suffix in ("Input", "Success", "Result")
    }
    return (
        {f"Query.{name}" for name in _PENDING_QUERIES.split()}
        | {f"Mutation.{name}" for name in mutations}
        | of_mutations
        | {*_PENDING_MEMBERS.split(), *_PENDING_TYPES.split()}
    )


PENDING = _pending()
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


def is_pending(name: str) -> bool:
    """Whether a later issue brings it, or the type it belongs to."""
    return name in PENDING or name.partition(".")[0] in PENDING


NOW = sorted(name for name in names(CONTRACT) if not is_pending(name))


def test_the_copy_is_the_contract() -> None:
    """Word for word, where the original is at hand."""
    if not ORIGINAL.exists():
        pytest.skip("the contract is not beside this checkout")
    assert COPY.read_text() == ORIGINAL.read_text()


def test_what_is_pending_is_in_the_contract_and_absent() -> None:
    """A name that is misspelt, or served already, does not belong on the list."""
    assert PENDING - names(CONTRACT) == set()
    assert {name for name in names(SERVED) if is_pending(name)} == set()


def test_everything_else_is_served() -> None:
    """Every type, field, input field, enum value and union member."""
    assert len(NOW) > 250
    assert set(NOW) - names(SERVED) == set()


@pytest.mark.parametrize("name", NOW)
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
        for name in NOW
        for key, argument in arguments(SERVED, name).items()
        if key not in arguments(CONTRACT, name) and str(argument.type).endswith("!")
    ]
    for name in names(SERVED) - set(NOW):
        type_name, _, field = name.partition(".")
        kind = SERVED.type_map[type_name]
        if isinstance(kind, GraphQLInputObjectType) and type_name in NOW and field:
            assert not str(kind.fields[field].type).endswith("!"), name
    assert added == []


def test_the_description_of_the_schema_is_what_clients_find() -> None:
    """`schema export` and introspection say the same."""
    assert names(SERVED) == names(root.graphql_schema(root.build_schema()))
