"""Requests that are made to hurt: each is refused, and says with which code."""

import json
from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest

from tests.resolvers.serving import make_endpoint, serve


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
async def address() -> AsyncIterator[str]:
    endpoint = make_endpoint(max_cost=1_000, introspection=False, max_body_bytes=4 * 1024**2)
    async with serve(endpoint) as address:
        yield address


def nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


def query(text: str, **variables: Any) -> str:
    return json.dumps({"query": text, "variables": variables})


BOMB = "{ thing { ...f0 } } fragment f60 on Thing { name } " + " ".join(
    f"fragment f{n} on Thing {{ ...f{n + 1} ...f{n + 1} }}" for n in range(60)
)
HOSTILE = {
    "fragment bomb": ("GRAPHQL_VALIDATION_FAILED", query(BOMB)),
    "aliases": (
        "GRAPHQL_PARSE_FAILED",
        query("{" + " ".join(f"a{n}: hello" for n in range(10_000)) + "}"),
    ),
    "directives": ("GRAPHQL_PARSE_FAILED", query("{ hello" + " @skip(if: true)" * 10_000 + "}")),
    "1 MiB": ("GRAPHQL_PARSE_FAILED", query("{ hello }" + " " * 1024**2)),
    "1 MiB of fields": ("GRAPHQL_PARSE_FAILED", query("{" + " hello" * 170_000 + " }")),
    "deep variables": (
        "BAD_USER_INPUT",
        query("query ($tree: Tree!) { grow(tree: $tree) }", tree=nested(200)),
    ),
    "deeper variables": (
        "BAD_USER_INPUT",
        '{"query": "{ hello }", "variables": {"x": ' + "[" * 100_000 + "]" * 100_000 + "}}",
    ),
    "wide variables": (
        "BAD_USER_INPUT",
        query("query ($tree: Tree!) { grow(tree: $tree) }", tree=[0] * 500_000),
    ),
    "a batch": ("BAD_USER_INPUT", json.dumps([{"query": "{ hello }"}] * 1_000)),
    "introspection": ("GRAPHQL_VALIDATION_FAILED", query("{ __schema { types { name } } }")),
}


@pytest.mark.parametrize("name", HOSTILE)
async def test_it_is_refused(address: str, name: str) -> None:
    code, body = HOSTILE[name]
    headers = {"content-type": "application/json"}
    async with httpx2.AsyncClient() as client:
        answer = await client.post(f"http://{address}", content=body, headers=headers)
    told = answer.json()
    assert {error["extensions"]["code"] for error in told["errors"]} == {code}
    assert len(told["errors"]) <= 21  # graphql-core's last one says that there are more
    assert "data" not in told
    assert len(answer.content) < 20_000
