"""Places across processes: so many at once whoever gives them, and none that outlives its process.

Two `Leases` on one Redis are two processes.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, contextmanager, suppress

import pytest
from redis.asyncio import Redis
from redis.asyncio.client import Pipeline
from redis.exceptions import ConnectionError as RedisConnectionError
from structlog.testing import capture_logs

from models.stores import create_redis
from services.live.leases import Leases, open_leases
from settings import StoreSettings

LIMIT = 3
LEASE_S = 0.3


@pytest.fixture
async def redis(redis_url: str) -> AsyncIterator[Redis]:
    client = create_redis(StoreSettings(redis_url=redis_url))
    yield client
    await client.aclose()


@pytest.fixture
async def processes(redis: Redis) -> AsyncIterator[tuple[Leases, Leases]]:
    async with AsyncExitStack() as stack:
        yield (
            await stack.enter_async_context(open_leases(redis)),
            await stack.enter_async_context(open_leases(redis)),
        )


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(10):
        while not await condition():  # noqa: ASYNC110
            await asyncio.sleep(0.02)


async def test_a_limit_holds_across_processes(processes: tuple[Leases, Leases]) -> None:
    """However many ask at once, in whichever; other holders are not concerned."""
    asking = [processes[number % 2].take("alice", LIMIT) for number in range(20)]
    assert sum(await asyncio.gather(*asking)) == LIMIT
    assert await processes[0].take("bob", LIMIT)
    assert len(processes[0]) + len(processes[1]) == LIMIT + 1


async def test_what_is_given_back_can_be_given_elsewhere(
    processes: tuple[Leases, Leases],
) -> None:
    here, there = processes
    for _ in range(LIMIT):
        assert await here.take("alice", LIMIT)
    assert not await there.take("alice", LIMIT)
    here.give_back("alice")
    await until(lambda: there.take("alice", LIMIT))
    assert (len(here), len(there)) == (LIMIT - 1, 1)
    assert not await here.take("alice", LIMIT)


async def test_nothing_is_left_in_redis(redis: Redis) -> None:
    async with open_leases(redis) as leases:
        for _ in range(LIMIT):
            assert await leases.take("alice", LIMIT)
        for _ in range(LIMIT):
            leases.give_back("alice")

        async def is_gone() -> bool:
            return await redis.keys("*:of:*") == []

        await until(is_gone)
    assert await redis.keys() == []


async def test_a_killed_process_holds_nothing(redis: Redis) -> None:
    """It says nothing any more, and that is all it takes."""
    killed = Leases(redis, lease_s=LEASE_S)
    keeping = asyncio.create_task(killed.keep())
    for _ in range(LIMIT):
        assert await killed.take("alice", LIMIT)
    keeping.cancel()
    with suppress(asyncio.CancelledError):
        await keeping
    async with open_leases(redis) as leases:
        assert not await leases.take("alice", LIMIT)
        await until(lambda: leases.take("alice", LIMIT))


async def test_a_process_that_lives_is_believed(redis: Redis) -> None:
    """For as long as it says so, although nothing changes."""
    async with open_leases(redis, lease_s=LEASE_S) as here, open_leases(redis) as there:
        for _ in range(LIMIT):
            assert await here.take("alice", LIMIT)
        for _ in range(8):
            await asyncio.sleep(LEASE_S / 4)
            assert not await there.take("alice", LIMIT)


async def test_a_redis_that_forgot_is_told_again(redis: Redis) -> None:
    async with open_leases(redis, lease_s=LEASE_S) as here, open_leases(redis) as there:
        for _ in range(LIMIT):
            assert await here.take("alice", LIMIT)
        await redis.flushdb()

        async def is_told() -> bool:
            return bool(await redis.keys("*:of:alice"))

        await until(is_told)
        assert not await there.take("alice", LIMIT)


async def test_without_redis_each_process_counts_for_itself() -> None:
    """And waits for it no longer than once."""
    nowhere = create_redis(StoreSettings(redis_url="redis://127.0.0.1:1"))
    with capture_logs() as logs:
        async with open_leases(nowhere) as leases:
            given = await asyncio.gather(*(leases.take("alice", LIMIT) for _ in range(5)))
            assert (sum(given), len(leases)) == (LIMIT, LIMIT)
            leases.give_back("alice")
            assert await leases.take("alice", LIMIT)
    assert [line["event"] for line in logs] == ["connections_counted_alone"]
    await nowhere.aclose()


@pytest.fixture
async def parted(redis_url: str) -> AsyncIterator[Redis]:
    """Another client, which a test may part from its server."""
    client = create_redis(StoreSettings(redis_url=redis_url))
    yield client
    await client.aclose()


@contextmanager
def away(redis: Redis) -> Iterator[None]:
    """Meanwhile this client finds no Redis; others do."""
    there, nowhere = redis.connection_pool, StoreSettings(redis_url="redis://127.0.0.1:1")
    redis.connection_pool = create_redis(nowhere).connection_pool
    yield
    redis.connection_pool = there


async def test_what_was_given_while_redis_was_away_counts_when_it_is_back(
    redis: Redis, parted: Redis
) -> None:
    """Redis has forgotten nothing and counts the process as alive: it is told what changed."""
    async with open_leases(parted) as here, open_leases(redis) as there:
        assert await here.take("bob", LIMIT)
        with capture_logs() as logs, away(parted):
            for _ in range(LIMIT):  # the first notices that it is away, the others know
                assert await here.take("alice", LIMIT)
        assert [line["event"] for line in logs] == ["connections_counted_alone"]

        async def is_told() -> bool:
            return not here._is_away

        await until(is_told)
        assert not await there.take("alice", LIMIT)
        assert await there.take("bob", LIMIT)


async def test_what_was_asked_for_and_not_heard_is_put_right(
    processes: tuple[Leases, Leases], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Redis counted a place, the answer was lost, and whoever asked has gone: nobody holds it."""
    has_run, is_lost, execute = asyncio.Event(), asyncio.Event(), Pipeline.execute

    async def execute_and_lose(pipeline: Pipeline) -> None:
        monkeypatch.setattr(Pipeline, "execute", execute)
        await execute(pipeline)
        has_run.set()
        await is_lost.wait()
        raise RedisConnectionError("the answer was lost")

    here, there = processes
    monkeypatch.setattr(Pipeline, "execute", execute_and_lose)
    with capture_logs():
        asking = asyncio.ensure_future(here.take("alice", 1))
        await has_run.wait()
        assert not await there.take("alice", 1)
        asking.cancel()
        is_lost.set()
        with pytest.raises(asyncio.CancelledError):
            await asking
        await until(lambda: there.take("alice", 1))
    assert (len(here), len(there)) == (0, 1)


async def test_who_leaves_while_asking_takes_no_place(processes: tuple[Leases, Leases]) -> None:
    here, _ = processes
    for passes in range(12):
        asking = asyncio.ensure_future(here.take("alice", LIMIT))
        for _ in range(passes):
            await asyncio.sleep(0)
        asking.cancel()
        with suppress(asyncio.CancelledError):
            if await asking:
                here.give_back("alice")

    for _ in range(LIMIT):  # the last who left may still be on the way
        await until(lambda: here.take("alice", LIMIT))
    assert not await here.take("alice", LIMIT)
