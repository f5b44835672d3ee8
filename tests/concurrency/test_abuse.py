"""Who asks too often, or is suspended, before two processes: nobody gets more of another one."""

import json
import os
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from dev.embedded import StoreUrls
from schema.ids import encode_id
from services.limits.alone import SHARE
from services.mall import open_mall
from settings import LimitSettings
from tests.concurrency.conftest import Town, members_of, start_servers
from tests.concurrency.operations import (
    CHECK_IN,
    EXCHANGE,
    Answer,
    add_members,
    only_field,
    some_at_once,
)
from tests.concurrency.servers import noon_zone, verify_books
from tests.databases import settings_of
from tests.factories import add_item, execute
from tests.journeys.sockets import watching

_CALLS, _AT_ONCE, _LIMIT, _PRICE = 1_000, 100, 200, 10
_DAY = 86_400
BALANCE = "subscription { balanceChanged { available } }"
SUSPEND = "mutation ($input: SuspendUserInput!) { suspendUser(input: $input) { __typename } }"


@pytest.fixture(scope="module")
async def town(
    migrated: StoreUrls, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Town]:
    """Two processes with limits that are reached, on stores that may be killed."""
    settings = settings_of(
        migrated.database_url, redis_url=migrated.redis_url, timezone=noon_zone()
    )
    names = ("operations", "value", "exchanges", "anonymous_operations")
    sizes = {"exchanges": _LIMIT, "anonymous_operations": 10_000}
    limits = ",".join(f"{name}={sizes.get(name, 2_000)}/{_DAY}" for name in names)
    settings = replace(settings, limits=LimitSettings(rate_limits=limits))
    async with AsyncExitStack() as stack:
        mall = await stack.enter_async_context(open_mall(settings))
        servers = await start_servers(stack, mall, tmp_path_factory.mktemp("servers"), 2)
        yield Town(mall, await members_of(stack, servers), servers)
        assert verify_books(settings).returncode == 0


def code_of(answer: Answer) -> str:
    """What became of an exchange."""
    if "errors" in answer:
        return answer["errors"][0]["extensions"]["code"]
    field = only_field(answer)
    return field.get("code", field["__typename"])


async def exchanges(town: Town, name: str, item_id: int, calls: int) -> list[str]:
    """How that many exchanges end, through both processes in turn."""
    item = encode_id("ExchangeItem", item_id)
    answers = await some_at_once(
        (
            town.members.ask(name, EXCHANGE, item=item, key=f"{name}-{each}", through=each)
            for each in range(calls)
        ),
        _AT_ONCE,
    )
    return [code_of(answer) for answer in answers]


async def test_a_limit_holds_to_the_call_across_processes(town: Town) -> None:
    """Of 1,000 exchanges at once the 200 that are allowed are made, and no other."""
    (alice,) = await add_members(town.mall, ["alice"], points=_CALLS * _PRICE)
    item_id = await add_item(town.mall, stock=_CALLS, points=_PRICE)
    codes = await exchanges(town, "alice", item_id, _CALLS)
    assert codes.count("OneClickExchangeSuccess") == _LIMIT
    assert codes.count("RATE_LIMITED") == _CALLS - _LIMIT
    made = await execute(
        town.mall, "SELECT count(*), sum(points) FROM exchanges WHERE user_id = :user", user=alice
    )
    assert made == [(_LIMIT, _LIMIT * _PRICE)]


async def test_a_suspension_is_in_force_everywhere_at_once(town: Town) -> None:
    """Suspended through one process, refused in the next answer of any; sockets still read."""
    here, there = town.members.clients
    (carol,) = await add_members(town.mall, ["carol"], points=100 * _PRICE)
    item_id = await add_item(town.mall, stock=_CALLS, points=_PRICE)
    assert await exchanges(town, "carol", item_id, 2) == ["OneClickExchangeSuccess"] * 2
    async with watching(there, BALANCE, as_="carol") as own:
        assert (await own.told())["balanceChanged"]["available"] == 98 * _PRICE
        asked = {"userId": encode_id("User", carol), "reason": "a bot"}
        asked["until"] = (datetime.now(UTC) + timedelta(days=1)).isoformat()
        answer = await here.post(SUSPEND, {"input": asked}, here.token("boss", "operator"))
        assert only_field(answer)["__typename"] == "SuspendUserSuccess"
        item = encode_id("ExchangeItem", item_id)
        for number, (query, variables) in enumerate(
            ((EXCHANGE, {"item": item, "key": "late"}), (CHECK_IN, {}))
        ):
            refused = await town.members.ask("carol", query, through=1 + number, **variables)
            assert only_field(refused)["code"] == "MEMBER_SUSPENDED"
        payload = {"query": CHECK_IN}
        await own.socket.send(json.dumps({"id": "2", "type": "subscribe", "payload": payload}))
        refused = json.loads(await own.socket.recv())["payload"]
        assert only_field(refused)["code"] == "MEMBER_SUSPENDED"
    spent = await execute(
        town.mall, "SELECT sum(points) FROM exchanges WHERE user_id = :user", user=carol
    )
    assert spent == [(2 * _PRICE,)]


async def test_without_redis_reads_go_on_and_value_slowly(town: Town, stores: StoreUrls) -> None:
    """Each process gives a quarter, at once: nobody waits for what is not there."""
    await add_members(town.mall, ["bob"], points=_CALLS * _PRICE)
    item_id = await add_item(town.mall, stock=_CALLS, points=_PRICE)
    valkey = stores.servers[1]
    os.kill(valkey.process.pid, signal.SIGKILL)
    valkey.process.wait()
    try:
        for client in town.members.clients:  # each finds out for itself
            await client.data("{ items { nodes { id } } }")
        codes = await exchanges(town, "bob", item_id, 2 * _LIMIT)
        reads = await some_at_once(
            (
                town.members.ask("bob", "{ balance { available } }", through=each)
                for each in range(300)
            ),
            _AT_ONCE,
        )
    finally:
        valkey.process = valkey.child.spawn()
    assert codes.count("OneClickExchangeSuccess") == 2 * _LIMIT // SHARE
    assert codes.count("RATE_LIMITED") == 2 * _LIMIT - 2 * _LIMIT // SHARE
    left = _CALLS * _PRICE - 2 * _LIMIT // SHARE * _PRICE
    assert [only_field(answer) for answer in reads] == [{"available": left}] * 300
