"""What a client is told of the schema where it is not to know it."""

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
    async with serve(make_endpoint(introspection=False)) as address:
        yield address


async def post(address: str, query: str, variables: dict[str, Any] | None = None) -> Any:
    async with httpx2.AsyncClient() as client:
        body = {"query": query, "variables": variables}
        return (await client.post(f"http://{address}", json=body)).json()


@pytest.mark.parametrize(
    "query",
    [
        "{ __schema { types { name } } }",
        '{ __type(name: "Query") { name } }',
        "{ ...F } fragment F on Query { __schema { queryType { name } } }",
    ],
)
async def test_the_schema_cannot_be_asked_for(address: str, query: str) -> None:
    answer = await post(address, query)
    assert answer["errors"][0]["extensions"]["code"] == "GRAPHQL_VALIDATION_FAILED"
    assert "data" not in answer


@pytest.mark.parametrize(
    ("query", "variables"),
    [
        ("{ helo }", None),
        ("{ thing { nam } }", None),
        ("{ echo(tex: 1) }", None),
        ("{ echo(colour: RE) }", None),
        ("{ ...F } fragment F on Querry { hello }", None),
        ("query ($c: Color) { echo(colour: $c) }", None),
        ('{ grow(tree: {nam: "x"}) }', None),
        ("query ($c: Colour) { echo(colour: $c) }", {"c": "RE"}),
        ("query ($t: Tree!) { grow(tree: $t) }", {"t": {"name": "x", "childen": []}}),
    ],
)
async def test_no_error_suggests_a_name(
    address: str, query: str, variables: dict[str, Any] | None
) -> None:
    answer = await post(address, query, variables)
    assert answer["errors"]
    assert "Did you mean" not in str(answer)


async def test_the_name_of_a_type_is_no_secret(address: str) -> None:
    """Every client's cache asks for it."""
    assert (await post(address, "{ __typename }"))["data"] == {"__typename": "Query"}
