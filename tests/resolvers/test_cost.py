"""What an operation may cost: each rule, and that the compiled price is the one of the rules."""

import inspect
import math
import re
from collections.abc import Iterator
from typing import Any

import httpx2
import orjson
import pytest
from graphql import (
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLError,
    GraphQLInt,
    GraphQLObjectType,
    OperationDefinitionNode,
    build_schema,
    parse,
    validate,
)
from hypothesis import given
from hypothesis import strategies as st

from resolvers.cost import MOST, WEIGHTS, Price, price_operations
from resolvers.root import build_schema as build_mall_schema
from resolvers.root import graphql_schema
from tests.resolvers.serving import make_endpoint, serve
from tests.resolvers.test_websocket import greeted, read, subscribe

SCHEMA = build_schema("""
type Query { word: String! thing: Thing things: [Thing!]! page(first: Int = 20): Page
    some(limit: Int! = 5): [Thing!]! either: Either }
type Mutation { change(word: String): Thing }
type Thing { word: String tags: [String!]! thing: Thing things: [Thing!]!
    page(first: Int = 20): Page around(window: Int = 5): [Thing!]! }
type Page { nodes: [Thing!]! edges: [Edge!]! total: Int! }
type Edge { cursor: String! node: Thing! }
type Experiment { results: Thing }
union Either = Thing | Experiment
""")


def prices(source: str) -> list[Price]:
    document = parse(source)
    assert validate(SCHEMA, document) == []
    nodes = [each for each in document.definitions if isinstance(each, OperationDefinitionNode)]
    return price_operations(SCHEMA, document, nodes)


def cost(source: str, **variables: Any) -> int:
    return prices(source)[0].of(variables)


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("{ word }", 1),
        ("{ __typename }", 0),
        ("{ __schema { types { name fields { name } } } }", 100),
        ("{ thing { word tags thing { word } } }", 2),
        ("{ things { word } }", 10),
        ("{ things { things { word } } }", 110),
        ("{ page { total } }", 1),
        ("{ page { nodes { word } } }", 21),
        ("{ page(first: 3) { nodes { word } } }", 4),
        ("{ page(first: 3) { edges { cursor node { word } } nodes { word } } }", 10),
        ("{ page(first: 3) { nodes { page(first: 4) { nodes { word } } } } }", 19),
        ("{ page(first: 3) { nodes { things { word } } } }", 34),
        ("{ some { word } }", 5),
        ("{ some(limit: 7) { thing { word } } }", 14),
        ("{ thing { around(window: 2) { word } } }", 5),
        ("{ page(first: 0) { nodes { word } } }", 2),
        ("{ page(first: -7) { nodes { word } } }", 2),
        ("{ page(first: 2147483647) { nodes { word } } }", 1_001),
        (
            "{ either { ... on Thing { thing { word } } ... on Experiment { results { word } } } }",
            102,
        ),
        ("mutation { change { thing { word } } a: change { word } }", 21),
        ("{ ...F ...F } fragment F on Query { thing { word } word }", 4),
        ("{ page(first: 3) { ...P } } fragment P on Page { nodes { word } total }", 4),
    ],
)
def test_rules(source: str, expected: int) -> None:
    assert cost(source) == expected


@pytest.mark.parametrize(
    ("value", "nodes"),
    [
        (3, 3),
        (0, 1),
        (-1, 1),
        (10**30, 1_000),
        (3.0, 3),
        (1e300, 1_000),
        # None of these is an Int: what they are given to is refused when it runs.
        (None, 20),
        ("3", 20),
        ([3], 20),
        (2.5, 20),
        (math.inf, 20),
        (math.nan, 20),
    ],
)
def test_variables_of_any_kind_are_put_in(value: object, nodes: int) -> None:
    source = "query ($n: Int) { page(first: $n) { nodes { thing { word } } } }"
    assert cost(source, n=value) == 1 + 2 * nodes


@given(st.integers(-(2**31), 2**31 - 1))
def test_a_number_costs_the_same_however_it_is_written(number: int) -> None:
    source = "query ($n: Int) { page(first: $n) { nodes { thing { word } } } }"
    assert cost(source, n=float(number)) == cost(source, n=number)


def test_whatever_is_taken_for_an_int_is_priced_as_that_int() -> None:
    source = "query ($n: Int) { page(first: $n) { nodes { word } } }"
    for written in ("37", "37.0", "3.7e1", '"37"', "[37]", "true", "37.5"):
        value = orjson.loads(written)
        try:
            taken = GraphQLInt.parse_value(value)
        except GraphQLError:
            continue
        assert cost(source, n=value) == 1 + taken, written


def test_a_variable_that_is_left_out_has_its_own_default_or_the_arguments() -> None:
    body = "{ page(first: $n) { nodes { word } } }"
    assert cost(f"query ($n: Int) {body}") == 21
    assert cost(f"query ($n: Int = 50) {body}") == 51
    assert cost(f"query ($n: Int = 50) {body}", n=2) == 3


def test_operations_of_one_document_have_their_own_defaults() -> None:
    fragment = "fragment F on Query { page(first: $n) { nodes { word } } }"
    source = f"query A($n: Int = 2) {{ ...F }} query B($n: Int = 4) {{ ...F word }} {fragment}"
    first, second = prices(source)
    assert (first.of({}), second.of({}), second.of({"n": 9})) == (3, 6, 11)


