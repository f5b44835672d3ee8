"""`balanceChanged`: the balance at once, then after every change, from whichever process."""

import asyncio
import json
from datetime import timedelta

import pytest

from services.leaderboard.boards import CHANNEL
from services.mall import Mall
from tests.client import Client
from tests.clock import MovableClock
from tests.factories import add_user, execute, give_points
from tests.journeys.sockets import dial, exchange, greeting, watching

BALANCE = "subscription { balanceChanged { available lifetimeEarned lots { totalCount } } }"


async def announce(mall: Mall, *user_ids: int, ranked: bool = False) -> None:
    """Say what another process would have said after its commit."""
    said = {"users": user_ids, "ranked": ranked}
    await mall.stores.redis.publish(CHANNEL, json.dumps(said))


def balance(available: int, lots: int) -> dict[str, object]:
    """The data of one event."""
    told = {"available": available, "lifetimeEarned": available, "lots": {"totalCount": lots}}
    return {"balanceChanged": told}


async def test_a_balance_is_told_at_once_and_when_it_moves(
    mall: Mall, client: Client, alice: int
) -> None:
    """Nested fields are as new as the balance: nothing loaded before is kept."""
    async with watching(client, BALANCE, as_="alice") as alices:
        assert await alices.told() == balance(1000, lots=1)
        await give_points(mall, alice, 70)
        assert await alices.told() == balance(1070, lots=2)


async def test_others_hear_nothing(mall: Mall, client: Client, alice: int) -> None:
    """A movement is told to whom it belongs, and only when it changed something."""
    await add_user(mall, "bob")
    async with watching(client, BALANCE, as_="bob") as bobs:
        assert await bobs.told() == balance(0, lots=0)
        await give_points(mall, alice, 70)
        assert await bobs.is_silent()


async def test_nothing_new_is_not_told(mall: Mall, client: Client, alice: int) -> None:
    """An announcement that comes twice, or of nothing, does no harm; nor does nonsense."""
    async with watching(client, BALANCE, as_="alice") as alices:
        assert await alices.told() == balance(1000, lots=1)
        for nonsense in ("", "[]", "{}", '{"users": 7, "ranked": true}', '{"users": ["x"]}'):
            await mall.stores.redis.publish(CHANNEL, nonsense)
        await announce(mall, alice)
        await announce(mall, alice, 10**12)
        assert await alices.is_silent()
        await give_points(mall, alice, 1)
        assert await alices.told() == balance(1001, lots=2)


async def test_a_burst_is_merged(mall: Mall, client: Client, alice: int) -> None:
    """Fewer frames than movements, never going back, ending with the last."""
    async with watching(client, BALANCE, as_="alice") as alices:
        await alices.told()
        for _ in range(20):
            await give_points(mall, alice, 1)
        seen: list[int] = []
        while 1020 not in seen:
            seen.append((await alices.told())["balanceChanged"]["available"])
        assert await alices.is_silent()
    assert seen == sorted(set(seen))


async def test_a_subscription_ends_when_it_is_told_to(
    mall: Mall, client: Client, alice: int
) -> None:
    """After `complete` nothing comes, and the id may be used again."""
    async with dial(client) as socket:
        await exchange(socket, greeting(client.token("alice")))
        begin = {"id": "b", "type": "subscribe", "payload": {"query": BALANCE}}
        assert (await exchange(socket, begin))["payload"]["data"] == balance(1000, lots=1)
        await socket.send(json.dumps({"id": "b", "type": "complete"}))
        assert await exchange(socket, {"type": "ping"}) == {"type": "pong"}
        await give_points(mall, alice, 70)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.6):
                await socket.recv()
        assert (await exchange(socket, begin))["payload"]["data"] == balance(1070, lots=2)


async def test_a_suspended_member_goes_on_watching(mall: Mall, client: Client, alice: int) -> None:
    """As they go on reading: they may not move points, but see them."""
    until = mall.clock() + timedelta(days=1)
    suspend = "UPDATE users SET suspended_until = :until WHERE id = :user_id"
    await execute(mall, suspend, until=until, user_id=alice)
    async with watching(client, BALANCE, as_="alice") as alices:
        assert await alices.told() == balance(1000, lots=1)
        await give_points(mall, alice, 70)
        assert await alices.told() == balance(1070, lots=2)


async def test_points_that_end_are_noticed(
    mall: Mall, client: Client, alice: int, clock: MovableClock
) -> None:
    """Nobody announces what ends by the clock; the next look finds it."""
    async with watching(client, BALANCE, as_="alice") as alices:
        await alices.told()
        clock.advance(days=800)
        await announce(mall, alice)
        assert (await alices.told())["balanceChanged"]["available"] == 0
