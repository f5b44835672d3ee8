"""Running jobs as a worker would, without a broker, and looking at the pushes they leave."""

from collections.abc import Collection, Mapping
from typing import Any

from jobs.job import Job
from jobs.registry import JOBS
from jobs.runner import Runner
from jobs.schedule import SCHEDULE
from jobs.scheduler import tick
from models.notifications import Device
from services.bulk import insert_rows
from services.identifiers import new_id
from services.mall import Mall
from services.outbox import take_due
from services.transaction import transaction
from tests.factories import execute

_ROOM = 100_000


def jobs_named(*names: str) -> Mapping[str, Job]:
    """Those jobs of the mall."""
    return {name: JOBS[name] for name in names}


PLANNING = jobs_named(
    "exchange_confirmation", "back_in_stock", "ask_for_reminders", "remind_members", "plan_campaign"
)
"""The jobs that decide what members are told; delivering it is another's."""


async def run_due(mall: Mall, jobs: Mapping[str, Job] = PLANNING) -> int:
    """Run what is due at the mall's clock until nothing is; returns how many rows that were.

    None of them may fail.
    """
    runner, rows = Runner(mall, jobs), 0
    while taken := await _take(mall, jobs):
        for name, ids in taken.items():
            rows += len(ids)
            for start in range(0, len(ids), jobs[name].batch):
                await runner.run(name, ids[start : start + jobs[name].batch])
        failed = await execute(mall, "SELECT job, error FROM outbox WHERE error IS NOT NULL")
        assert failed == []
    return rows


async def _take(mall: Mall, jobs: Mapping[str, Job]) -> dict[str, list[int]]:
    most = dict.fromkeys(jobs, _ROOM)
    async with transaction(mall.stores.write) as session:
        return await take_due(session, most, mall.clock(), mall.settings.jobs.job_resend_s)


async def look_at_schedule(mall: Mall, jobs: Collection[str] = ("ask_for_reminders",)) -> None:
    """Ask for what the schedule says of those jobs, as a scheduler that looks now."""
    entries = [entry for entry in SCHEDULE if entry.job in jobs]
    async with mall.stores.engine.connect() as connection:
        await tick(connection, mall, entries)


async def tell(mall: Mall) -> None:
    """Let the scheduler look, and workers run what is due."""
    await look_at_schedule(mall)
    await run_due(mall)


async def add_device(mall: Mall, *user_ids: int) -> None:
    """A phone for each of those users."""
    now = mall.clock()
    rows = [(new_id(), user_id, "ios", f"token-{user_id}", now, now) for user_id in user_ids]
    columns = ("id", "user_id", "platform", "token", "created_at", "last_seen_at")
    async with transaction(mall.stores.write) as session:
        await insert_rows(session, Device, columns, rows)


async def pushes(mall: Mall, user_id: int | None = None) -> Any:
    """What members (or one of them) were told, oldest first."""
    return await execute(
        mall,
        "SELECT user_id, type, reference, title, body, payload, status, reason, created_at, due_at"
        " FROM push_records WHERE user_id = coalesce(:user_id, user_id)"
        " ORDER BY created_at, type, reference, user_id",
        user_id=user_id,
    )
