"""What a process notices while it serves."""

import asyncio
from dataclasses import replace

import pytest
from sqlalchemy import text

from services.mall import Mall
from services.monitoring.alerts import AlertKind, Sighting
from services.transaction import transaction
from settings import AlertingSettings, Settings
from tests.alerts import alerts, run_jobs, tellings
from tests.client import Client
from tests.clock import MovableClock
from tests.factories import add_item, add_user, execute, give_points
from tests.jobs.asking import until
from tests.journeys.steps import exchange

SLOW_S = 0.2


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """Exchanges are slow early."""
    alerting = AlertingSettings(alert_thresholds={"slow_exchange_s": SLOW_S})
    return replace(settings, alerting=alerting)


async def test_a_slow_exchange_alerts_and_succeeds(
    mall: Mall, client: Client, clock: MovableClock
) -> None:
    """Held up by a lock, over HTTP; quick ones say nothing. Over after half an hour."""
    user_id = await add_user(mall, "alice")
    await give_points(mall, user_id, 1_000)
    item = await add_item(mall, points=100, stock=5)
    await exchange(client, "alice", item, "quick")
    async with transaction(mall.stores.write) as session:
        await session.execute(text("SELECT FROM users WHERE id = :id FOR UPDATE"), {"id": user_id})
        waiting = asyncio.create_task(exchange(client, "alice", item, "slow"))
        await asyncio.sleep(SLOW_S * 1.5)
    assert (await waiting)["__typename"] == "OneClickExchangeSuccess"

    async def is_raised() -> bool:
        return len(await alerts(mall)) > 0

    await until(is_raised)
    (alert,) = await alerts(mall)
    assert (alert.kind, alert.severity, alert.occurrences) == ("slow_exchange", "medium", 1)
    assert SLOW_S < alert.facts["duration_s"] < 30
    clock.advance(minutes=30)
    await run_jobs(mall, "check_alerts")
    told = [why for kind, why in await tellings(mall) if kind == "slow_exchange"]
    assert told == ["raised", "resolved"]


async def test_a_storm_is_one_alert_and_few_transactions(mall: Mall) -> None:
    """Every occurrence counts, none is written by itself."""
    for number in range(1_000):
        mall.sightings.note(Sighting(AlertKind.SLOW_EXCHANGE, f"number {number}", {"n": number}))
    await mall.sightings.aclose()
    (alert,) = await alerts(mall)
    assert (alert.occurrences, alert.message) == (1_000, "number 999")
    (written,) = await execute(mall, "SELECT count(*) AS rows FROM outbox")
    assert written.rows == 1


async def test_what_cannot_be_written_waits(mall: Mall) -> None:
    """The table is away for a while; nobody who notes hears of it."""
    await execute(mall, "ALTER TABLE alerts RENAME TO away")
    mall.sightings.note(Sighting(AlertKind.SLOW_EXCHANGE, "first", {}))
    await asyncio.sleep(0.1)
    await execute(mall, "ALTER TABLE away RENAME TO alerts")
    mall.sightings.note(Sighting(AlertKind.SLOW_EXCHANGE, "second", {}))
    await mall.sightings.aclose()
    (alert,) = await alerts(mall)
    assert (alert.occurrences, alert.message) == (2, "second")
