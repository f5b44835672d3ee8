"""Watching a mall in tests: every minute of it as the scheduler and a worker would."""

from collections.abc import Collection
from datetime import timedelta
from typing import Any
from uuid import UUID

from jobs.registry import JOBS
from jobs.runner import Runner
from services.bulk import Writes
from services.mall import Mall
from services.monitoring.alerts import AlertKind, Sighting, raise_alerts
from services.outbox import enqueue
from services.transaction import transaction
from tests.clock import MovableClock
from tests.factories import execute
from tests.jobs.due import jobs_named, run_due

WATCHING = jobs_named(
    *("measure_figures", "sweep_books", "check_alerts", "tell_of_alert", "deliver_alert"),
    "verify_books",
)


async def run_jobs(mall: Mall, *names: str) -> None:
    """Run those jobs, one after another, and what they ask for."""
    for name in names:
        await ask_for(mall, name)
        await run_due(mall, WATCHING)


async def ask_for(mall: Mall, name: str) -> None:
    """Ask for a job, now."""
    async with transaction(mall.stores.write) as session:
        writes = Writes()
        enqueue(writes, name, [{}], mall.clock())
        await writes.flush(session)


async def check(mall: Mall) -> None:
    """Check for alerts, and nothing else: not even tell of them."""
    await ask_for(mall, "check_alerts")
    await run_once(mall, "check_alerts")


async def watch(mall: Mall) -> None:
    """Measure, look at the books and check: what ten minutes of the schedule do."""
    await run_jobs(mall, "measure_figures", "sweep_books", "check_alerts")


async def look(mall: Mall) -> None:
    """Measure, look at the books and check, and nothing else: not even tell of what is wrong."""
    for name in ("measure_figures", "sweep_books", "check_alerts"):
        await ask_for(mall, name)
        await run_once(mall, name)


async def run_once(mall: Mall, job: str) -> int:
    """Run the rows of a job that are due, once; they may fail. Returns how many there were."""
    runner = Runner(mall, JOBS)
    rows = await execute(
        mall,
        "UPDATE outbox SET sent_at = :now, due_at = :again"
        " WHERE job = :job AND due_at <= :now AND done_at IS NULL AND failed_at IS NULL"
        " RETURNING id",
        job=job,
        now=mall.clock(),
        again=mall.clock() + timedelta(minutes=1),
    )
    if rows:
        await runner.run(job, [row.id for row in rows])
    return len(rows)


async def alerts(mall: Mall) -> list[Any]:
    """Every alert, oldest first."""
    return list(await execute(mall, "SELECT * FROM alerts ORDER BY id"))


async def open_kinds(mall: Mall) -> Collection[str]:
    """The kinds of the alerts that are open."""
    return {alert.kind for alert in await alerts(mall) if alert.resolved_at is None}


async def tellings(mall: Mall) -> list[tuple[str, str]]:
    """What operators were to be told, in order: of which kind, and why."""
    rows = await execute(
        mall,
        "SELECT kind, payload ->> 'telling' AS telling FROM outbox"
        " JOIN alerts ON alerts.id = CAST(payload ->> 'alert_id' AS uuid)"
        " WHERE job = 'tell_of_alert' ORDER BY outbox.id",
    )
    return [(row.kind, row.telling) for row in rows]


async def add_alert(mall: Mall, kind: AlertKind = AlertKind.DEAD_JOBS) -> UUID:
    """An alert that is open; returns its id."""
    async with transaction(mall.stores.write) as session:
        await raise_alerts(session, [Sighting(kind, "something is wrong", {})], mall.clock())
    return (await alerts(mall))[-1].id


async def note_days(mall: Mall) -> None:
    """Write down for all who were ever seen that they were, as members, that day."""
    await execute(
        mall,
        """
        INSERT INTO member_days
        SELECT CAST(last_login_at AT TIME ZONE :zone AS date), id FROM users
        WHERE last_login_at IS NOT NULL ON CONFLICT DO NOTHING
        """,
        zone=mall.zone.key,
    )


async def left(mall: Mall) -> list[Any]:
    """The notices that are not delivered."""
    return await execute(
        mall,
        "SELECT payload ->> 'channel' AS channel, attempts, failed_at, error FROM outbox"
        " WHERE job = 'deliver_alert' AND done_at IS NULL ORDER BY id",
    )


async def deliver(mall: Mall, clock: MovableClock, rounds: int = 10) -> None:
    """Let workers run until all is delivered, or so many rounds are over."""
    await run_once(mall, "tell_of_alert")
    for _ in range(rounds):
        if not await run_once(mall, "deliver_alert") and not await left(mall):
            return
        clock.advance(hours=1)
