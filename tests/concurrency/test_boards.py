"""Ranks after 10,000 movements through two server processes: those of the audit log, to the last.

Points from 1 to 10^12, most of them few, so that there are ties; a batch settles at one instant,
so that ties are as close as they can be. Then Redis loses everything, and it is all the same again.
"""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Sequence
from contextlib import AsyncExitStack
from typing import Any

import pytest

from models.leaderboard import LeaderboardPeriod
from schema.ids import encode_id
from services.leaderboard.boards import board_at
from services.leaderboard.read import read_ranks
from services.leaderboard.rebuild import rebuild
from services.mall import open_mall
from tests.boards import log_ranking, require_ranks_of_the_log
from tests.concurrency.conftest import Town, members_of, start_servers
from tests.concurrency.operations import GRANT, RECORD, REVERSE, Answer, add_members, some_at_once
from tests.concurrency.servers import noon_zone
from tests.databases import migrated_database, settings_of

_MEMBERS, _CALLS, _EVENTS_A_CALL, _GRANTS, _REVERSALS = 60, 180, 50, 700, 300
_AMOUNTS = (1, 1, 2, 2, 3, 5, 8, 1_000)
_MOST = 10**12
_AT_ONCE = 16
_OWN_REDIS_DATABASE = 15


@pytest.fixture
async def town(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Town]:
    """Two processes whose boards nobody else writes to."""
    async with AsyncExitStack() as stack:
        url = await stack.enter_async_context(migrated_database())
        settings = settings_of(url, timezone=noon_zone())
        alone = f"{settings.stores.redis_url}?db={_OWN_REDIS_DATABASE}"
        settings = settings_of(url, redis_url=alone, timezone=noon_zone())
        mall = await stack.enter_async_context(open_mall(settings))
        await mall.stores.redis.flushdb()
        servers = await start_servers(stack, mall, tmp_path_factory.mktemp("servers"), 2)
        yield Town(mall, await members_of(stack, servers), servers)
        await mall.stores.redis.flushdb()


def _purchases(call: int, user_ids: Sequence[int], now: str) -> list[Answer]:
    chance = random.Random(call)
    return [
        {
            "eventId": f"bought-{call}-{number}",
            "userId": encode_id("User", chance.choice(user_ids)),
            "type": "purchase",
            "amount": chance.choice(_AMOUNTS),
            "occurredAt": now,
        }
        for number in range(_EVENTS_A_CALL)
    ]


def _grant(number: int, user_ids: Sequence[int]) -> Answer:
    chance = random.Random(number)
    return {
        "userId": encode_id("User", chance.choice(user_ids)),
        "points": chance.choice([1, 2, 3, _MOST]),
        "source": "shop",
        "reference": f"order-{number}",
        "idempotencyKey": f"key-{number}",
    }


def _reversal(number: int) -> Answer:
    return {"source": "shop", "reference": f"order-{number}", "idempotencyKey": f"key-{number}"}


async def test_ranks_are_those_of_the_log(town: Town) -> None:
    """While nothing moves any more, on all boards, for everybody; and again from nothing."""
    mall, members = town.mall, town.members
    user_ids = await add_members(mall, [f"member-{number}" for number in range(_MEMBERS)])
    await add_members(mall, ["till"])
    assert await rebuild(mall.stores, mall.clock, mall.zone) is not None
    now = mall.clock().isoformat()
    calls: list[Awaitable[Any]] = [
        members.ask("till", RECORD, "service", events=_purchases(call, user_ids, now))
        for call in range(_CALLS)
    ]
    calls += [
        members.ask("till", GRANT, "service", input=_grant(number, user_ids))
        for number in range(_GRANTS)
    ]
    random.shuffle(calls)
    answers = await some_at_once(calls, _AT_ONCE)
    answers += await some_at_once(
        [
            members.ask("till", REVERSE, "service", input=_reversal(number))
            for number in range(_REVERSALS)
        ],
        _AT_ONCE,
    )
    assert [answer for answer in answers if "errors" in answer] == []
    await _until_boards_follow(town, user_ids)
    await require_ranks_of_the_log(mall)
    for server in town.servers:
        assert server.log == ""
    await mall.stores.redis.flushdb()
    assert await rebuild(mall.stores, mall.clock, mall.zone) is not None
    await require_ranks_of_the_log(mall)


async def _until_boards_follow(town: Town, user_ids: Sequence[int]) -> None:
    """Wait until the last movement has reached the boards: they follow in the background."""
    mall = town.mall
    board = board_at(LeaderboardPeriod.ALL_TIME, mall.clock(), mall.zone)
    expected = {user: points for _, user, points in await log_ranking(mall, board)}
    assert sum(points > _MOST for points in expected.values()) > 1
    for _ in range(100):
        ranks = await read_ranks(mall, board.period, user_ids, mall.clock())
        if {user: place.points for user, place in ranks.standings.items()} == expected:
            return
        await asyncio.sleep(0.1)
    pytest.fail("the boards do not follow")
