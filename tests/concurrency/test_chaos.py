"""Things break under load: nothing that was answered is lost, nothing happens twice.

What fails meanwhile is told as SERVICE_UNAVAILABLE and can be repeated under its key; the servers
recover by themselves.
"""

import asyncio
import random
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import asyncpg
import httpx2
import pytest
from sqlalchemy import make_url

from dev.embedded import StoreUrls
from services.mall import open_mall
from tests.concurrency.chaos import Load
from tests.concurrency.chaos_calls import arranged_calls
from tests.concurrency.conftest import Town, members_of, start_servers
from tests.concurrency.operations import only_field
from tests.concurrency.servers import noon_zone, restart_store, verify_books
from tests.databases import settings_of

_BALANCE = "{ balance { available } }"
_QUICKLY_S = 5.0
_ENOUGH, _RECOVERY_S = 100, 30.0


@pytest.fixture
async def town(migrated: StoreUrls, tmp_path: Path) -> AsyncIterator[Town]:
    """Two fresh server processes; `ledger verify` must exit 0 whatever happened to them."""
    settings = settings_of(
        migrated.database_url, redis_url=migrated.redis_url, timezone=noon_zone()
    )
    async with AsyncExitStack() as stack:
        mall = await stack.enter_async_context(open_mall(settings))
        servers = await start_servers(stack, mall, tmp_path, 2)
        yield Town(mall, await members_of(stack, servers), servers)
        verified = verify_books(settings)
        assert (verified.returncode, verified.stdout) == (0, "The books are right.\n")


@pytest.fixture
async def load(town: Town) -> Load:
    """Exchanges, cancellations, grants, reversals, corrections, extensions: all in turn."""
    return Load(town, await arranged_calls(town.mall))


async def _terminate_backends(database_url: str, load: Load, duration_s: float) -> int:
    """End one or two of the mall's connections at random, every 50 ms; returns how many.

    Goes on for longer on a machine so slow that hardly any call got through.
    """
    url = make_url(database_url).set(drivername="postgresql")
    connection = await asyncpg.connect(url.render_as_string(hide_password=False))
    ended, until_s = 0, time.monotonic() + duration_s
    while time.monotonic() < until_s or len(load.succeeded) <= _ENOUGH:
        assert time.monotonic() < until_s + _RECOVERY_S, "nothing gets through"
        ended += await connection.fetchval(
            "SELECT count(pg_terminate_backend(pid)) FROM (SELECT pid FROM pg_stat_activity"
            " WHERE application_name = 'points-mall' ORDER BY random() LIMIT $1) doomed",
            random.randint(1, 2),
        )
        await asyncio.sleep(0.05)
    await connection.close()
    return ended


async def test_connections_that_are_cut_lose_nothing(
    town: Town, load: Load, stores: StoreUrls
) -> None:
    """PostgreSQL ends connections at random: success or SERVICE_UNAVAILABLE, each key once."""
    async with load.running():
        ended = await _terminate_backends(stores.database_url, load, 4.0)
    assert ended > 40
    assert load.unavailable > 20
    assert len(load.succeeded) > _ENOUGH
    assert load.lost == 0
    await load.assert_each_key_settled_once()


async def test_a_server_killed_under_load_loses_nothing(town: Town, load: Load) -> None:
    """One of two processes is killed three times: what was answered stands, each key once."""
    async with load.running():
        for server in (town.servers[0], town.servers[1], town.servers[0]):
            await asyncio.sleep(0.7)
            server.kill()
            server.start()
            await server.ready()
        await asyncio.sleep(0.5)
    assert load.lost > 10
    assert len(load.succeeded) > 100
    await load.assert_each_key_settled_once()


async def _await_balance(town: Town, who: str, timeout_s: float) -> None:
    deadline_s = time.monotonic() + timeout_s
    for number in range(len(town.servers)):
        while "errors" in await town.members.ask(who, _BALANCE, through=number):
            assert time.monotonic() < deadline_s, "reading did not recover"
            await asyncio.sleep(0.1)


async def _check_while_postgresql_is_away(town: Town, who: str) -> None:
    """Reads are refused quickly, for members known and unknown; /readyz says what is missing."""
    for name in (who, "a-stranger"):
        for number in range(len(town.servers)):
            began_s = time.monotonic()
            answer = await town.members.ask(name, _BALANCE, through=number)
            assert [e["extensions"]["code"] for e in answer["errors"]] == ["SERVICE_UNAVAILABLE"]
            assert time.monotonic() - began_s < _QUICKLY_S
    for server in town.servers:
        async with httpx2.AsyncClient(base_url=server.address) as http:
            answer = await http.get("/readyz")
            assert answer.status_code == 503
            assert answer.json()["checks"]["postgresql"] == "away"
            assert (await http.get("/livez")).status_code == 200


async def test_postgresql_killed_under_load_loses_nothing(
    town: Town, load: Load, stores: StoreUrls
) -> None:
    """Meanwhile SERVICE_UNAVAILABLE within seconds; afterwards all works again by itself."""
    who = load.member
    async with load.running():
        await _await_balance(town, who, 10)
        await asyncio.sleep(1)
        restarting = asyncio.create_task(restart_store(stores.servers[0], 1.5))
        await asyncio.sleep(0.5)
        await _check_while_postgresql_is_away(town, who)
        await restarting
        await _await_balance(town, who, 20)
        made_before = len(load.succeeded)
        await asyncio.sleep(1)
    assert len(load.succeeded) > made_before, "exchanging did not recover"
    assert load.unavailable > 20
    assert load.slowest_refusal_s < _QUICKLY_S
    assert load.lost == 0
    await load.assert_each_key_settled_once()


async def _readiness(server_address: str) -> tuple[int, str]:
    async with httpx2.AsyncClient(base_url=server_address) as http:
        answer = await http.get("/readyz")
    return answer.status_code, answer.json()["checks"]["redis"]


async def test_without_valkey_the_mall_stays_open(
    town: Town, load: Load, stores: StoreUrls
) -> None:
    """Everything is served on; /readyz names redis, and is ready again when it is back."""
    address = town.servers[0].address
    assert await _readiness(address) == (200, "ok")
    async with load.running():
        restarting = asyncio.create_task(restart_store(stores.servers[1], 1.5))
        await asyncio.sleep(0.3)
        assert await _readiness(address) == (503, "away")
        assert only_field(await town.members.ask(load.member, _BALANCE))["available"] > 0
        await restarting
        deadline_s = time.monotonic() + 10
        while await _readiness(address) != (200, "ok"):
            assert time.monotonic() < deadline_s, "not ready again"
            await asyncio.sleep(0.1)
    assert (load.unavailable, load.lost, load.unexpected) == (0, 0, [])
    assert len(load.succeeded) > 50
    await load.assert_each_key_settled_once()
