"""One leader among many schedulers; another takes over; no time of the schedule comes twice."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from jobs.schedule import Scheduled
from jobs.scheduler import LEADER_LOCK, keep_schedule, tick
from services.mall import Mall, open_mall
from services.schedule import take_slot
from services.transaction import transaction
from settings import Settings
from tests.clock import MovableClock
from tests.concurrency.servers import environment_of
from tests.factories import execute
from tests.jobs.asking import until

_ROOT = Path(__file__).parents[2]
_TAKE_OVER_S = 10.0  # the issue's own bound, and the rule's
SCHEDULE = (Scheduled("often", "* * * * *"), Scheduled("daily", "0 9 * * *"))


async def asked_for(mall: Mall, job: str) -> list[str]:
    """The slots at which a job was asked for."""
    rows = await execute(
        mall, "SELECT payload->>'slot_at' AS slot FROM outbox WHERE job = :job ORDER BY id", job=job
    )
    return [row.slot for row in rows]


async def tick_at(mall: Mall) -> None:
    """Look at the schedule once."""
    async with mall.stores.engine.connect() as connection:
        await tick(connection, mall, SCHEDULE)


async def test_jobs_are_asked_for_when_their_time_comes(mall: Mall, clock: MovableClock) -> None:
    """Not at once when they are new, then at every time once, and after a downtime once."""
    clock.now = datetime.fromisoformat("2026-11-20T08:58:30+08:00")
    await tick_at(mall)
    assert await asked_for(mall, "often") == []
    for _ in range(8):
        clock.advance(seconds=20)
        await tick_at(mall)
        await all_done(mall)
    assert [slot[11:16] for slot in await asked_for(mall, "often")] == ["08:59", "09:00", "09:01"]
    assert await asked_for(mall, "daily") == ["2026-11-20T09:00:00+08:00"]
    clock.advance(days=3, hours=5)
    await tick_at(mall)
    await tick_at(mall)
    assert [slot[:16] for slot in await asked_for(mall, "daily")] == [
        "2026-11-20T09:00",
        "2026-11-23T09:00",
    ]


async def all_done(mall: Mall) -> None:
    """Workers have done what was asked for."""
    await execute(mall, "UPDATE outbox SET done_at = created_at WHERE done_at IS NULL")


async def test_slots_do_not_pile_up_behind_workers_that_are_away(
    mall: Mall, clock: MovableClock
) -> None:
    """One row waits for them, however many times came; afterwards the next time is asked for."""
    await tick_at(mall)
    for _ in range(30):
        clock.advance(minutes=1)
        await tick_at(mall)
    assert len(await asked_for(mall, "often")) == 1
    await all_done(mall)
    await tick_at(mall)
    assert len(await asked_for(mall, "often")) == 1
    clock.advance(minutes=1)
    await tick_at(mall)
    assert len(await asked_for(mall, "often")) == 2


async def test_a_slot_is_taken_once(mall: Mall) -> None:
    """By twenty at the same time, and never again once a later one was taken."""
    now = mall.clock()
    await tick_at(mall)
    slot = now + timedelta(minutes=1)

    async def take(slot_at: datetime) -> bool:
        async with transaction(mall.stores.write) as session:
            return await take_slot(session, "often", slot_at, now)

    assert sum(await asyncio.gather(*(take(slot) for _ in range(20)))) == 1
    assert not await take(slot + timedelta(seconds=30))  # what was asked for is not done
    await all_done(mall)
    assert await take(slot + timedelta(minutes=1))
    assert not await take(slot)
    assert len(await asked_for(mall, "often")) == 2


@pytest.fixture
async def running_mall(settings: Settings) -> AsyncIterator[Mall]:
    """A mall whose clock runs."""
    async with open_mall(settings) as mall:
        yield mall


Start = Callable[[], subprocess.Popen[bytes]]


@pytest.fixture
def start_scheduler(settings: Settings, tmp_path: Path) -> Iterator[Start]:
    """Start `cli.py scheduler`; those that live in the end are killed."""
    started: list[subprocess.Popen[bytes]] = []

    def start() -> subprocess.Popen[bytes]:
        with (tmp_path / "scheduler.log").open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "cli.py", "scheduler"],
                cwd=_ROOT,
                env=environment_of(settings),
                stdout=log,
                stderr=log,
            )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()


async def leader(mall: Mall) -> Any:
    """The backend that holds the lock, and None while nobody leads."""
    rows = await execute(
        mall,
        "SELECT pid FROM pg_locks JOIN pg_database AS here ON here.oid = database"
        " WHERE locktype = 'advisory' AND granted AND datname = current_database()"
        " AND ((classid::bigint << 32) | objid::bigint) = :key",
        key=LEADER_LOCK,
    )
    return rows[0].pid if rows else None


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGSTOP, signal.SIGTERM])
async def test_another_takes_over(
    running_mall: Mall, start_scheduler: Start, end: signal.Signals
) -> None:
    """Within ten seconds when the leader is killed, frozen, or asked to stop."""
    mall = running_mall
    first = start_scheduler()
    await until(lambda: leader(mall))
    led = await leader(mall)
    waiting = asyncio.create_task(keep_schedule(mall, SCHEDULE))
    await asyncio.sleep(1.5)
    assert await leader(mall) == led

    async def is_led_by_another() -> bool:
        return await leader(mall) not in (None, led)

    os.kill(first.pid, end)
    await until(is_led_by_another, _TAKE_OVER_S)
    waiting.cancel()
    await asyncio.wait([waiting])


async def test_a_leader_frozen_in_the_middle_of_a_transaction_is_replaced(
    running_mall: Mall, start_scheduler: Start
) -> None:
    """Its statement ends while it sleeps, and leaves the transaction open."""
    mall = running_mall
    first = start_scheduler()
    await until(lambda: leader(mall))
    led = await leader(mall)
    async with transaction(mall.stores.write) as session:
        await session.execute(text("LOCK TABLE scheduled_jobs IN ACCESS EXCLUSIVE MODE"))

        async def waits_in_a_transaction() -> bool:
            waiting = await execute(
                mall,
                "SELECT pid FROM pg_stat_activity WHERE pid = :pid AND wait_event_type = 'Lock'",
                pid=led,
            )
            return bool(waiting)

        await until(waits_in_a_transaction)
        os.kill(first.pid, signal.SIGSTOP)
    waiting = asyncio.create_task(keep_schedule(mall, SCHEDULE))

    async def is_led_by_another() -> bool:
        return await leader(mall) not in (None, led)

    await until(is_led_by_another, _TAKE_OVER_S)
    waiting.cancel()
    await asyncio.wait([waiting])


async def test_a_database_that_restarts_is_waited_for(running_mall: Mall) -> None:
    """The leader's session is ended; it leads again."""
    mall = running_mall
    keeping = asyncio.create_task(keep_schedule(mall, SCHEDULE))
    await until(lambda: leader(mall))
    led = await leader(mall)
    await execute(mall, "SELECT pg_terminate_backend(:pid)", pid=led)

    async def leads_again() -> bool:
        return await leader(mall) not in (None, led)

    await until(leads_again, _TAKE_OVER_S)
    keeping.cancel()
    await asyncio.wait([keeping])