def test_a_bomb_is_measured_in_as_many_steps_as_it_has_fragments_and_stays_a_small_number() -> None:
    levels = 60
    fragments = " ".join(
        f"fragment f{n} on Thing {{ a: page(first: $n) {{ nodes {{ ...f{n + 1} ...f{n + 1} }} }} }}"
        for n in range(levels)
    )
    last = f"fragment f{levels} on Thing {{ thing {{ word }} }}"
    price = prices(f"query ($n: Int) {{ thing {{ ...f0 }} }} {fragments} {last}")[0]
    assert len(price.steps) <= 3 * levels + 1
    assert price.of({"n": 100}) == MOST


selections = st.deferred(
    lambda: st.lists(
        st.one_of(
            st.sampled_from(["word", "__typename"]),
            st.sampled_from(["...A", "...B"]),
            selections.map(lambda inner: f"thing {inner}"),
            selections.map(lambda inner: f"things {inner}"),
            st.tuples(st.sampled_from(["1", "7", "$n", "$m"]), selections).map(
                lambda each: f"page(first: {each[0]}) {{ total nodes {each[1]} }}"
            ),
        ),
        min_size=1,
        max_size=3,
    ).map(_aliased)
)


def _aliased(chosen: list[str]) -> str:
    # Aliases, so that the same field may stand twice with different arguments.
    named = [each if each.startswith(".") else f"{_name(each)}: {each}" for each in chosen]
    return "{ " + " ".join(named) + " }"


def _name(text: str) -> str:
    return "k" + format(abs(hash(text)), "x")


def _expanded(node: Any, fragments: dict[str, Any], variables: dict[str, int]) -> int:
    """The same rules, with every fragment written out: exponential, and easy to read."""
    total = 0
    for each in node.selection_set.selections:
        if isinstance(each, FragmentSpreadNode):
            total += _expanded(fragments[each.name.value], fragments, variables)
        elif isinstance(each, FieldNode) and each.selection_set:
            inner = _expanded(each, fragments, variables)
            match each.name.value:
                case "thing":
                    total += 1 + inner
                case "things":
                    total += 10 * (1 + inner)
                case "page":
                    size: Any = each.arguments[0].value
                    number = variables.get(size.name.value) if hasattr(size, "name") else size.value
                    total += 1 + int(number or 0) * inner
                case _:  # nodes, as often as the page is long
                    total += 1 + inner
    return total


@given(selections, selections, selections, st.integers(1, 100), st.integers(1, 100))
def test_the_price_is_that_of_the_expanded_document(
    root: str, first: str, second: str, n: int, m: int
) -> None:
    second = second.replace("...A", "word").replace("...B", "word")
    first = first.replace("...A", "...B")
    source = (
        f"query ($n: Int, $m: Int) {{ thing {root} }}"
        f" fragment A on Thing {first} fragment B on Thing {second}"
    )
    document = parse(source)
    nodes = [each for each in document.definitions if isinstance(each, OperationDefinitionNode)]
    fragments = {
        each.name.value: each
        for each in document.definitions
        if isinstance(each, FragmentDefinitionNode)
    }
    variables = {"n": n, "m": m}
    expected = _expanded(nodes[0], fragments, variables)
    assert price_operations(SCHEMA, document, nodes)[0].of(variables) == min(expected, MOST)


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


async def test_what_an_operation_cost_is_said_and_too_much_refused() -> None:
    nested = "{ thing { child { name } } }"
    async with (
        serve(make_endpoint(max_cost=2)) as address,
        httpx2.AsyncClient(base_url=f"http://{address}") as client,
    ):
        answer = await client.post("", json={"query": nested})
        assert answer.json()["extensions"] == {"cost": {"requested": 2, "maximum": 2}}
        query = "{ thing { child { child { name } } } }"
        for accept, status in (("*/*", 200), ("application/graphql-response+json", 400)):
            answer = await client.post("", json={"query": query}, headers={"accept": accept})
            assert answer.status_code == status
            (error,) = answer.json()["errors"]
            assert error["extensions"] == {
                "code": "COST_LIMITED",
                "cost": {"requested": 3, "maximum": 2},
            }
            assert "data" not in answer.json()
        async with greeted(address) as socket:
            await subscribe(socket, nested)
            told = await read(socket)
            assert told["payload"]["extensions"]["cost"]["requested"] == 2
            await read(socket)
            await subscribe(socket, query)
            refused = await read(socket)
            assert refused["type"] == "error"
            assert refused["payload"][0]["extensions"]["code"] == "COST_LIMITED"


def test_every_field_that_waits_is_batched_or_has_a_weight() -> None:
    """Else what it reads is read for nothing, as often as it is asked for under another alias."""
    batched = re.compile(r"\bloaders\b|\bload_\w+\(|\b_progress\(|\bread_around\(")
    roots = {"Query", "Mutation", "Subscription"}
    unweighed = [
        (type_.name, name)
        for type_ in graphql_schema(build_mall_schema()).type_map.values()
        if isinstance(type_, GraphQLObjectType) and type_.name not in roots
        for name, resolver in _resolvers(type_)
        if resolver.is_async and not batched.search(inspect.getsource(resolver.wrapped_func))
    ]
    # The lots of a member are counted by a loader, of which their page only holds the question.
    unweighed.remove(("PointsRecordConnection", "totalCount"))
    assert set(unweighed) <= WEIGHTS.keys()


def _resolvers(type_: GraphQLObjectType) -> Iterator[tuple[str, Any]]:
    for name, field in type_.fields.items():
        definition = field.extensions.get("strawberry-definition")
        if definition is not None and definition.base_resolver is not None:
            yield name, definition.base_resolver
