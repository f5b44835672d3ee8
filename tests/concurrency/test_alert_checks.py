"""Two schedulers and several workers at once: one alert, told once."""

import asyncio

from jobs.registry import JOBS
from jobs.runner import Runner
from services.mall import Mall
from tests.alerts import alerts, ask_for, tellings
from tests.clock import MovableClock
from tests.factories import execute


async def test_two_who_check_at_once_raise_one_alert(mall: Mall, clock: MovableClock) -> None:
    """Each minute for an hour; told when it begins, and after 30 and 60 minutes."""
    await execute(
        mall,
        "INSERT INTO outbox (job, payload, failed_at) VALUES ('expire_points', '{}', now())",
    )
    for _ in range(61):
        await ask_for(mall, "check_alerts")
        await ask_for(mall, "check_alerts")
        rows = await execute(
            mall,
            "UPDATE outbox SET sent_at = :now WHERE job = 'check_alerts' AND done_at IS NULL"
            " RETURNING id",
            now=clock.now,
        )
        await asyncio.gather(*(Runner(mall, JOBS).run("check_alerts", [row.id]) for row in rows))
        await execute(
            mall,
            "UPDATE outbox SET done_at = now() WHERE job = 'tell_of_alert' AND done_at IS NULL",
        )
        clock.advance(minutes=1)
    (alert,) = await alerts(mall)
    assert (alert.kind, alert.occurrences) == ("dead_jobs", 122)
    assert await tellings(mall) == [
        ("dead_jobs", "raised"),
        ("dead_jobs", "repeated"),
        ("dead_jobs", "repeated"),
    ]
