"""What is told after a commit: once it is one, merged, and never at the cost of whoever moved."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest

from models.leaderboard import LeaderboardPeriod
from services.exchange.place import exchange_request
from services.leaderboard.boards import CHANNEL
from services.leaderboard.read import read_ranks, read_top
from services.mall import Mall
from services.points.adjust import adjustment_request
from services.points.grant import grant_request
from tests.boards import build, require_ranks_of_the_log
from tests.factories import add_item, add_user, execute, give_points
from tests.jobs.due import jobs_named

_ALL_TIME = LeaderboardPeriod.ALL_TIME
_REFRESH = jobs_named("refresh_ranks")


@asynccontextmanager
async def listening(mall: Mall) -> AsyncIterator[asyncio.Queue[Any]]:
    """What is published from now on."""
    heard: asyncio.Queue[Any] = asyncio.Queue()
    async with mall.stores.redis.pubsub() as pubsub:
        await pubsub.subscribe(CHANNEL)
        assert (await pubsub.get_message(timeout=5))["type"] == "subscribe"

        async def listen() -> None:
            async for message in pubsub.listen():
                heard.put_nowait(json.loads(message["data"]))

        task = asyncio.create_task(listen())
        yield heard
        task.cancel()
        await asyncio.wait([task])


async def heard_of(heard: asyncio.Queue[Any], user_id: int) -> Any:
    """The next news of that user: other tests publish on the same channel."""
    while True:
        news = await asyncio.wait_for(heard.get(), 5)
        if user_id in news["users"]:
            return news


def _grant(actor: int, user_id: int, points: int, key: str) -> Any:
    return grant_request(actor, user_id, points, "shop", key)


async def test_news_follow_the_commit(mall: Mall) -> None:
    """Of whoever moved; `ranked` where it may be a rank. By then the board shows it."""
    await build(mall)
    shop, alice = 900_001, 900_002
    for name, number in (("shop", shop), ("alice", alice)):
        await add_user(mall, name, id=number)
    item = await add_item(mall, points=5)
    async with listening(mall) as heard:
        await mall.grants.submit(_grant(shop, alice, 10, "key"))
        assert await heard_of(heard, alice) == {"users": [alice], "ranked": True}
        ranks = await read_ranks(mall, _ALL_TIME, [alice], mall.clock())
        assert ranks.standings[alice].points == 10
        await mall.exchanges.submit(exchange_request(alice, item, "k", None, is_verified=False))
        assert await heard_of(heard, alice) == {"users": [alice], "ranked": False}
        await mall.adjustments.submit(adjustment_request(shop, alice, 5, "reason", "key"))
        assert await heard_of(heard, alice) == {"users": [alice], "ranked": False}
    assert await execute(mall, "SELECT count(*) FROM outbox WHERE job = 'refresh_ranks'") == [(1,)]


async def test_a_burst_costs_few_rounds(mall: Mall) -> None:
    """200 grants of as many members: all stand on the board, in far fewer messages."""
    await build(mall)
    shop = await add_user(mall, "shop")
    members = [await add_user(mall, f"member-{number}") for number in range(200)]
    requests = [_grant(shop, user_id, 1, f"key-{user_id}") for user_id in members]
    async with listening(mall) as heard:
        await asyncio.gather(*(mall.grants.submit(request) for request in requests))
        await mall.movements.told()
        await asyncio.sleep(0.1)
        assert heard.qsize() < 20
    await require_ranks_of_the_log(mall)


async def test_what_is_rolled_back_is_not_told(mall: Mall) -> None:
    """A movement that is refused moves nobody."""
    await build(mall)
    number = 900_003
    await add_user(mall, "alice", id=number)
    async with listening(mall) as heard:
        with pytest.raises(ZeroDivisionError):
            await _give_and_fail(mall, number)
        await give_points(mall, number, 3)
        assert await heard_of(heard, number) == {"users": [number], "ranked": True}
    assert (await read_top(mall, _ALL_TIME, 1, mall.clock())).entries[0].points == 3


async def _give_and_fail(mall: Mall, user_id: int) -> None:
    failing = replace(mall.stores.write, after_commit=[])
    assert failing.after_commit is not mall.stores.write.after_commit
    clock = mall.clock

    def fail() -> Any:
        raise ZeroDivisionError

    grants = replace(mall.grants)
    grants.settle = lambda _session, _requests: fail()
    assert clock is mall.clock
    await grants.submit(_grant(user_id, user_id, 1000, "never"))
