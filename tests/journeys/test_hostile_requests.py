"""What is made to hurt costs the mall next to nothing, and keeps no cache from hitting.

Against the application as it is served, with every limit as it is set by default.
"""

import asyncio
import json
import random
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest
from starlette.types import Message

from app import MallApplication, create_app
from schema.ids import encode_id
from services.mall import Mall
from services.persisted import hash_of
from settings import GraphQLSettings, LimitSettings, Settings
from tests.client import Client
from tests.clock import MovableClock
from tests.conftest import SECRET
from tests.factories import add_item
from tests.measured import scrape
from tests.resolvers.test_hostile import nested, query
from tests.serving import serving

MOST_MS = 50
BOMB = "{ me { ...f0 } } fragment f60 on User { id } " + " ".join(
    f"fragment f{n} on User {{ ...f{n + 1} ...f{n + 1} }}" for n in range(60)
)
ITEMS = "query ($filter: ExchangeItemFilter) { items(filter: $filter) { totalCount } }"
HOSTILE: dict[str, tuple[str, Callable[[str], str]]] = {
    "fragment bomb": ("GRAPHQL_VALIDATION_FAILED", lambda new: query(BOMB + new)),
    "10,000 aliases": (
        "GRAPHQL_PARSE_FAILED",
        lambda new: query(f"{{{new}" + " ".join(f"a{n}: me {{ id }}" for n in range(10_000)) + "}"),
    ),
    "10,000 directives": (
        "GRAPHQL_PARSE_FAILED",
        lambda new: query(f"{{{new} me" + " @skip(if: true)" * 10_000 + " { id }}"),
    ),
    "1 MiB": ("GRAPHQL_PARSE_FAILED", lambda new: query(f"{{{new}" + " me { id }" * 105_000 + "}")),
    "deep variables": ("BAD_USER_INPUT", lambda new: query(ITEMS + new, filter=nested(200))),
    "wide variables": ("BAD_USER_INPUT", lambda new: query(ITEMS + new, filter=[0] * 500_000)),
    "a batch": (
        "BAD_USER_INPUT",
        lambda new: json.dumps([{"query": "{ me { id } }" + new}] * 1_000),
    ),
    "introspection": (
        "GRAPHQL_VALIDATION_FAILED",
        lambda new: query("{ __schema { types { name } } }" + new),
    ),
}


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """As in production: nothing tells of the schema, and every limit holds."""
    graphql = GraphQLSettings(introspection=False)
    return replace(settings, graphql=graphql, limits=LimitSettings())


async def server_time(app: MallApplication, body: bytes, token: str) -> tuple[float, Any]:
    """How many ms of its thread the application takes for a request, and what it answers."""
    headers = {"content-type": "application/json", "authorization": f"Bearer {token}"}
    waiting: Iterator[Message] = iter([{"type": "http.request", "body": body}])
    said: list[Message] = []

    async def receive() -> Message:
        return next(waiting, {"type": "http.disconnect"})

    async def send(message: Message) -> None:
        said.append(message)

    scope = {
        "type": "http",
        "method": "POST",
        "path": "/graphql",
        "query_string": b"",
        "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
        "client": ("192.0.2.1", 50_000),
    }
    began_at_s = time.thread_time()
    await app(scope, receive, send)
    took_ms = (time.thread_time() - began_at_s) * 1_000
    return took_ms, orjson.loads(b"".join(each.get("body", b"") for each in said))


async def test_each_is_refused_in_under_50_ms_of_server_time(
    settings: Settings, clock: MovableClock, mall: Mall
) -> None:
    """Of who may send the longest bodies. Not timed by the clock: what else runs does not count."""
    del mall  # verifies the books
    app = create_app(settings, clock)
    token = Client("http://nowhere", SECRET).token("olga", "operator")
    async with app.router.lifespan_context(app):
        await server_time(app, query("{ me { id } }").encode(), token)
        for name, (code, make) in HOSTILE.items():
            bodies = [make(" " * number).encode() for number in range(3)]  # three new documents
            told = [await server_time(app, body, token) for body in bodies]
            for _, answer in told:
                assert {each["extensions"]["code"] for each in answer["errors"]} == {code}, name
                assert "data" not in answer
            assert min(took_ms for took_ms, _ in told) < MOST_MS, name


