"""What several processes measured, read at one; what they log of those they serve."""

import os
import signal
from contextlib import ExitStack, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx2
import orjson
import psutil
from pydantic import SecretStr

from services.mall import Mall
from settings import ObservationSettings, ServerSettings, Settings
from tests.client import Client
from tests.concurrency.servers import WORK, ServerProcess
from tests.databases import SECRET
from tests.factories import add_item, add_user, give_points
from tests.jobs.asking import all_done, until
from tests.journeys.sockets import dial
from tests.journeys.sockets import exchange as say
from tests.journeys.steps import check_in, exchange
from tests.measured import Scrape, scrape

_TOKEN = "a token for Prometheus only"
_REQUESTS = 20


def _shared(settings: Settings, directory: Path) -> Settings:
    """Two web processes, whose metrics a worker shares."""
    observation = ObservationSettings(metrics_dir=directory, metrics_token=SecretStr(_TOKEN))
    return replace(settings, server=ServerSettings(processes=2), observation=observation)


def _living(directory: Path) -> set[int]:
    return {int(path.stem) for path in directory.glob("*.alive")}


def _gauged(directory: Path) -> set[int]:
    return {int(path.stem.rpartition("_")[2]) for path in directory.glob("gauge_livesum_*.db")}


async def _ask_on_new_connections(address: str) -> None:
    for _ in range(_REQUESTS):  # which any of the processes may take
        async with Client(address, SECRET) as client:
            await client.data("{ pointsRules { __typename } }")


async def _read(address: str) -> Scrape:
    """On a new connection: the process at the other end of an old one may be gone."""
    async with httpx2.AsyncClient(base_url=address, timeout=30) as http:
        return await scrape(http, _TOKEN)


async def test_one_scrape_tells_of_all_processes_also_of_the_dead(
    mall: Mall, tmp_path: Path
) -> None:
    """Counters of one that was killed stay, its gauges go; without the token nobody reads any."""
    directory = tmp_path / "metrics"
    settings = _shared(mall.settings, directory)
    server = ServerProcess(settings, tmp_path)
    worker = ServerProcess(settings, tmp_path, WORK)
    with ExitStack() as stack:
        for process in (server, worker):
            process.start()
            stack.callback(process.stop)
            await server.ready()  # one after another: starting is what takes long
        async with Client(server.address, SECRET) as client:
            assert (await client.http.get("/metrics")).status_code == 401

            await _ask_on_new_connections(server.address)
            await check_in(client, "alice")  # asks for jobs
            await all_done(mall)
            counted = await _read(server.address)
            assert counted.by("graphql_request_duration_seconds_count", "operation") == {
                "pointsRules": _REQUESTS,
                "checkIn": 1,
            }
            assert counted.by("jobs_total", "outcome").keys() == {"done"}
            assert counted.value("points_mall_figures_up") == 1
            web = _gauged(directory) - {worker.pid}
            assert len(web) == 2
            victim = web.pop()
            os.kill(victim, signal.SIGKILL)

            async def is_buried() -> bool:
                with suppress(httpx2.TransportError):  # it may be the victim that is asked
                    await _read(server.address)
                return victim not in _living(directory) | _gauged(directory)

            await until(is_buried)
            later = await _read(server.address)
            counts = later.by("graphql_request_duration_seconds_count", "operation")
            assert counts == {"pointsRules": _REQUESTS, "checkIn": 1}
        await _killed_they_leave_nothing(server)


async def _killed_they_leave_nothing(server: ServerProcess) -> None:
    """Processes without a parent would hold the port, and nobody could stop them."""
    begun = psutil.Process(server.pid).children(recursive=True)
    assert len(begun) >= 2
    server.kill()

    async def are_gone() -> bool:
        return not any(map(_is_running, begun))

    await until(are_gone)


def _is_running(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


async def test_lines_say_who_asked_and_nothing_that_is_theirs(mall: Mall, tmp_path: Path) -> None:
    """Request id, user and operation on each; no token, address or variable, nor a query's text."""
    member = await add_user(mall, "alice")
    await give_points(mall, member, 1_000)
    item_id = await add_item(mall, type="physical", config={})
    server = ServerProcess(mall.settings, tmp_path)
    server.start()
    with ExitStack() as stack:
        stack.callback(server.stop)
        await server.ready()
        async with Client(server.address, SECRET) as client:
            answers = await _tell_secrets(client, item_id)
    lines = [orjson.loads(line) for line in server.log.splitlines()]
    for secret in ("eyJ", "南京西路", "李雷", "13800138000", "device-token", "li@example.com"):
        assert secret not in server.log, secret
    assert "recipient" not in server.log, "the text of a query"
    served = {line["request_id"]: line for line in lines if line["event"] == "request"}
    assert served["req-1"]["user"] == member
    assert served["req-1"] | {"status": 200, "outcome": "ok", "kind": "mutation"} == served["req-1"]
    assert served[answers["own_id"]]["code"] == "UNAUTHENTICATED"
    assert [line["operation"] for line in lines if line["event"] == "operation"] == ["OverSocket"]
    socket = next(line for line in lines if line["event"] == "operation")
    assert socket["user"] == member


async def _tell_secrets(client: Client, item_id: int) -> dict[str, Any]:
    """Exchanges with an address, registers a device, asks badly; returns what was echoed."""
    client.http.headers["x-request-id"] = "req-1"
    shipping = {"recipient": "李雷", "phone": "13800138000", "address": "上海市南京西路1号"}
    placed = await exchange(client, "alice", item_id, shipping=shipping)
    assert placed["__typename"] == "OneClickExchangeSuccess"
    client.http.headers["x-request-id"] = "li@example.com is no id"
    refused = await client.http.post(
        "/graphql",
        json={"query": "query Mine { me { id } }", "variables": {"email": "li@example.com"}},
        headers={"Authorization": "Bearer eyJhbGciOiJIUzI1NiJ9.e30.x"},
    )
    register = "mutation($i: RegisterDeviceInput!) { registerDevice(input: $i) { __typename } }"
    device = {"i": {"platform": "IOS", "token": "device-token"}}
    await client.post(register, device, client.token("alice"))
    await client.http.get("/s/li@example.com")
    async with dial(client) as socket:
        payload = {"Authorization": f"Bearer {client.token('alice')}"}
        await say(socket, {"type": "connection_init", "payload": payload})
        query = {"query": "query OverSocket { balance { available } }"}
        answer = await say(socket, {"id": "1", "type": "subscribe", "payload": query})
        assert answer["type"] == "next", answer
    return {"own_id": refused.headers["x-request-id"]}
