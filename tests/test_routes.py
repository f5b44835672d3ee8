"""Plain HTTP beside GraphQL: probes, tokens for developers, the way to the page."""

import socket
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import httpx2
import pytest
from sqlalchemy import make_url

from services.users.claims import Role
from services.users.tokens import TokenVerifier
from settings import MallSettings, Settings, StoreSettings
from tests.client import Client
from tests.clock import MovableClock
from tests.serving import serving


@pytest.fixture
def closed_port() -> Iterator[int]:
    """A port on which nobody listens, held so that nobody will."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield held.getsockname()[1]


async def get(settings: Settings, clock: MovableClock, path: str) -> httpx2.Response:
    """The answer of a server with these settings."""
    async with serving(settings, clock) as address, httpx2.AsyncClient() as http:
        return await http.get(address + path)


async def ready(settings: Settings, clock: MovableClock, **stores: Any) -> tuple[int, Any]:
    """Status and checks of `/readyz`, with some of the stores elsewhere."""
    moved = StoreSettings(**{**settings.stores.model_dump(), **stores})
    answer = await get(replace(settings, stores=moved), clock, "/readyz")
    return answer.status_code, answer.json()


async def test_alive_needs_no_store(
    settings: Settings, clock: MovableClock, closed_port: int
) -> None:
    """`/livez` is about the process alone."""
    away = StoreSettings(
        database_url=f"postgresql://nobody@127.0.0.1:{closed_port}/x",
        redis_url=f"redis://127.0.0.1:{closed_port}",
    )
    answer = await get(replace(settings, stores=away), clock, "/livez")
    assert (answer.status_code, answer.json()) == (200, {"status": "alive"})


async def test_ready_when_both_stores_answer(settings: Settings, clock: MovableClock) -> None:
    """And the schema is current."""
    checks = {"postgresql": "ok", "redis": "ok", "schema": "ok"}
    assert await ready(settings, clock) == (200, {"status": "ready", "checks": checks})


async def test_not_ready_without_postgresql(
    settings: Settings, clock: MovableClock, closed_port: int
) -> None:
    """The answer names it, and what depends on it."""
    url = make_url(str(settings.stores.database_url)).set(host="127.0.0.1", port=closed_port)
    database_url = url.set(query={}).render_as_string(hide_password=False)
    status, answer = await ready(settings, clock, database_url=database_url)
    assert (status, answer["status"]) == (503, "not ready")
    assert answer["checks"] == {"postgresql": "away", "redis": "ok", "schema": "away"}


async def test_not_ready_without_redis(
    settings: Settings, clock: MovableClock, closed_port: int
) -> None:
    """The answer names it."""
    status, answer = await ready(settings, clock, redis_url=f"redis://127.0.0.1:{closed_port}")
    assert status == 503
    assert answer["checks"] == {"postgresql": "ok", "redis": "away", "schema": "ok"}


async def test_not_ready_before_the_migrations(
    settings: Settings, clock: MovableClock, empty_database_url: str
) -> None:
    """A database that answers but is outdated is not ready."""
    status, answer = await ready(settings, clock, database_url=empty_database_url)
    assert status == 503
    assert answer["checks"] == {"postgresql": "ok", "redis": "ok", "schema": "outdated"}


async def test_not_ready_without_the_database(settings: Settings, clock: MovableClock) -> None:
    """The server answers, but has no such database: 503, naming it."""
    url = make_url(str(settings.stores.database_url)).set(database="nothing")
    database_url = url.render_as_string(hide_password=False)
    status, answer = await ready(settings, clock, database_url=database_url)
    assert status == 503
    assert answer["checks"]["postgresql"] == "away"


async def test_a_developer_gets_a_token(client: Client, settings: Settings) -> None:
    """For any name and roles; a member's unless roles are named; it works at once."""
    for asked, roles in (
        ({"username": "zoë"}, {Role.MEMBER}),
        ({"username": "zoë", "roles": ["service", "operator"]}, {Role.SERVICE, Role.OPERATOR}),
        ({"username": "zoë", "roles": []}, set()),
        ({"username": "n" * 64}, {Role.MEMBER}),
    ):
        answer = await client.http.post("/dev/token", json=asked)
        assert answer.status_code == 200
        claims = await TokenVerifier(settings.access).verify(answer.json()["token"])
        assert (claims.subject, claims.name, claims.roles) == (
            asked["username"],
            asked["username"],
            roles,
        )
        if Role.MEMBER in roles:
            me = await client.post("{ me { username } }", None, answer.json()["token"])
            assert me["data"] == {"me": {"username": asked["username"]}}


NONSENSE = [
    b"",
    b"[]",
    b"{",
    b"{}",
    b'{"username": ""}',
    b'{"username": 7}',
    b'{"username": null}',
    b'{"username": "a", "roles": ["king"]}',
    b'{"username": "a", "roles": "member"}',
    b'{"username": "a", "admin": true}',
    b'{"username": "\\ud800"}',
    b'{"username": "' + b"a" * 65 + b'"}',
]


async def test_nonsense_gets_no_token(client: Client) -> None:
    """400, what is wrong, and nothing about the inside."""
    for body in NONSENSE:
        answer = await client.http.post("/dev/token", content=body)
        assert answer.status_code == 400, body
        assert list(answer.json()) == ["error"]
        assert "pydantic" not in answer.text


async def test_a_body_that_is_not_utf_8_gets_no_token(client: Client) -> None:
    """400, like any other body that is no JSON."""
    answer = await client.http.post("/dev/token", content=b'{"username": "\xff"}')
    assert answer.status_code == 400


async def test_a_long_body_is_not_read(client: Client) -> None:
    """413 beyond what a name and some roles can take."""
    body = b'{"username": "a"' + b" " * 5000 + b"}"
    assert (await client.http.post("/dev/token", content=body)).status_code == 413


async def test_a_name_that_no_token_may_hold_is_refused(client: Client) -> None:
    """Better a 400 here than UNAUTHENTICATED later."""
    answer = await client.http.post("/dev/token", json={"username": "a\x00"})
    assert answer.status_code == 400


async def test_tokens_are_posted_for(client: Client) -> None:
    """GET is not the way."""
    assert (await client.http.get("/dev/token")).status_code == 405


async def test_production_gives_out_nothing(settings: Settings, clock: MovableClock) -> None:
    """Neither tokens nor a page for developers; GraphQL and the probes are there."""
    production = replace(settings, mall=MallSettings(profile="production"))
    async with (
        serving(production, clock) as address,
        httpx2.AsyncClient(base_url=address) as http,
    ):
        token = await http.post("/dev/token", json={"username": "mallory"})
        page = await http.get("/graphql", headers={"Accept": "text/html"})
        assert (token.status_code, (await http.get("/")).status_code) == (404, 404)
        assert "<html" not in page.text
        answer = await http.post("/graphql", json={"query": "{ items { totalCount } }"})
        assert answer.json()["data"] == {"items": {"totalCount": 0}}
        assert (await http.get("/livez")).status_code == 200


async def test_the_front_door_leads_to_the_page(client: Client) -> None:
    """In dev, `/` shows a browser where to try queries."""
    answer = await client.http.get("/", headers={"Accept": "text/html"})
    assert (answer.status_code, answer.headers["location"]) == (307, "/graphql")
    page = await client.http.get("/graphql", headers={"Accept": "text/html"})
    assert page.status_code == 200
    assert page.headers["content-type"].startswith("text/html")
