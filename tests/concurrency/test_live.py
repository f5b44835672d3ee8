"""Watching through one process what happens in another, also while Redis comes and goes."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from dev.embedded import StoreUrls
from schema.ids import encode_id
from services.mall import open_mall
from tests.client import Client
from tests.concurrency.conftest import Town, members_of, start_servers
from tests.concurrency.operations import GRANT, only_field
from tests.concurrency.servers import noon_zone, restart_store, verify_books
from tests.databases import settings_of
from tests.factories import add_user
from tests.journeys.sockets import watching
from tests.node import installed

_CLIENTS = Path(__file__).parent / "live_clients"
_DOWN_S = 1.5
BALANCE = "subscription { balanceChanged { available } }"
RANK = "subscription { rankChanged { previousRank rank } }"


@pytest.fixture
async def town(migrated: StoreUrls, tmp_path: Path) -> AsyncIterator[Town]:
    """Two fresh server processes on stores that may be killed."""
    settings = settings_of(
        migrated.database_url, redis_url=migrated.redis_url, timezone=noon_zone()
    )
    async with AsyncExitStack() as stack:
        mall = await stack.enter_async_context(open_mall(settings))
        servers = await start_servers(stack, mall, tmp_path, 2)
        yield Town(mall, await members_of(stack, servers), servers)
        assert verify_books(settings).returncode == 0


async def give(client: Client, user_id: int, points: int, key: str) -> None:
    """Grant points through the process of this client."""
    wanted = {"userId": encode_id("User", user_id), "points": points, "source": "live"}
    answer = await client.post(
        GRANT, {"input": {**wanted, "idempotencyKey": key}}, client.token("till", "service")
    )
    assert only_field(answer)["__typename"] == "GrantPointsSuccess", answer


def balance(available: int) -> dict[str, Any]:
    return {"balanceChanged": {"available": available}}


def rank(rank: int, previous: int | None) -> dict[str, Any]:
    return {"rankChanged": {"previousRank": previous, "rank": rank}}


async def test_watching_outlives_redis(town: Town, stores: StoreUrls) -> None:
    """Nobody is thrown out; what moved meanwhile is told when Redis is back."""
    here, there = town.members.clients
    alice, bob = [await add_user(town.mall, name) for name in ("alice", "bob")]
    await give(there, alice, 100, "a1")
    async with (
        watching(here, BALANCE, as_="alice") as balances,
        watching(here, RANK, as_="alice") as ranks,
    ):
        assert await balances.told() == balance(100)
        assert await ranks.told() == rank(1, None)
        for times in (1, 2):
            restarting = asyncio.create_task(restart_store(stores.servers[1], _DOWN_S))
            await asyncio.sleep(_DOWN_S / 3)
            await give(there, alice, 1, f"a1{times}")
            await give(there, bob, 1000, f"b1{times}")
            await restarting
            assert await balances.told(within_s=20) == balance(100 + times)
            if times == 1:
                assert await ranks.told(within_s=20) == rank(2, 1)
        await give(there, alice, 5000, "a2")  # and from then on as before
        assert await balances.told() == balance(5102)
        assert await ranks.told() == rank(1, 2)


@asynccontextmanager
async def node_clients(address: str, token: str) -> AsyncIterator[asyncio.StreamReader]:
    """What npm's clients are told, a line of JSON each."""
    async with installed(_CLIENTS, "watch.mjs") as script:
        process = await asyncio.create_subprocess_exec(
            "node",
            script.name,
            address,
            token,
            cwd=script.parent,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        assert process.stdin
        assert process.stdout
        yield process.stdout
        process.stdin.close()
        await process.wait()


async def told_to_all(lines: asyncio.StreamReader) -> dict[str, tuple[int | None, int]]:
    """What the next line of every client says: the rank before, and the rank."""
    found: dict[str, tuple[int | None, int]] = {}
    async with asyncio.timeout(20):
        while len(found) < 3:
            said = json.loads(await lines.readline())
            assert "error" not in said, said
            assert said["client"] not in found
            found[said["client"]] = said["previousRank"], said["rank"]
    return found


async def test_clients_that_apps_use_see_what_another_process_does(town: Town) -> None:
    """npm's graphql-ws and graphql-sse, and Apollo Client over the former."""
    here, there = town.members.clients
    carol, dave = [await add_user(town.mall, name) for name in ("carol", "dave")]
    await give(there, carol, 100_000, "c1")
    async with node_clients(here.address, here.token("carol")) as lines:
        clients = ("apollo", "graphql-sse", "graphql-ws")
        assert await told_to_all(lines) == dict.fromkeys(clients, (None, 1))
        await give(there, dave, 100_001, "d1")
        assert await told_to_all(lines) == dict.fromkeys(clients, (1, 2))
