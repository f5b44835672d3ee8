"""Sockets and streams that end, in whatever way: with their reason, and without a trace."""

import asyncio
import gc
import json
import socket
import struct
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import psutil
import pytest
from structlog.testing import capture_logs
from websockets.exceptions import ConnectionClosed

from app import MallApplication, create_app
from resolvers.connections import Connections
from services.live.hub import Hub
from services.mall import Mall
from settings import Settings
from tests.boards import build
from tests.client import Client
from tests.clock import MovableClock
from tests.conftest import SECRET
from tests.factories import add_user, give_points
from tests.journeys.sockets import dial, exchange, greeting, watching
from tests.serving import serving, serving_app

BALANCE = "subscription { balanceChanged { available } }"
BOARD = "subscription { leaderboardChanged { entries { user { username } } } }"
SUBSCRIPTIONS = (BALANCE, BOARD, "subscription { rankChanged { rank } }")
RESET = struct.pack("ii", 1, 0)  # SO_LINGER: closing sends a reset
MIB = 1024 * 1024
LIMIT = 4


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """A mall in which nobody has more than a few connections, but can have all of them at once."""
    limits = {"connections_per_user": LIMIT, "connections_per_address": LIMIT}
    server = settings.server.model_copy(update=limits)
    return replace(settings, server=server)


@pytest.fixture
def app(settings: Settings, clock: MovableClock) -> MallApplication:
    return create_app(settings, clock)


@pytest.fixture
async def client(app: MallApplication, settings: Settings, mall: Mall) -> AsyncIterator[Client]:
    """A client of an application that the test can look into."""
    async with serving_app(app, settings) as address, Client(address, SECRET) as opened:
        yield opened


def traces(app: MallApplication) -> tuple[int, int, int]:
    """What is being watched, shared, and connected."""
    live: Hub = app.state.live
    endpoint: Any = app.graphql
    connections: Connections = endpoint._admit.__self__
    return live.watched, len(endpoint._streams.shared), len(connections)


async def nothing_left(app: MallApplication, tasks: int) -> None:
    """Wait until there is no trace, and there are no more tasks than that."""
    async with asyncio.timeout(20):
        while traces(app) != (0, 0, 0) or len(asyncio.all_tasks()) > tasks:  # noqa: ASYNC110
            await asyncio.sleep(0.02)


async def vanish(client: Client, token: str) -> None:
    """Watch everything, be told of it all, and be gone without a word."""
    async with dial(client) as connection:
        await exchange(connection, {"type": "connection_init", "payload": {"Authorization": token}})
        for subscription in SUBSCRIPTIONS:
            payload = {"query": subscription}
            begin = {"id": subscription, "type": "subscribe", "payload": payload}
            await connection.send(json.dumps(begin))
        told = {json.loads(await connection.recv())["id"] for _ in SUBSCRIPTIONS}
        assert told == set(SUBSCRIPTIONS)
        raw = connection.transport.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        connection.transport.abort()


async def test_a_thousand_resets_leave_nothing(
    mall: Mall, client: Client, app: MallApplication
) -> None:
    """No task, no watcher, no place taken, no memory."""
    tokens: list[str] = []
    for number in range(50):
        await give_points(mall, await add_user(mall, f"member{number}"), number + 1)
        tokens.append(f"Bearer {client.token(f'member{number}')}")
    await build(mall)
    await client.data("{ balance { available } }", as_="member0")
    tasks_before = len(asyncio.all_tasks()) + 2  # what listens, from the first watcher on
    rss_before = 0
    for round_number in range(20):
        await asyncio.gather(*(vanish(client, token) for token in tokens))
        await nothing_left(app, tasks_before)
        if round_number == 3:  # caches are full, pools are open
            gc.collect()
            rss_before = psutil.Process().memory_info().rss
    gc.collect()
    assert psutil.Process().memory_info().rss - rss_before < 16 * MIB


async def test_a_stream_that_is_left_leaves_nothing(
    client: Client, app: MallApplication, alice: int
) -> None:
    """Server-sent events whose reader goes away."""
    del alice
    await client.data("{ balance { available } }", as_="alice")
    tasks_before = len(asyncio.all_tasks()) + 2
    for _ in range(5):
        first = await client.first_event(BALANCE, client.token("alice"))
        assert first["data"]["balanceChanged"] == {"available": 1000}
    await nothing_left(app, tasks_before)


