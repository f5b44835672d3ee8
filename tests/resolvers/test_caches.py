"""Documents are parsed and validated once, and no document takes long."""

import time

import pytest
from graphql import GraphQLSchema, get_introspection_query

from resolvers.caches import DocumentCache
from resolvers.documents import PreparedDocument, prepare_document
from resolvers.limits import MAX_ALIASES, MAX_DEPTH
from resolvers.operation_requests import OperationRequest
from resolvers.operations import Operations
from tests.resolvers.serving import make_schema

_LEVELS = 60


@pytest.fixture(scope="module")
def schema() -> GraphQLSchema:
    return make_schema()._schema


def codes(prepared: PreparedDocument) -> set[str]:
    return {str((error.extensions or {})["code"]) for error in prepared.errors}


def nested(depth: int) -> str:
    return "{ thing" + " { child" * (depth - 2) + " { name }" + " }" * (depth - 1)


def bomb(parent: str, selections: str, last: str) -> str:
    fragments = " ".join(
        f"fragment f{level} on {parent} {{ {selections.replace('NEXT', f'...f{level + 1}')} }}"
        for level in range(_LEVELS)
    )
    return f"{fragments} fragment f{_LEVELS} on {parent} {{ {last} }}"


def timed(schema: GraphQLSchema, source: str) -> tuple[PreparedDocument, float]:
    """Prepare three times; return the outcome and the shortest processor time in ms."""
    elapsed_ms: list[float] = []
    for _ in range(3):
        started_at = time.process_time()
        prepared = prepare_document(schema, source)
        elapsed_ms.append((time.process_time() - started_at) * 1_000)
    return prepared, min(elapsed_ms)


def test_a_text_is_prepared_once(schema: GraphQLSchema) -> None:
    cache = DocumentCache(schema)
    first = cache.prepare("{ hello }")
    assert cache.prepare("{ " + "hello }") is first
    assert (cache.hits, cache.misses, len(cache)) == (1, 1, 1)
    refused = cache.prepare("{ nothing }")
    assert cache.prepare("{ nothing }") is refused
    assert (cache.hits, cache.misses, len(cache)) == (2, 2, 2)


def test_what_was_used_last_stays(schema: GraphQLSchema) -> None:
    cache = DocumentCache(schema, max_entries=10)
    kept = [cache.prepare(f"{{ a{number}: hello }}") for number in range(8) for _ in range(2)]
    assert cache.prepare("{ a0: hello }") is kept[0]
    for _ in range(2):
        cache.prepare("{ b: hello }")  # in the place of a1, which is on probation again
    assert cache.prepare("{ a0: hello }") is kept[0]
    assert len(cache) == 9
    assert cache.misses == 9
    cache.prepare("{ c: hello }")
    cache.prepare("{ a1: hello }")
    assert cache.misses == 11


def test_a_flood_of_other_documents_pushes_out_nothing_that_is_used(schema: GraphQLSchema) -> None:
    """However many come between two uses, valid ones and refused ones."""
    cache = DocumentCache(schema, max_entries=100)
    usual = [f"{{ usual{number}: hello }}" for number in range(50)]
    for source in (each for each in usual for _ in range(2)):
        cache.prepare(source)
    for number in range(500):
        cache.prepare(f"{{ valid{number}: hello }}")
        cache.prepare(f"{{ refused{number} }}")
        cache.prepare(f"{{ unparsed{number}")
    hits = cache.hits
    for source in usual:
        cache.prepare(source)
    assert cache.hits - hits == len(usual)
    assert len(cache) <= 100


async def _nobody() -> None:
    pass


async def test_usual_traffic_hits_with_every_limit_on(schema: GraphQLSchema) -> None:
    """More than 99 in 100, whatever the variables say."""
    operations = Operations(make_schema(), lambda _: None, max_cost=100)
    sources = [
        f"query Q{number}($t: String) {{ a: echo(text: $t) @include(if: true) thing {{ name }} }}"
        for number in range(20)
    ]
    for number in range(3_000):
        request = OperationRequest(sources[number % 20], {"t": str(number)}, None, None)
        attempt = operations.attempt()
        if operations.known(request, attempt) is None:
            await operations.learn(request, attempt, _nobody)
        assert attempt.operation is not None
        operations.weigh(attempt.operation, request.variables)
    documents = operations.documents
    assert documents.hits / (documents.hits + documents.misses) > 0.99


