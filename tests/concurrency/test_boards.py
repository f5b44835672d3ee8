"""Ranks after 10,000 movements through two server processes: those of the audit log, to the last.

Points from 1 to 10^12, most of them few, so that there are ties; a batch settles at one instant,
so that ties are as close as they can be. Grants are taken back, whole or in part, whose points were
spent, while others pay for that. Then Redis loses everything, and it is all the same again.
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
from tests.concurrency.operations import (
    CANCEL,
    GRANT,
    RECORD,
    REVERSE,
    Answer,
    Members,
    add_members,
    some_at_once,
)
from tests.concurrency.servers import noon_zone
from tests.databases import migrated_database, settings_of
from tests.factories import add_item, execute

_MEMBERS, _CALLS, _EVENTS_A_CALL, _GRANTS, _REVERSALS = 60, 180, 50, 700, 300
_LATER_CALLS = 60
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
    """All of a grant, or (of every third) one point."""
    points = None if number % 3 else 1
    named = {"source": "shop", "reference": f"order-{number}", "points": points}
    return {**named, "idempotencyKey": f"key-{number}"}


async def _ask(members: Members, who: str, query: str, *roles: str, **variables: Any) -> Answer:
    """The answer; asked again, under the same key, where the servers were too busy for it."""
    for _ in range(10):
        answer = await members.ask(who, query, *roles, **variables)
        if "SERVICE_UNAVAILABLE" not in str(answer):
            return answer
    pytest.fail("too busy ten times")


def _taking_back(town: Town, exchanges: Sequence[str]) -> list[Awaitable[Any]]:
    members = town.members
    calls: list[Awaitable[Any]] = [
        _ask(members, "till", REVERSE, "service", input=_reversal(number))
        for number in range(_REVERSALS)
    ]
    return calls + [
        _ask(members, _member(number), CANCEL, id=exchange)
        for number, exchange in enumerate(exchanges)
        if exchange
    ]


def _member(number: int) -> str:
    return f"member-{number}"


async def test_ranks_are_those_of_the_log(town: Town) -> None:
    """While nothing moves any more, on all boards, for everybody; and again from nothing."""
    mall, members = town.mall, town.members
    user_ids = await add_members(mall, map(_member, range(_MEMBERS)))
    await add_members(mall, ["till"])
    assert await rebuild(mall.stores, mall.clock, mall.zone) is not None
    now = mall.clock().isoformat()
    calls: list[Awaitable[Any]] = [
        _ask(members, "till", RECORD, "service", events=_purchases(call, user_ids, now))
        for call in range(_CALLS - _LATER_CALLS)
    ]
    calls += [
        _ask(members, "till", GRANT, "service", input=_grant(number, user_ids))
        for number in range(_GRANTS)
    ]
    random.shuffle(calls)
    answers = await some_at_once(calls, _AT_ONCE)
    calls = _taking_back(town, await _spend(town))
    calls += [
        _ask(members, "till", RECORD, "service", events=_purchases(call, user_ids, now))
        for call in range(_CALLS - _LATER_CALLS, _CALLS)
    ]
    random.shuffle(calls)
    answers += await some_at_once(calls, _AT_ONCE)
    await _require_debts_of_all_kinds(town)
    assert [answer for answer in answers if "errors" in answer] == []
    await _until_boards_follow(town, user_ids)
    await require_ranks_of_the_log(mall)
    for server in town.servers:
        assert server.log == ""
    await mall.stores.redis.flushdb()
    assert await rebuild(mall.stores, mall.clock, mall.zone) is not None
    await require_ranks_of_the_log(mall)


async def _spend(town: Town) -> list[str]:
    """Let every member spend most of what was granted; the exchange, or "" for who cannot pay."""
    coupon = {"type": "coupon", "config": {"generate": True}}
    item_id = await add_item(town.mall, points=_MOST, stock=_MEMBERS * 9, **coupon)
    turns = [
        await some_at_once(
            [
                town.members.exchange(_member(number), item_id, f"{number}-{turn}")
                for number in range(_MEMBERS)
            ],
            _AT_ONCE,
        )
        for turn in range(9)
    ]
    return [answer["exchange"]["id"] if "exchange" in answer else "" for answer in turns[0]]


async def _require_debts_of_all_kinds(town: Town) -> None:
    """Some that are open, some paid by later purchases, and some by exchanges that came back."""
    [(owed, paid, returned)] = await execute(
        town.mall,
        """
        SELECT (SELECT sum(owed_points) FROM users),
               count(*) FILTER (WHERE before.action = 'earn'),
               count(*) FILTER (WHERE before.action = 'refund')
        FROM points_audit_log paid JOIN points_audit_log before
            ON before.user_id = paid.user_id AND before.sequence = paid.sequence - 1
        WHERE paid.action = 'reverse' AND paid.source = 'reversal'
        """,
    )
    assert owed > 0
    assert paid > 0
    assert returned > 0


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
