"""What transactions asked for reaches workers through a real broker, whatever dies on the way."""

import asyncio
import os
import random
import signal
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
import redis

from jobs.broker import open_broker
from jobs.relay import Relay
from services.mall import Mall, open_mall
from services.outbox import take_due
from services.transaction import transaction
from services.workers import count_workers, join_workers
from settings import JobSettings, Settings
from tests.clock import MovableClock
from tests.factories import execute
from tests.jobs.asking import JOBS, STEPS, all_done, ask, prepare, traces, until
from tests.jobs.workers import Start, working

_ROOT = Path(__file__).parents[2]


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """Rows fall due again soon, so that no test waits a minute for what was lost."""
    return replace(settings, jobs=JobSettings(job_resend_s=1.0))


@pytest.fixture
async def running_mall(settings: Settings) -> AsyncIterator[Mall]:
    """A mall whose clock runs."""
    client = redis.Redis.from_url(str(settings.stores.redis_url))
    client.flushdb()
    async with open_mall(settings) as mall:
        await prepare(mall)
        yield mall
    client.flushdb()


async def test_rows_are_run_once_and_soon(running_mall: Mall) -> None:
    """A row is heard of at its commit; hundreds of them go as a few messages."""
    mall = running_mall
    async with working(mall):
        await ask(mall, "trace", range(500))
        await ask(mall, "steps", [1_000])
        await all_done(mall)
    assert await traces(mall) == [*range(500), *[1_000] * STEPS]


async def test_what_is_prompt_does_not_wait_behind_what_is_bulky(running_mall: Mall) -> None:
    """However many long jobs hold the threads of their own queue."""
    mall = running_mall
    async with working(mall):
        await ask(mall, "hold", range(20), takes_s=2.0)

        async def are_held() -> bool:
            rows = await execute(
                mall, "SELECT count(*) AS held FROM outbox WHERE claim IS NOT NULL"
            )
            return rows[0].held == mall.settings.jobs.worker_threads

        await until(are_held)
        await ask(mall, "trace", range(10))
        await ask(mall, "talk", [10])

        async def are_traced() -> bool:
            return await traces(mall) == list(range(11))

        await until(are_traced, 10.0)
        (held,) = await execute(
            mall, "SELECT count(*) AS held FROM outbox WHERE job = 'hold' AND done_at IS NULL"
        )
        assert held.held > 0
        await execute(mall, "UPDATE outbox SET done_at = now() WHERE done_at IS NULL")


async def test_the_more_workers_the_more_is_under_way(running_mall: Mall) -> None:
    """Each counts for as long as its connection lives."""
    mall = running_mall

    async def count() -> int:
        async with mall.stores.engine.connect() as connection:
            return await count_workers(connection)

    async def there_is_one() -> bool:
        return await count() == 1

    assert await count() == 0
    async with working(mall):
        await until(there_is_one)
        async with mall.stores.engine.connect() as connection:
            await join_workers(connection)
            assert await count() == 2
            await connection.invalidate()
        await until(there_is_one)
    assert await count() == 0


_CONNECTIONS = """
    SELECT pid FROM pg_locks JOIN pg_database ON pg_database.oid = database
    WHERE locktype = 'advisory' AND datname = current_database()
"""


async def test_a_relay_that_was_cut_off_listens_again(running_mall: Mall) -> None:
    """Its connection ended, and it alone: within seconds it has another."""
    mall = running_mall

    async def connections() -> set[int]:
        return {row.pid for row in await execute(mall, _CONNECTIONS)}

    async def there_is_one() -> bool:
        return len(await connections()) == 1

    async def there_is_another() -> bool:
        return await there_is_one() and await connections() != before

    async with working(mall):
        await until(there_is_one)
        before = await connections()
        for pid in before:
            await execute(mall, "SELECT pg_terminate_backend(:pid)", pid=pid)
        await until(there_is_another)


async def test_rows_wait_until_they_are_due(mall: Mall, clock: MovableClock) -> None:
    """And none is taken twice while it is in flight."""
    await prepare(mall)
    await ask(mall, "trace", range(3))
    await execute(mall, "UPDATE outbox SET due_at = due_at + interval '1 hour' WHERE id % 2 = 0")

    async def take() -> int:
        async with transaction(mall.stores.write) as session:
            taken = await take_due(session, {"trace": 100}, clock(), 60)
        return sum(map(len, taken.values()))

    counts = await asyncio.gather(*(take() for _ in range(5)))
    assert sum(counts) == 2
    clock.now += timedelta(seconds=61)
    assert await take() == 2  # whoever had them is thought dead
    clock.now += timedelta(hours=1)
    assert await take() == 3


async def test_no_more_is_in_flight_than_there_is_room_for(mall: Mall) -> None:
    """A job with a million rows does not fill the broker."""
    await prepare(mall)
    await ask(mall, "trace", range(300))

    async def take(most: int) -> int:
        async with transaction(mall.stores.write) as session:
            taken = await take_due(session, {"trace": most, "steps": 5}, mall.clock(), 60)
        return len(taken.get("trace", ()))

    assert [await take(100), await take(100), await take(120), await take(0)] == [100, 0, 20, 0]


async def test_a_broker_that_is_away_loses_nothing(running_mall: Mall, settings: Settings) -> None:
    """The rows are given back, and sent when it is there again."""
    mall = running_mall
    nowhere = replace(settings, jobs=JobSettings(broker_url="redis://127.0.0.1:1/0"))
    await ask(mall, "trace", range(10))
    await Relay(mall, open_broker(nowhere), JOBS).relay_once()
    assert await traces(mall) == []
    async with working(mall):
        await all_done(mall)
    assert await traces(mall) == list(range(10))


async def test_a_broker_that_forgets_loses_nothing(running_mall: Mall, settings: Settings) -> None:
    """Emptied again and again while jobs run: what it lost is sent again."""
    mall = running_mall
    client = redis.Redis.from_url(str(settings.stores.redis_url))
    async with working(mall):
        for start in range(0, 2_000, 200):
            await ask(mall, "trace", range(start, start + 200))
            client.flushdb()
        await all_done(mall)
    assert await traces(mall) == list(range(2_000))


async def test_workers_killed_at_any_moment_lose_and_double_nothing(
    running_mall: Mall, start_worker: Start
) -> None:
    """Two workers, one of which is always being killed, while rows keep coming."""
    mall = running_mall
    workers = [await asyncio.to_thread(start_worker) for _ in range(2)]
    for start in range(0, 1_800, 300):
        await ask(mall, "trace", range(start, start + 300))
        await asyncio.sleep(random.uniform(0, 0.2))
        victim = workers.pop(0)
        os.kill(victim.pid, signal.SIGKILL)
        workers.append(await asyncio.to_thread(start_worker))
    await all_done(mall)
    assert await traces(mall) == list(range(1_800))


async def test_a_worker_asked_to_stop_ends_what_it_does(
    running_mall: Mall, start_worker: Start
) -> None:
    """Within its grace, and hands on the rest of a long job."""
    mall = running_mall
    worker = await asyncio.to_thread(start_worker)
    await ask(mall, "steps", [1], takes_s=1.0)
    await until(lambda: execute(mall, "SELECT 1 FROM outbox WHERE sent_at IS NOT NULL"))
    await asyncio.sleep(0.5)
    os.kill(worker.pid, signal.SIGINT)
    started = time.monotonic()
    await asyncio.to_thread(worker.wait, 15)
    assert time.monotonic() - started < 15
    async with working(mall):
        await all_done(mall)
    assert await traces(mall) == [1] * STEPS
