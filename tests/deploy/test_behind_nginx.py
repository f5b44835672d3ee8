"""Two web processes behind a real nginx with the configuration that is shipped."""

import asyncio
import json
import shutil
import socket
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit

import httpx2
import pytest

from services.mall import Mall
from settings import ServerSettings, Settings
from tests.client import Client
from tests.clock import MovableClock
from tests.conftest import SECRET
from tests.deploy.shipped import nginx_copy, services, with_tls
from tests.doubles.certificates import Certificates, make_certificates
from tests.factories import execute
from tests.journeys.sockets import watching
from tests.serving import serving
from tests.sharing import PHONE, invite_code

NGINX = shutil.which("nginx", path="/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin")
pytestmark = pytest.mark.skipif(NGINX is None, reason="nginx is not installed")

BALANCE = "subscription { balanceChanged { available } }"
MULTIPART = "multipart/mixed;boundary=graphql;subscriptionSpec=1.0,application/json"


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@asynccontextmanager
async def _behind_nginx(
    settings: Settings,
    clock: MovableClock,
    place: Path,
    changes: Mapping[str, str],
    tls: tuple[int, Certificates] | None = None,
) -> AsyncIterator[Client]:
    """A client who knows nginx only, with two servers behind it; `changes` are of nginx's files.

    With `tls` it listens on that port, too, and what the client asks without is only redirected.
    """
    async with AsyncExitStack() as stack:
        behind = [await stack.enter_async_context(serving(settings, clock)) for _ in range(2)]
        port = _free_port()
        addresses = [address.removeprefix("http://") for address in behind]
        file = nginx_copy(place, addresses, port, changes)
        if tls is not None:
            tls_port, files = tls
            with_tls(file, port, tls_port, files.certificate_file, files.key_file)
        assert NGINX
        nginx = await asyncio.create_subprocess_exec(
            NGINX, "-c", file, "-g", "daemon off; master_process off;"
        )
        stack.push_async_callback(_end, nginx)
        opened = await stack.enter_async_context(Client(f"http://127.0.0.1:{port}", SECRET))
        await _until_it_listens(opened)
        yield opened


@pytest.fixture
async def client(
    settings: Settings, clock: MovableClock, mall: Mall, tmp_path: Path
) -> AsyncIterator[Client]:
    """A client of nginx as it is shipped."""
    del mall  # opened first, so that its books are verified last
    async with _behind_nginx(settings, clock, tmp_path, {}) as opened:
        yield opened


async def _end(nginx: asyncio.subprocess.Process) -> None:
    nginx.terminate()
    await nginx.wait()


async def _until_it_listens(client: Client) -> None:
    async with asyncio.timeout(10):
        while True:
            try:
                await client.http.get("/livez")
            except httpx2.ConnectError:
                await asyncio.sleep(0.02)
            else:
                return


async def test_streams_come_as_they_are_told(client: Client) -> None:
    """A socket, and a stream of either kind, whose first message does not wait for more."""
    async with watching(client, BALANCE, as_="alice") as watched:
        assert await watched.told() == {"balanceChanged": {"available": 0}}
    told = await client.first_event(BALANCE, client.token("alice"))
    assert told["data"] == {"balanceChanged": {"available": 0}}
    headers = {"Authorization": f"Bearer {client.token('alice')}", "Accept": MULTIPART}
    asked = client.http.stream("POST", "/graphql", json={"query": BALANCE}, headers=headers)
    async with asyncio.timeout(10), asked as answer:
        async for line in answer.aiter_lines():
            if "payload" in line:
                assert json.loads(line)["payload"]["data"]["balanceChanged"] == {"available": 0}
                break


async def test_answers_are_compressed_and_streams_are_not(client: Client) -> None:
    """The schema's list of types is long enough."""
    answer = await client.http.post(
        "/graphql", json={"query": "{ __schema { types { name description } } }"}
    )
    assert answer.headers["content-encoding"] == "gzip"
    headers = {"Authorization": f"Bearer {client.token('alice')}", "Accept": "text/event-stream"}
    asked = client.http.stream("POST", "/graphql", json={"query": BALANCE}, headers=headers)
    async with asked as stream:
        assert "content-encoding" not in stream.headers


async def test_a_body_that_is_too_large(client: Client) -> None:
    """Is refused in the mall's words, and one that is not reaches the mall: staff's may be long."""
    largest = ServerSettings().max_body_bytes
    fits = b'{"query": "{ __typename }"' + b" " * (largest - 27) + b"}"
    token = client.token("boss", "operator")
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {token}"}
    answer = await client.http.post("/graphql", content=fits, headers=headers)
    assert answer.json()["data"] == {"__typename": "Query"}
    answer = await client.http.post("/graphql", content=fits + b" ", headers=headers)
    assert answer.status_code == 413
    assert _code(answer) == "BAD_USER_INPUT"


def _code(answer: httpx2.Response) -> str:
    return answer.json()["errors"][0]["extensions"]["code"]


async def test_what_is_inside_stays_inside(client: Client) -> None:
    """Whatever the mall serves beside GraphQL and links."""
    for path in ("/metrics", "/health", "/readyz", "/dev/token", "/", "/graphql/"):
        answer = await client.http.get(path)
        assert answer.status_code == 404, path
        assert "nginx" in answer.text, path


