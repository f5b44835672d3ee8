"""The endpoint over real HTTP: what is answered, and what is never told."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest
from strawberry.extensions import MaskErrors
from structlog.testing import capture_logs

from resolvers.endpoint import GraphQLEndpoint
from tests.resolvers.serving import (
    MAX_BODY_BYTES,
    SECRET,
    make_context,
    make_endpoint,
    make_schema,
    serve,
)

JSON = "application/json"
GRAPHQL_RESPONSE = "application/graphql-response+json"
APOLLO = "application/graphql-response+json,application/json;q=0.9"


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
async def address() -> AsyncIterator[str]:
    async with serve(make_endpoint()) as address:
        yield address


@pytest.fixture
async def client(address: str) -> AsyncIterator[httpx2.AsyncClient]:
    async with httpx2.AsyncClient(base_url=f"http://{address}") as client:
        yield client


async def ask(
    client: httpx2.AsyncClient, query: str, accept: str = JSON, **parameters: Any
) -> httpx2.Response:
    return await client.post("", json={"query": query, **parameters}, headers={"accept": accept})


def codes(response: httpx2.Response) -> list[str]:
    return [error["extensions"]["code"] for error in response.json()["errors"]]


async def test_a_query_is_answered_in_the_media_type_asked_for(client: httpx2.AsyncClient) -> None:
    for accept, media_type in (
        ("*/*", JSON),
        (JSON, JSON),
        ("text/html", JSON),
        (f"{GRAPHQL_RESPONSE};q=0.5, {JSON}", JSON),
        (GRAPHQL_RESPONSE, GRAPHQL_RESPONSE),
        (APOLLO, GRAPHQL_RESPONSE),
    ):
        response = await ask(client, "{ hello }", accept)
        assert response.status_code == 200
        assert response.json() == {"data": {"hello": "world"}}
        assert response.headers["content-type"] == f"{media_type}; charset=utf-8"


async def test_resolvers_get_the_context_and_plain_variables(client: httpx2.AsyncClient) -> None:
    query = "query ($text: String) { agent parameters echo(text: $text) }"
    response = await ask(client, query, variables={"text": "é"})
    data = response.json()["data"]
    assert data["agent"].startswith("python-httpx")
    assert data["parameters"] == {"text": "é"}
    assert data["echo"] == "éred"


async def test_get_runs_queries_only_and_post_both(client: httpx2.AsyncClient) -> None:
    query = "query Named($text: String!) { echo(text: $text) }"
    parameters = {"query": query, "variables": '{"text": "x"}', "operationName": "Named"}
    response = await client.get("", params=parameters)
    assert response.json() == {"data": {"echo": "xred"}}

    mutation = 'mutation { setName(name: "x") }'
    response = await client.get("", params={"query": mutation})
    assert (response.status_code, response.headers["allow"]) == (405, "POST")
    assert codes(response) == ["BAD_USER_INPUT"]
    assert (await ask(client, mutation)).json() == {"data": {"setName": "x"}}

    response = await client.put("", json={"query": "{ hello }"})
    assert (response.status_code, response.headers["allow"]) == (405, "GET, POST")
    assert codes(response) == ["BAD_USER_INPUT"]


@pytest.mark.parametrize(
    ("status", "content_type", "body"),
    [
        (400, JSON, b""),
        (400, JSON, b'{"query": '),
        (400, JSON, b'{"query": "{ hello }", "variables": {"a": NaN}}'),
        (400, JSON, b'{"query": "\xff"}'),
        (
            400,
            JSON,
            b'{"query": "{ hello }", "variables": {"a": ' + b"[" * 9000 + b"]" * 9000 + b"}}",
        ),
        (400, JSON, b'[{"query": "{ hello }"}]'),
        (400, JSON, b'"{ hello }"'),
        (400, JSON, b"{}"),
        (400, JSON, b'{"query": null}'),
        (400, JSON, b'{"query": ""}'),
        (400, JSON, b'{"query": 7}'),
        (400, JSON, b'{"query": "{ hello }", "variables": []}'),
        (400, JSON, b'{"query": "{ hello }", "operationName": {}}'),
        (400, JSON, b'{"query": "{ hello }", "extensions": "x"}'),
        (400, JSON, b'{"query": "{ hello }", "operationName": "Other"}'),
        (400, JSON, b'{"query": "query A { hello } query B { hello }"}'),
        (
            400,
            JSON,
            b'{"query": "fragment F on Query { hello } query A { ...F }", "operationName": "F"}',
        ),
        (415, "text/plain", b'{"query": "{ hello }"}'),
        (415, "application/x-www-form-urlencoded", b"query=%7Bhello%7D"),
        (415, "application/json; charset=latin-1", b'{"query": "{ hello }"}'),
        (415, "", b'{"query": "{ hello }"}'),
    ],
)
async def test_malformed_requests_are_bad_input(
    client: httpx2.AsyncClient, status: int, content_type: str, body: bytes
) -> None:
    for accept in (JSON, GRAPHQL_RESPONSE):
        headers = {"content-type": content_type, "accept": accept}
        response = await client.post("", content=body, headers=headers)
        assert response.status_code == status
        assert codes(response) == ["BAD_USER_INPUT"]
        assert response.headers["content-type"] == f"{accept}; charset=utf-8"


@pytest.mark.parametrize("parameters", [{}, {"query": "{ hello }", "variables": "{"}])
async def test_malformed_addresses_are_bad_input(
    client: httpx2.AsyncClient, parameters: dict[str, str]
) -> None:
    response = await client.get("", params=parameters)
    assert (response.status_code, codes(response)) == (400, ["BAD_USER_INPUT"])


@pytest.mark.parametrize(
    ("code", "query", "variables"),
    [
        ("GRAPHQL_PARSE_FAILED", "{ hello", None),
        ("GRAPHQL_PARSE_FAILED", "{" + " x" * 6_000 + "}", None),
        ("GRAPHQL_VALIDATION_FAILED", "{ nothing }", None),
        ("GRAPHQL_VALIDATION_FAILED", "{ thing" + " { child" * 20 + " { name }" + " }" * 21, None),
        ("GRAPHQL_VALIDATION_FAILED", '{ coded(code: "bad") }', None),
        ("GRAPHQL_VALIDATION_FAILED", "{ echo(colour: BLUE) }", None),
        ("BAD_USER_INPUT", "query ($text: String!) { echo(text: $text) }", {"text": 7}),
        ("BAD_USER_INPUT", "query ($text: String!) { echo(text: $text) }", {}),
        ("BAD_USER_INPUT", "query ($code: Code!) { coded(code: $code) }", {"code": "bad"}),
        (
            "BAD_USER_INPUT",
            "query ($colour: Colour!) { echo(colour: $colour) }",
            {"colour": "BLUE"},
        ),
    ],
)
async def test_what_cannot_run_has_no_data(
    client: httpx2.AsyncClient, code: str, query: str, variables: dict[str, Any] | None
) -> None:
    for accept, status in ((JSON, 200), (GRAPHQL_RESPONSE, 400)):
        response = await ask(client, query, accept, variables=variables)
        assert response.status_code == status
        assert set(codes(response)) == {code}
        assert "data" not in response.json()
        assert SECRET not in response.text


async def test_input_nested_too_deeply_is_bad_input(client: httpx2.AsyncClient) -> None:
    tree: dict[str, Any] = {"name": "leaf"}
    for _ in range(400):
        tree = {"name": "node", "children": [tree]}
    query = "query ($tree: Tree!) { grow(tree: $tree) }"
    response = await ask(client, query, variables={"tree": tree})
    assert codes(response) == ["BAD_USER_INPUT"]


async def test_unexpected_errors_are_logged_and_masked(client: httpx2.AsyncClient) -> None:
    with capture_logs() as logs:
        response = await ask(client, "{ hello broken tooBig }", GRAPHQL_RESPONSE)
    assert response.status_code == 200
    assert response.json()["data"] == {"hello": "world", "broken": None, "tooBig": None}
    for error in response.json()["errors"]:
        assert error["message"] == "Internal error"
        assert error["extensions"] == {"code": "INTERNAL"}
        assert set(error) == {"message", "extensions", "path", "locations"}
    assert [log["path"] for log in logs] == [["broken"], ["tooBig"]]
    assert str(logs[0]["exc_info"]) == SECRET
    assert logs[0]["exc_info"].__traceback__ is not None


async def test_described_errors_carry_their_code(client: httpx2.AsyncClient) -> None:
    response = await ask(client, "{ forbidden away }", GRAPHQL_RESPONSE)
    assert response.status_code == 200
    assert [(error["message"], error["extensions"]) for error in response.json()["errors"]] == [
        ("Not for you", {"code": "FORBIDDEN", "role": "operator"}),
        ("Come back later", {"code": "SERVICE_UNAVAILABLE"}),
    ]


async def test_a_result_that_is_no_json_is_an_internal_error(client: httpx2.AsyncClient) -> None:
    with capture_logs() as logs:
        response = await ask(client, "{ unencodable }")
    assert (response.status_code, codes(response)) == (500, ["INTERNAL"])
    assert len(logs) == 1


@pytest.mark.parametrize(
    ("context", "status", "plain_status", "code"),
    [
        ("forbidden", 403, 200, "FORBIDDEN"),
        ("away", 503, 503, "SERVICE_UNAVAILABLE"),
        ("broken", 500, 500, "INTERNAL"),
    ],
)
async def test_a_refused_context_is_answered(
    client: httpx2.AsyncClient, context: str, status: int, plain_status: int, code: str
) -> None:
    client.headers["x-context"] = context
    with capture_logs():
        exact = await ask(client, "{ hello }", GRAPHQL_RESPONSE)
        plain = await ask(client, "{ hello }")
    assert (exact.status_code, plain.status_code) == (status, plain_status)
    assert codes(exact) == codes(plain) == [code]
    assert SECRET not in exact.text
    assert "data" not in exact.json()


@pytest.mark.parametrize(
    ("head", "body"),
    [
        (f"content-length: {MAX_BODY_BYTES + 1}", b""),
        (
            "transfer-encoding: chunked",
            b"%x\r\n%s\r\n" % (MAX_BODY_BYTES + 1, b" " * (MAX_BODY_BYTES + 1)),
        ),
        ("transfer-encoding: chunked", (b"1000\r\n" + b" " * 0x1000 + b"\r\n") * 6),
    ],
)
async def test_a_large_body_is_refused_before_its_end(
    client: httpx2.AsyncClient, head: str, body: bytes
) -> None:
    reader, writer = await asyncio.open_connection(client.base_url.host, client.base_url.port)
    request = f"POST /graphql HTTP/1.1\r\nhost: x\r\ncontent-type: {JSON}\r\n{head}\r\n\r\n"
    writer.write(request.encode() + body)
    async with asyncio.timeout(5):
        answer = await reader.read()  # to the end: the server closes the connection
    assert answer.startswith(b"HTTP/1.1 413 ")
    entry = json.loads(answer.partition(b"\r\n\r\n")[2])["errors"][0]
    assert entry["extensions"] == {"code": "BAD_USER_INPUT"}
    writer.close()


async def test_a_body_in_pieces_is_read_whole(client: httpx2.AsyncClient) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        for piece in (b'{"query":', b'"{ hel', b"", b'lo }"}'):
            yield piece

    response = await client.post("", content=pieces(), headers={"content-type": JSON})
    assert response.json() == {"data": {"hello": "world"}}


async def test_a_client_that_leaves_early_harms_nobody(client: httpx2.AsyncClient) -> None:
    _, writer = await asyncio.open_connection(client.base_url.host, client.base_url.port)
    head = (
        f"POST /graphql HTTP/1.1\r\nhost: x\r\ncontent-type: {JSON}\r\ncontent-length: 99\r\n\r\n"
    )
    writer.write(head.encode() + b"{")
    await writer.drain()
    writer.close()
    with capture_logs() as logs:
        assert (await ask(client, "{ hello }")).status_code == 200
    assert logs == []


@pytest.mark.parametrize("graphiql", [True, False])
async def test_browsers_get_a_page_only_where_it_is_wanted(graphiql: bool) -> None:
    async with serve(make_endpoint(graphiql=graphiql)) as address, httpx2.AsyncClient() as browser:
        browser.headers["accept"] = "text/html,application/xhtml+xml,*/*;q=0.8"
        response = await browser.get(f"http://{address}")
        assert response.status_code == (200 if graphiql else 400)
        assert ("graphiql" in response.text.lower()) is graphiql
        response = await browser.get(f"http://{address}", params={"query": "{ hello }"})
        assert response.json() == {"data": {"hello": "world"}}


def test_a_schema_with_extensions_is_refused() -> None:
    schema = make_schema(extensions=[MaskErrors])
    with pytest.raises(ValueError, match="never run"):
        GraphQLEndpoint(schema, make_context=make_context)