MEMBERS = ("alice", "bob", "carol", "dave")
USUAL = {
    "Items": "query Items($first: Int!, $search: String)"
    " { items(first: $first, filter: {search: $search}) { nodes { id name } } }",
    "Lots": "query Lots($shown: Boolean!, $first: Int!)"
    " { balance { available lots(first: $first) @include(if: $shown) { nodes { id } } } }",
    "Board": "query Board($top: Int!) { leaderboard(top: $top) { entries { rank } } }",
    "Node": "query Node($id: ID!) { node(id: $id) { id } }",
    "Wish": "mutation Wish($input: SetWishedInput!) { setWished(input: $input) { __typename } }",
}
REFUSED = ("fragment bomb", "10,000 directives", "introspection")


def usual_request(generated: random.Random, item: str) -> dict[str, Any]:
    """One of a few documents, by its text or its hash, with variables of its own."""
    name = generated.choice(list(USUAL))
    variables = {
        "Items": {"first": generated.randint(1, 20), "search": f"tea {generated.random()}"},
        "Lots": {"shown": generated.random() < 0.5, "first": generated.randint(1, 50)},
        "Board": {"top": generated.randint(1, 50)},
        "Node": {"id": encode_id("ExchangeItem", generated.randint(1, 10**9))},
        "Wish": {"input": {"itemId": item, "wished": generated.random() < 0.5}},
    }[name]
    request = {"operationName": name, "variables": variables}
    if generated.random() < 0.5:
        return {**request, "query": USUAL[name]}
    return {**request, "extensions": by_hash(name)}


def by_hash(name: str) -> dict[str, Any]:
    return {"persistedQuery": {"version": 1, "sha256Hash": hash_of(USUAL[name])}}


@pytest.fixture(params=["off", "log"])
async def usual_client(
    request: pytest.FixtureRequest,
    settings: Settings,
    mall: Mall,
    clock: MovableClock,
    tmp_path: Path,
) -> AsyncIterator[Client]:
    """A client of a server that knows the usual documents for safe, or looks at no list."""
    del mall
    operations = [{"id": hash_of(body), "body": body} for body in USUAL.values()]
    manifest = {"format": "apollo-persisted-query-manifest", "operations": operations}
    path = tmp_path / "manifest.json"
    path.write_text(json.dumps(manifest))
    graphql = GraphQLSettings(introspection=False, safelist=request.param, safelist_file=path)
    async with (
        serving(replace(settings, graphql=graphql), clock) as address,
        Client(address, SECRET) as client,
    ):
        yield client


async def test_more_than_99_in_100_documents_are_known(usual_client: Client, mall: Mall) -> None:
    """With members, limits, persisted queries, a safelist; and somebody who sends bad ones."""
    client = usual_client
    generated = random.Random(7)
    item = encode_id("ExchangeItem", await add_item(mall))
    tokens = [client.token(name) for name in MEMBERS]

    async def ask(request: dict[str, Any], token: str) -> dict[str, Any]:
        headers = {"Authorization": f"Bearer {token}"}
        return (await client.http.post("/graphql", json=request, headers=headers)).json()

    for name, text in USUAL.items():
        await ask({"query": text, "extensions": by_hash(name), "operationName": name}, tokens[0])
    for name in REFUSED:
        body = HOSTILE[name][1]("")
        await client.http.post(
            "/graphql", content=body, headers={"content-type": "application/json"}
        )
    for _ in range(50):
        requests = [(usual_request(generated, item), token) for token in tokens for _ in range(5)]
        for answer in await asyncio.gather(*(ask(*each) for each in requests)):
            assert "errors" not in answer
    documents = (await scrape(client.http)).by("graphql_documents_total", "cache")
    assert documents["hit"] + documents["miss"] == 50 * 20 + len(USUAL) + len(REFUSED)
    assert documents["hit"] / (documents["hit"] + documents["miss"]) > 0.99
