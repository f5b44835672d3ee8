"""What is told after a commit: once it is one, merged, and never at the cost of whoever moved."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from structlog.testing import capture_logs

from models.leaderboard import LeaderboardPeriod
from services.announcements import Announcement, announce
from services.exchange.place import exchange_request
from services.leaderboard.boards import CHANNEL, boards_at
from services.leaderboard.read import read_ranks, read_top
from services.leaderboard.refresh import add_scores, read_scores, refresh_users
from services.mall import Mall, open_mall
from services.points.adjust import adjustment_request
from services.points.grant import grant_request
from services.transaction import transaction
from settings import Settings
from tests.boards import build, require_ranks_of_the_log
from tests.clock import MovableClock
from tests.factories import add_item, add_user, execute, give_points
from tests.jobs.due import jobs_named, run_due
from tests.services.statements import Statements

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
            await _announce_and_fail(mall, number)
        await give_points(mall, number, 3)
        assert await heard_of(heard, number) == {"users": [number], "ranked": True}


async def _announce_and_fail(mall: Mall, user_id: int) -> None:
    async with transaction(mall.stores.write) as session:
        announce(session, Announcement({user_id}))
        raise ZeroDivisionError


async def test_members_do_not_feel_that_redis_is_away(settings: Settings, mall: Mall) -> None:
    """They earn and spend, boards are read from PostgreSQL, and one line of the log says why."""
    nowhere = settings.stores.model_copy(update={"redis_url": "redis://127.0.0.1:1/0"})
    async with open_mall(replace(settings, stores=nowhere), mall.clock) as lonely:
        with capture_logs() as logs:
            alice = await add_user(lonely, "alice")
            for number in range(3):
                await lonely.grants.submit(_grant(alice, alice, 5, f"key-{number}"))
                await lonely.movements.told()
            top = await read_top(lonely, _ALL_TIME, 10, lonely.clock())
    assert [(entry.user_id, entry.points) for entry in top.entries] == [(alice, 15)]
    about_movements = [entry["event"] for entry in logs if "movements" in entry["event"]]
    assert about_movements == ["movements_held_up"]


async def test_what_could_not_be_told_is_told_later(
    settings: Settings, mall: Mall, tmp_path: Path
) -> None:
    """Whoever could not reach Redis tries again by itself."""
    await build(mall)
    real, late = urlsplit(str(settings.stores.redis_url)), tmp_path / "late.sock"
    there = real._replace(path=str(late)).geturl()
    stores = settings.stores.model_copy(update={"redis_url": there})
    async with open_mall(replace(settings, stores=stores), mall.clock) as other:
        number = 900_005
        await add_user(other, "alice", id=number)
        async with listening(mall) as heard:
            with capture_logs() as logs:
                await other.grants.submit(_grant(number, number, 5, "key"))
                await other.movements.told()
            assert [entry["event"] for entry in logs] == ["movements_held_up"]
            assert (await read_top(mall, _ALL_TIME, 10, mall.clock())).total == 0
            late.symlink_to(real.path)
            assert await heard_of(heard, number) == {"users": [number], "ranked": True}
    await require_ranks_of_the_log(mall)


async def test_a_crash_between_commit_and_refresh_loses_nothing(
    settings: Settings, mall: Mall, clock: MovableClock
) -> None:
    """The job does what the process that settled did not get to, once, and tells of it."""
    await build(mall)
    number = 900_004
    await add_user(mall, "alice", id=number)
    async with open_mall(settings, clock) as crashing, listening(mall) as heard:
        crashing.stores.write.after_commit.clear()
        await crashing.grants.submit(_grant(number, number, 5, "key"))
        assert (await read_top(mall, _ALL_TIME, 10, clock())).total == 0
        assert await run_due(mall, _REFRESH) == 0  # whoever settled has some seconds
        clock.advance(seconds=5)
        assert await run_due(mall, _REFRESH) == 1
        assert await heard_of(heard, number) == {"users": [number], "ranked": True}
    await require_ranks_of_the_log(mall)


async def test_the_job_tells_nobody_what_is_known(mall: Mall, clock: MovableClock) -> None:
    """After an ordinary commit it changes nothing."""
    await build(mall)
    alice = await add_user(mall, "alice")
    await give_points(mall, alice, 5)
    await mall.movements.told()
    async with mall.stores.read() as session:
        changed = await refresh_users(session, mall.stores.redis, [alice], clock(), mall.zone)
    assert changed == 0


async def test_what_is_older_is_passed_over(mall: Mall, clock: MovableClock) -> None:
    """Scores read before a movement and applied after it, once more and in any order."""
    await build(mall)
    alice = await add_user(mall, "alice")
    boards, readings = boards_at(clock(), mall.zone), list[Any]()
    for points in (5, 7, 1):
        await give_points(mall, alice, points)
        clock.advance(seconds=1)
        async with mall.stores.read() as session:
            readings.append(await read_scores(session, [alice], boards))
    await mall.movements.told()
    for number in (0, 2, 1, 0, 2):
        pipeline = mall.stores.redis.pipeline(transaction=False)
        add_scores(pipeline, readings[number], boards, clock(), mall.zone)
        assert await pipeline.execute() == [0] * len(boards)
    await require_ranks_of_the_log(mall)


async def test_many_who_ask_at_once_are_ranked_once(statements: Statements, mall: Mall) -> None:
    """Without boards: whoever asks while a statement runs shares the next one."""
    await mall.stores.redis.flushdb()
    members = [await add_user(mall, f"member-{number}") for number in range(30)]
    for user_id in members:
        await give_points(mall, user_id, 10)
    mall.movements.ask_for_rebuild()
    await mall.movements.told()
    statements.seen.clear()
    now = mall.clock()
    found = await asyncio.gather(*(read_ranks(mall, _ALL_TIME, [user], now) for user in members))
    assert [ranks.standings[user].rank for ranks, user in zip(found, members, strict=True)] == [
        *range(1, 31)
    ]
    assert 0 < len([each for each in statements.seen if each.startswith("WITH scores")]) < 4