async def test_a_stream_ends_with_its_token(client: Client, app: MallApplication) -> None:
    """Told why, when the token expires."""
    headers = {
        "Accept": "text/event-stream",
        "Authorization": f"Bearer {client.token('alice', lifetime_s=1)}",
    }
    async with asyncio.timeout(10):
        answer = await client.http.post("/graphql", json={"query": BALANCE}, headers=headers)
    lines = [line for line in answer.text.split("\r\n") if line]
    assert [line for line in lines if line.startswith("event")] == [
        "event: next",
        "event: next",
        "event: complete",
    ]
    (error,) = json.loads(lines[3].removeprefix("data: "))["errors"]
    assert error["extensions"] == {"code": "UNAUTHENTICATED"}
    assert traces(app) == (0, 0, 0)


async def test_a_stream_says_that_it_still_is_there(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A comment now and then, so that nothing on the way takes it for dead; events as ever."""
    monkeypatch.setattr("resolvers.media_types._EVENTS.heartbeat_interval", 0.05)
    headers = {"Accept": "text/event-stream", "Authorization": f"Bearer {client.token('alice')}"}
    body = {"query": BALANCE}
    async with client.http.stream("POST", "/graphql", json=body, headers=headers) as answer:
        lines: list[str] = []
        async for line in answer.aiter_lines():
            lines.append(line)
            if lines.count(": ping") >= 3 and "event: next" in lines:
                break
    assert not answer.is_error


async def test_a_user_has_so_many_connections(client: Client, app: MallApplication) -> None:
    """Sockets and streams together; one that ends makes room; others are not concerned."""
    sockets = [watching(client, BALANCE, as_="alice") for _ in range(LIMIT)]
    for each in sockets:
        await (await each.__aenter__()).told()
    async with dial(client) as one_more:
        with pytest.raises(ConnectionClosed) as closed:
            await exchange(one_more, greeting(client.token("alice")))
    assert closed.value.rcvd
    assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (
        1013,
        "At most 4 connections at once",
    )
    refused = await client.first_event(BALANCE, client.token("alice"))
    assert [error["extensions"]["code"] for error in refused["errors"]] == ["RATE_LIMITED"]
    assert "data" in await client.first_event(BALANCE, client.token("bob"))
    async with asyncio.timeout(10):
        while traces(app)[2] > LIMIT:  # noqa: ASYNC110
            await asyncio.sleep(0.02)
    await sockets.pop().__aexit__(None, None, None)
    async with asyncio.timeout(10):
        while traces(app)[2] == LIMIT:  # noqa: ASYNC110
            await asyncio.sleep(0.02)
    assert "data" in await client.first_event(BALANCE, client.token("alice"))
    for each in sockets:
        await each.__aexit__(None, None, None)


async def test_an_address_has_so_many_connections_of_nobody(client: Client) -> None:
    """Of those who do not say who they are; members at the same address are not concerned."""
    sockets = [watching(client, BOARD) for _ in range(LIMIT)]
    for each in sockets:
        await (await each.__aenter__()).told()
    with capture_logs() as logs:
        async with dial(client) as one_more:
            with pytest.raises(ConnectionClosed) as closed:
                await exchange(one_more, greeting(None))
        assert closed.value.rcvd
        assert closed.value.rcvd.code == 1013
        refused = await client.first_event(BOARD)
    assert [error["extensions"]["code"] for error in refused["errors"]] == ["RATE_LIMITED"]
    # It may be that of a proxy, and everybody's: said once, however many are refused.
    warned = [line["event"] for line in logs if line["log_level"] == "warning"]
    assert warned == ["private_address_at_limit"]
    assert "data" in await client.first_event(BALANCE, client.token("bob"))
    for each in sockets:
        await each.__aexit__(None, None, None)


async def test_the_limits_are_for_all_processes_together(
    client: Client, mall: Mall, clock: MovableClock
) -> None:
    """A second server on the same Redis knows how many there are on the first."""
    async with serving(mall.settings, clock) as address, Client(address, SECRET) as elsewhere:
        sockets = [
            watching(elsewhere if number % 2 else client, BALANCE, as_="alice")
            for number in range(LIMIT)
        ]
        for each in sockets:
            await (await each.__aenter__()).told()
        for process in (client, elsewhere):
            refused = await process.first_event(BALANCE, client.token("alice"))
            assert [error["extensions"]["code"] for error in refused["errors"]] == ["RATE_LIMITED"]
        for each in sockets:
            await each.__aexit__(None, None, None)