def test_long_texts_are_not_kept(schema: GraphQLSchema) -> None:
    cache = DocumentCache(schema, max_cached_characters=20, max_total_characters=300)
    cache.prepare("{ hello } # " + "x" * 20)
    assert len(cache) == 0
    cache.prepare("{ hello } # xxxx")
    cache.prepare("{ hello } # yyyy")
    assert (len(cache), cache.misses) == (1, 3)


def test_operations_are_found_by_name(schema: GraphQLSchema) -> None:
    alone = prepare_document(schema, "query A { hello }")
    assert set(alone.operations) == {"A", None}
    several = prepare_document(schema, "query A { hello } query B { hello }")
    assert set(several.operations) == {"A", "B"}


def test_introspection_is_always_allowed(schema: GraphQLSchema) -> None:
    for options in ({}, {"input_value_deprecation": True, "directive_is_repeatable": True}):
        assert prepare_document(schema, get_introspection_query(**options)).errors == ()


def test_depth_is_limited_to_the_level(schema: GraphQLSchema) -> None:
    assert prepare_document(schema, nested(MAX_DEPTH)).errors == ()
    refused = prepare_document(schema, nested(MAX_DEPTH + 1))
    assert codes(refused) == {"GRAPHQL_VALIDATION_FAILED"}
    hidden = "{ thing { ...F } } fragment F on Thing { child" + nested(MAX_DEPTH)[7:]
    assert "depth" in prepare_document(schema, hidden).errors[0].message


def test_aliases_are_counted_as_often_as_they_are_spread(schema: GraphQLSchema) -> None:
    fragment = "fragment F on Query { " + " ".join(f"f{n}: hello" for n in range(10)) + " }"
    allowed = "{ " + "...F " * (MAX_ALIASES // 10) + "} " + fragment
    assert prepare_document(schema, allowed).errors == ()
    refused = prepare_document(schema, "{ a: hello " + allowed[1:])
    assert "aliases" in refused.errors[0].message


def test_a_cycle_of_fragments_is_refused(schema: GraphQLSchema) -> None:
    cycle = "{ ...A } fragment A on Query { ...B } fragment B on Query { ...A hello }"
    prepared = prepare_document(schema, cycle)
    assert codes(prepared) == {"GRAPHQL_VALIDATION_FAILED"}
    assert "spread" in prepared.errors[0].message


def test_undefined_fragments_and_variables_are_refused(schema: GraphQLSchema) -> None:
    for query in ("{ ...Nowhere }", "{ echo(text: $text) }"):
        assert codes(prepare_document(schema, query)) == {"GRAPHQL_VALIDATION_FAILED"}


@pytest.mark.parametrize(
    "source",
    [
        "{ ...f0 } " + bomb("Query", "NEXT NEXT", "hello"),
        "{ thing { ...f0 } } " + bomb("Thing", "a: child { NEXT } b: child { NEXT }", "name"),
        "{ thing { ...f0 } } " + bomb("Thing", "child { NEXT } child { NEXT }", "name"),
        bomb("Query", "NEXT NEXT", "hello") * 2,
        "{" + " thing { name }" * 1_100 + " }",
        "{" + ' thing { echo(text: "a") }' * 499 + " }",
        "{" + (" thing {" + " child { name }" * 9 + " }") * 52 + " }",
        "{" + " hello" * 4_900 + " }",
        "{" + "".join(f" a{number}: hello" for number in range(1_600)) + " }",
        "{" + "".join(f" thing{number}" for number in range(990)) + " }",
        "{ thing" + " { child" * 190 + " }" * 191,
        "{ ...f0 } " + " ".join(f"fragment f{n} on Query {{ ...f{n + 1} }}" for n in range(600)),
        " ".join(f"query q{number} {{ hello }}" for number in range(900)),
    ],
    ids=range(13),
)
def test_no_document_takes_long_to_refuse(schema: GraphQLSchema, source: str) -> None:
    prepared, elapsed_ms = timed(schema, source)
    assert codes(prepared) <= {"GRAPHQL_VALIDATION_FAILED", "GRAPHQL_PARSE_FAILED"}
    assert prepared.errors
    assert elapsed_ms < 200  # four times what the slowest takes, for the sake of slow machines


def test_a_fragment_bomb_takes_milliseconds(schema: GraphQLSchema) -> None:
    for source in (
        "{ ...f0 } " + bomb("Query", "NEXT NEXT", "hello"),
        "{ thing { ...f0 } } " + bomb("Thing", "a: child { NEXT } b: child { NEXT }", "name"),
    ):
        prepared, elapsed_ms = timed(schema, source)
        assert prepared.errors
        assert elapsed_ms < 50