async def test_by_tls_only_the_health_check_is_answered_without(
    settings: Settings, clock: MovableClock, tmp_path: Path
) -> None:
    """It is the one of compose.yaml; whoever else comes so is sent on, and let in there."""
    check = urlsplit(services()["nginx"]["healthcheck"]["test"][-1]).path
    port, files = _free_port(), make_certificates(tmp_path)
    trusting = ssl.create_default_context(cafile=files.ca_file)
    async with (
        _behind_nginx(settings, clock, tmp_path, {}, (port, files)) as client,
        httpx2.AsyncClient(base_url=f"https://127.0.0.1:{port}", verify=trusting) as secure,
    ):
        assert (await client.http.head(check)).status_code == 200
        assert (await client.http.post(check)).status_code == 403
        sent_on = await client.http.post("/graphql?a=b", json={"query": "{ __typename }"})
        assert sent_on.status_code == 308
        assert sent_on.headers["location"] == "https://127.0.0.1/graphql?a=b"
        answer = await secure.post("/graphql", json={"query": "{ __typename }"})
        assert answer.json()["data"] == {"__typename": "Query"}
        assert "max-age" in answer.headers["strict-transport-security"]


async def test_who_asks_too_often_is_told(
    settings: Settings, clock: MovableClock, tmp_path: Path
) -> None:
    """More than a burst at once gets 429, in the mall's words, and when to come again."""
    slow = {"rate=100r/s": "rate=1r/m", "burst=200 delay=100": "burst=5 nodelay"}
    async with _behind_nginx(settings, clock, tmp_path, slow) as client:
        answers = [await client.http.get("/s/nothing") for _ in range(10)]
    # One of what is allowed was spent on finding out whether nginx listens.
    assert [answer.status_code for answer in answers] == [404] * 5 + [429] * 5
    assert _code(answers[-1]) == "RATE_LIMITED"
    assert answers[-1].headers["retry-after"] == "1"


async def test_nobody_behind_it_is_said_in_the_words_of_the_mall(
    settings: Settings, clock: MovableClock, tmp_path: Path
) -> None:
    """A client that waits and comes again is all that is needed."""
    nobody = {"least_conn;": "least_conn; server 127.0.0.1:1;", "max_fails=2": "down"}
    async with _behind_nginx(settings, clock, tmp_path, nobody) as client:
        answer = await client.http.post("/graphql", json={"query": "{ __typename }"})
    assert answer.status_code == 503
    assert _code(answer) == "SERVICE_UNAVAILABLE"
    assert answer.headers["retry-after"] == "5"


async def _visit(client: Client, code: str, claimed: str) -> None:
    headers = {"User-Agent": PHONE, "X-Forwarded-For": claimed, "Forwarded": f"for={claimed}"}
    answer = await client.http.get(f"/s/{code}", headers=headers)
    assert answer.status_code == 200


async def _visits(mall: Mall) -> int:
    return (await execute(mall, "SELECT sum(visits)::bigint AS visits FROM shares"))[0].visits


async def test_clients_cannot_say_where_they_come_from(client: Client, mall: Mall) -> None:
    """A visitor counts once a day, by their address, which is nginx's to tell."""
    code = await invite_code(client, "alice")
    for claimed in ("192.0.2.1", "192.0.2.2", "2001:db8::1"):
        await _visit(client, code, claimed)
    assert await _visits(mall) == 1


async def test_a_balancer_in_front_may_say_it(
    settings: Settings, clock: MovableClock, mall: Mall, tmp_path: Path
) -> None:
    """One that nginx is told of: then each client has an address of their own."""
    told = {
        "#set_real_ip_from 203.0.113.0/24;": "set_real_ip_from 127.0.0.1;",
        "#real_ip_header": "real_ip_header",
    }
    async with _behind_nginx(settings, clock, tmp_path, told) as client:
        code = await invite_code(client, "alice")
        for claimed in ("192.0.2.1", "192.0.2.2", "2001:db8::1"):
            await _visit(client, code, claimed)
    assert await _visits(mall) == 3


async def test_an_address_of_ipv6_is_its_first_half(
    settings: Settings, clock: MovableClock, tmp_path: Path
) -> None:
    """For limits: whoever has one has as many as they like that begin so."""
    told = {
        "#set_real_ip_from 203.0.113.0/24;": "set_real_ip_from 127.0.0.1;",
        "#real_ip_header": "real_ip_header",
        "rate=100r/s": "rate=1r/m",
        "burst=200 delay=100": "burst=2 nodelay",
    }
    async with _behind_nginx(settings, clock, tmp_path, told) as client:
        claimed = ["2001:db8::1", "2001:db8::2", "2001:db8:0:0:ffff::3", "2001:db8::a:b:c:d"]
        claimed += ["2001:db8:0:1::1"]  # of another network
        answers = [
            await client.http.get("/s/nothing", headers={"X-Forwarded-For": address})
            for address in claimed
        ]
    assert [answer.status_code for answer in answers] == [404, 404, 404, 429, 404]


async def test_queries_are_not_logged(client: Client, tmp_path: Path) -> None:
    """A GET carries its operation in its address; the log has the path."""
    await client.http.get("/graphql", params={"query": "{ __typename }"})
    log = tmp_path / "access.log"
    async with asyncio.timeout(10):  # written after the answer was sent
        while not log.stat().st_size:  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.01)
    [line] = log.read_text().splitlines()
    assert json.loads(line)["path"] == "/graphql"
    assert "__typename" not in line
