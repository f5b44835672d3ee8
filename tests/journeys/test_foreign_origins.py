"""Pages of other origins: what a browser lets them do here, and `MALL_ALLOWED_ORIGINS`."""

from dataclasses import replace

import httpx2
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus
from websockets.typing import Origin, Subprotocol

from settings import ServerSettings, Settings
from tests.client import Client

ALLOWED, FOREIGN = "https://app.example.com", "https://elsewhere.example.com"


@pytest.fixture
def settings(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """A mall that is told of one origin, as an operator tells it."""
    monkeypatch.setenv("MALL_ALLOWED_ORIGINS", f"{ALLOWED}, https://other.example.com")
    return replace(settings, server=ServerSettings())


async def dial_from(client: Client, origin: str) -> str | None:
    """The subprotocol of a socket that a page of that origin opens."""
    address = client.address.replace("http", "ws") + "/graphql"
    protocols = [Subprotocol("graphql-transport-ws")]
    async with connect(address, subprotocols=protocols, origin=Origin(origin)) as socket:
        return socket.subprotocol


async def test_an_allowed_page_opens_a_socket(client: Client) -> None:
    for origin in (ALLOWED, "https://other.example.com", client.address):
        assert await dial_from(client, origin) == "graphql-transport-ws"


@pytest.mark.parametrize("origin", [FOREIGN, f"{ALLOWED}.evil.example", "http://app.example.com"])
async def test_a_foreign_page_opens_none(client: Client, origin: str) -> None:
    with pytest.raises(InvalidStatus) as refused:
        await dial_from(client, origin)
    assert refused.value.response.status_code == 403


@pytest.mark.parametrize("origin", [ALLOWED, FOREIGN])
async def test_only_an_allowed_page_reads_an_answer(client: Client, origin: str) -> None:
    """A browser asks first, and is told whose pages may read what is answered."""
    ask = {"Origin": origin, "Access-Control-Request-Method": "POST"}
    asked = await client.http.request("OPTIONS", "/graphql", headers=ask)
    answer = await client.http.post(
        "/graphql", json={"query": "{ __typename }"}, headers={"Origin": origin}
    )
    assert asked.is_success is (origin == ALLOWED)
    assert answer.json()["data"] == {"__typename": "Query"}
    for each in (asked, answer):
        told = [name for name in each.headers if name.startswith("access-control-")]
        assert bool(told) is (origin == ALLOWED)


async def test_a_form_elsewhere_does_nothing(client: Client) -> None:
    """What a browser sends without asking first is no operation."""
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data"):
        headers = {"Origin": FOREIGN, "Content-Type": kind}
        answer: httpx2.Response = await client.http.post(
            "/graphql", content=b'{"query": "{ __typename }"}', headers=headers
        )
        assert answer.status_code == 415
