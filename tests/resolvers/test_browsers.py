"""What pages of other origins can have a browser send and read; headers that browsers heed."""

from collections.abc import AsyncIterator

import httpx2
import pytest

from resolvers.browsers import SECURITY_HEADERS
from tests.resolvers.serving import make_endpoint, serve

FRIEND, STRANGER = "https://app.example.com", "https://evil.example.com"
HELLO = {"query": "{ hello }"}
ALLOW = "access-control-allow-origin"
SENT = "apollographql-client-name,authorization, baggage,content-type,sentry-trace,x-request-id"


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
async def client() -> AsyncIterator[httpx2.AsyncClient]:
    endpoint = make_endpoint(csrf_guard=True, allowed_origins=(FRIEND,), graphiql=True)
    async with (
        serve(endpoint) as address,
        httpx2.AsyncClient(base_url=f"http://{address}") as client,
    ):
        yield client


def check_secured(answer: httpx2.Response) -> None:
    for name, value in SECURITY_HEADERS:
        if name != b"content-security-policy":
            assert answer.headers[name.decode()] == value.decode()
    assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"content-type": "text/plain"},
        {"content-type": "Multipart/Form-Data; boundary=x"},
        {"content-type": "application/x-www-form-urlencoded ;charset=utf-8"},
        {"apollo-require-preflight": ""},
    ],
)
async def test_what_a_browser_sends_unasked_is_refused(
    client: httpx2.AsyncClient, headers: dict[str, str]
) -> None:
    answer = await client.get("", params=HELLO, headers=headers)
    assert answer.status_code == 400
    assert "apollo-require-preflight" in answer.json()["errors"][0]["message"]
    check_secured(answer)
    answer = await client.post("", content=b'{"query": "{ hello }"}', headers=headers)
    assert answer.status_code == 415
    check_secured(answer)


@pytest.mark.parametrize(
    "headers",
    [
        {"content-type": "application/json"},
        {"apollo-require-preflight": "1"},
        {"x-apollo-operation-name": "Hello"},
    ],
)
async def test_what_needs_asking_first_is_served(
    client: httpx2.AsyncClient, headers: dict[str, str]
) -> None:
    answer = await client.get("", params=HELLO, headers=headers)
    assert answer.json() == {"data": {"hello": "world"}}
    check_secured(answer)


async def test_only_allowed_origins_may_read(client: httpx2.AsyncClient) -> None:
    for origin, allowed in ((FRIEND, FRIEND), (STRANGER, None), (f"{FRIEND}.evil.com", None)):
        asked = {"access-control-request-method": "POST", "access-control-request-headers": SENT}
        preflight = await client.options("", headers={"origin": origin} | asked)
        answer = await client.post("", json=HELLO, headers={"origin": origin})
        assert (preflight.status_code, answer.status_code) == (204 if allowed else 403, 200)
        for each in (preflight, answer):
            assert each.headers.get(ALLOW) == allowed
            assert each.headers["vary"] == "origin"
            assert "access-control-allow-credentials" not in each.headers
        assert preflight.headers.get("access-control-allow-headers") == (allowed and SENT)


@pytest.mark.parametrize("names", ["", "a b", "a,", "a\tb, c", "x" * 2_049, "(a)", "a,,b"])
async def test_what_names_no_headers_is_not_repeated(
    client: httpx2.AsyncClient, names: str
) -> None:
    asked = {"access-control-request-method": "POST", "access-control-request-headers": names}
    preflight = await client.options("", headers={"origin": FRIEND} | asked)
    assert preflight.status_code == 204
    assert "access-control-allow-headers" not in preflight.headers


async def test_origins_are_understood_as_sockets_understand_them() -> None:
    endpoint = make_endpoint(allowed_origins=("HTTPS://App.Example.com:443/",))
    async with serve(endpoint) as address, httpx2.AsyncClient() as client:
        answer = await client.post(f"http://{address}", json=HELLO, headers={"origin": FRIEND})
    assert answer.headers[ALLOW] == FRIEND


async def test_any_origin_may_read_where_that_is_wanted_but_never_with_credentials() -> None:
    endpoint = make_endpoint(allowed_origins=("*",))
    async with serve(endpoint) as address, httpx2.AsyncClient() as client:
        headers = {"origin": STRANGER}
        answer = await client.post(f"http://{address}", json=HELLO, headers=headers)
    assert answer.headers[ALLOW] == "*"
    assert answer.headers["access-control-expose-headers"] == "retry-after, x-request-id"
    assert "access-control-allow-credentials" not in answer.headers


async def test_the_page_and_streams_have_headers_too(client: httpx2.AsyncClient) -> None:
    page = await client.get("", headers={"accept": "text/html"})
    assert "https://unpkg.com" in page.headers["content-security-policy"]
    check_secured(page)
    stream = await client.post("", json=HELLO, headers={"accept": "text/event-stream"})
    assert stream.headers["x-content-type-options"] == "nosniff"
    assert stream.headers.get_list("cache-control")[1:] == []
