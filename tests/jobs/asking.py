"""Jobs for tests of what runs jobs, and asking for them: each row leaves a trace of its effect."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from jobs.job import Job, Payload, Queue, SetJob, StepJob, TalkJob
from services.bulk import Writes
from services.mall import Mall
from services.outbox import enqueue
from services.transaction import transaction
from tests.factories import execute

STEPS = 3


async def _trace(session: AsyncSession, _mall: Mall, payloads: Sequence[Payload]) -> None:
    numbers = [payload["number"] for payload in payloads]
    if -1 in numbers:
        raise ValueError("minus one is never right")
    await session.execute(
        text("INSERT INTO traces SELECT unnest(CAST(:numbers AS int[]))"), {"numbers": numbers}
    )


async def _step(mall: Mall, payload: Payload) -> bool:
    """Leaves one trace a step, and has more to do until there are `STEPS`."""
    async with transaction(mall.stores.write) as session:
        rows = await session.execute(
            text(
                "INSERT INTO traces VALUES (:number)"
                " RETURNING (SELECT count(*) FROM traces WHERE number = :number)"
            ),
            {"number": payload["number"]},
        )
        await asyncio.sleep(payload.get("takes_s", 0))
        return rows.scalar_one() < STEPS - 1  # a statement does not see its own rows


async def _hold(_mall: Mall, payload: Payload) -> bool:
    """Waits, as for a provider, and leaves nothing."""
    await asyncio.sleep(payload["takes_s"])
    return False


async def _take(_session: AsyncSession, _mall: Mall, payload: Payload) -> list[Payload]:
    if payload["number"] == -2:
        raise ValueError("minus two cannot be taken")
    return [payload]


async def _talk(_mall: Mall, work: list[Payload], stopping: asyncio.Event) -> None:
    for payload in work:
        with suppress(TimeoutError):
            async with asyncio.timeout(payload.get("takes_s", 0)):
                await stopping.wait()


async def _note(
    session: AsyncSession, mall: Mall, work: list[Payload], is_ours: bool
) -> datetime | None:
    put_off_s = work[0].get("put_off_s")
    if put_off_s is not None:
        return mall.clock() + timedelta(seconds=put_off_s)
    if is_ours:
        await _trace(session, mall, work)
    return None


JOBS: dict[str, Job] = {
    "trace": SetJob("trace", _trace, batch=50),
    "steps": StepJob("steps", _step, Queue.BULK),
    "hold": StepJob("hold", _hold, Queue.BULK),
    "talk": TalkJob("talk", _take, _talk, _note, Queue.BULK_PUSHES, batch=10),
}


async def prepare(mall: Mall) -> None:
    """Make the table in which effects are seen."""
    await execute(mall, "CREATE TABLE traces (number int NOT NULL)")


async def ask(mall: Mall, job: str, numbers: Sequence[int], **payload: Any) -> list[int]:
    """Ask for the job once per number; returns the ids of the rows."""
    async with transaction(mall.stores.write) as session:
        writes = Writes()
        payloads = [{"number": number, **payload} for number in numbers]
        enqueue(writes, job, payloads, mall.clock())
        await writes.flush(session)
    return [row.id for row in await execute(mall, "SELECT id FROM outbox ORDER BY id")]


async def traces(mall: Mall) -> list[int]:
    """The effects there are."""
    return [row.number for row in await execute(mall, "SELECT number FROM traces ORDER BY number")]


async def count_open(mall: Mall) -> int:
    """How many rows are neither done nor failed."""
    rows = await execute(
        mall,
        "SELECT count(*) AS open FROM outbox WHERE done_at IS NULL AND failed_at IS NULL",
    )
    return rows[0].open


async def until(is_true: Callable[[], Awaitable[object]], timeout_s: float = 30.0) -> None:
    """Wait until that is so; raises TimeoutError when it does not become so."""
    async with asyncio.timeout(timeout_s):
        while True:
            if await is_true():
                return
            await asyncio.sleep(0.05)


async def all_done(mall: Mall, timeout_s: float = 30.0) -> None:
    """Wait until no row is open."""

    async def is_done() -> bool:
        return await count_open(mall) == 0

    await until(is_done, timeout_s)
