"""What makes the mall alert, by real data, and what makes it well again: one row for each kind.

Each cause makes it wrong, yields, and makes it right.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from sqlalchemy import text

from services.mall import Mall
from services.monitoring.alerts import AlertKind
from services.outbox import retry_failed
from services.transaction import transaction
from settings import LimitSettings
from tests.alerts import ask_for, deliver, look, open_kinds, run_once
from tests.client import Client
from tests.clock import MovableClock
from tests.doubles.alert_receiver import AlertReceiver
from tests.doubles.both import both_doubles
from tests.factories import add_item, add_task, add_user, execute, give_points
from tests.jobs.asking import until
from tests.jobs.due import look_at_schedule
from tests.journeys.money import grant
from tests.journeys.steps import check_in, complete, exchange
from tests.journeys.test_devices import register
from tests.services.monitoring import test_rules_on_data
from tests.services.monitoring.test_rules_on_data import expire, members, place, see
from tests.services.notifications.pushing import add_device, draft, post_office
from tests.services.notifications.test_outages import wait_until_alerted
from tests.sharing import add_invite, reward

THRESHOLDS = {**test_rules_on_data.THRESHOLDS, "slow_exchange_s": 0.2}
"""What a handful of members reach."""
LIMITS = LimitSettings(
    rate_limit_factor=1_000,
    gains_held_above=6_000,
    invites_held_above=1,
    device_accounts_held_above=2,
)


@dataclass(frozen=True)
class Scene:
    """A mall, who asks it, who is told of its alerts, and where files may be."""

    mall: Mall
    client: Client
    clock: MovableClock
    receiver: AlertReceiver
    directory: Path


async def _few_exchange(scene: Scene) -> AsyncGenerator[None]:
    ids = await members(scene.mall, 3, scene.clock.now)
    yield
    item = await add_item(scene.mall, points=100, stock=10)
    for user_id in ids[:2]:
        await give_points(scene.mall, user_id, 200)
        await place(scene.mall, user_id, item)


async def _much_expires(scene: Scene) -> AsyncGenerator[None]:
    user_id = await add_user(scene.mall)
    await expire(scene.mall, scene.clock, user_id, 100)
    yield
    await give_points(scene.mall, user_id, 1_000)
    await place(scene.mall, user_id, await add_item(scene.mall, points=400, stock=1))


async def _much_will_expire(scene: Scene) -> AsyncGenerator[None]:
    user_id = await add_user(scene.mall)
    ends = scene.clock.now + timedelta(days=6)
    await give_points(scene.mall, user_id, 1_001, expires_at=ends)
    yield
    scene.clock.advance(days=7)


async def _few_come(scene: Scene) -> AsyncGenerator[None]:
    ids = await members(scene.mall, 3, scene.clock.now - timedelta(days=31))
    yield
    await see(scene.mall, ids)


async def _one_gains_much(scene: Scene) -> AsyncGenerator[None]:
    """What may be gained is measured, what may not is held."""
    await scene.client.user_id("shop", "service", "operator")
    alice = await add_user(scene.mall, "alice")
    statuses = [
        (await grant(scene.client, alice, points, f"{points}"))["pointsRecord"]["status"]
        for points in (5_001, 1_000)
    ]
    assert statuses == ["ACTIVE", "PENDING"]
    await run_once(scene.mall, "alert_of_holds")
    yield
    scene.clock.advance(minutes=61)


async def _an_exchange_waits(scene: Scene) -> AsyncGenerator[None]:
    alice = await add_user(scene.mall, "alice")
    await give_points(scene.mall, alice, 1_000)
    item = await add_item(scene.mall, points=100, stock=5)
    async with transaction(scene.mall.stores.write) as session:
        await session.execute(text("SELECT FROM users WHERE id = :id FOR UPDATE"), {"id": alice})
        waiting = asyncio.create_task(exchange(scene.client, "alice", item))
        await asyncio.sleep(THRESHOLDS["slow_exchange_s"] * 1.5)
    assert (await waiting)["__typename"] == "OneClickExchangeSuccess"

    async def is_raised() -> bool:
        return "slow_exchange" in await open_kinds(scene.mall)

    await until(is_raised)
    yield
    scene.clock.advance(minutes=31)


async def _one_phone_for_three(scene: Scene) -> AsyncGenerator[None]:
    for name in ("alice", "bob", "carol"):
        await scene.client.user_id(name)
        await register(scene.client, name, token="one phone")
    await check_in(scene.client, "carol")
    await run_once(scene.mall, "alert_of_holds")
    yield
    scene.clock.advance(minutes=31)


async def _one_invites_many(scene: Scene) -> AsyncGenerator[None]:
    task = await add_task(scene.mall, frequency="once")
    alice = await add_user(scene.mall, "alice")
    for name in ("bob", "carol"):
        await add_invite(scene.mall, alice, await add_user(scene.mall, name))
        await complete(scene.client, name, task)
        await reward(scene.mall)
    await run_once(scene.mall, "alert_of_holds")
    yield
    scene.clock.advance(minutes=31)


async def _a_push_provider_is_away(scene: Scene) -> AsyncGenerator[None]:
    alice = await add_user(scene.mall, "alice")
    await add_device(scene.mall, alice, "phone")
    async with (
        both_doubles(scene.directory) as doubles,
        post_office(scene.mall, doubles.settings()) as office,
    ):
        doubles.fcm.script.set("phone", "unavailable")
        for about in range(6):
            await draft(scene.mall, alice, about=str(about))
        await wait_until_alerted(scene.mall, office, scene.clock)
        yield
        doubles.fcm.script.set("phone", "success")
        scene.clock.advance(minutes=31)
        await office.deliver()


async def _a_row_is_changed(scene: Scene) -> AsyncGenerator[None]:
    await give_points(scene.mall, await add_user(scene.mall), 100)
    change = "UPDATE points_records SET points = points + :by"
    await execute(scene.mall, change, by=-1)
    yield
    await execute(scene.mall, change, by=1)


async def _a_job_dies(scene: Scene) -> AsyncGenerator[None]:
    await ask_for(scene.mall, "expire_points")
    died = "UPDATE outbox SET failed_at = :now WHERE job = 'expire_points'"
    await execute(scene.mall, died, now=scene.clock.now)
    yield
    await _retry(scene.mall)
    await run_once(scene.mall, "expire_points")


async def _nobody_works(scene: Scene) -> AsyncGenerator[None]:
    await ask_for(scene.mall, "expire_points")
    scene.clock.advance(seconds=901)
    yield
    await run_once(scene.mall, "expire_points")


async def _nobody_asks(scene: Scene) -> AsyncGenerator[None]:
    await look_at_schedule(scene.mall, ["check_alerts"])
    scene.clock.advance(seconds=361)
    yield
    await look_at_schedule(scene.mall, ["check_alerts"])


async def _nobody_is_told(scene: Scene) -> AsyncGenerator[None]:
    """An alert about something else cannot be delivered by any channel."""
    every = scene.receiver.refuses_every
    scene.receiver.refuses_every = 1
    await _a_job_dies(scene).asend(None)
    await look(scene.mall)
    await deliver(scene.mall, scene.clock, rounds=12)
    scene.receiver.refuses_every = every
    yield
    await _retry(scene.mall)
    await deliver(scene.mall, scene.clock)


async def _retry(mall: Mall) -> None:
    async with transaction(mall.stores.write) as session:
        await retry_failed(session, None, mall.clock())


CAUSES: Mapping[AlertKind, Callable[[Scene], AsyncGenerator[None]]] = {
    AlertKind.EXCHANGE_RATE_LOW: _few_exchange,
    AlertKind.EXPIRY_RATE_HIGH: _much_expires,
    AlertKind.POINTS_EXPIRING: _much_will_expire,
    AlertKind.FEW_ACTIVE_USERS: _few_come,
    AlertKind.ABNORMAL_GAINS: _one_gains_much,
    AlertKind.SLOW_EXCHANGE: _an_exchange_waits,
    AlertKind.MANY_ACCOUNTS_ON_A_DEVICE: _one_phone_for_three,
    AlertKind.MANY_INVITES: _one_invites_many,
    AlertKind.PUSH_PROVIDER_DOWN: _a_push_provider_is_away,
    AlertKind.LEDGER_DRIFT: _a_row_is_changed,
    AlertKind.DEAD_JOBS: _a_job_dies,
    AlertKind.OUTBOX_LAG: _nobody_works,
    AlertKind.SCHEDULE_SILENT: _nobody_asks,
    AlertKind.ALERTS_UNDELIVERED: _nobody_is_told,
}
