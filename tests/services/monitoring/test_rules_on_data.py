"""Every rule that figures decide: fired by real rows, and resolved by what puts them right."""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from services.exchange.place import exchange_request
from services.mall import Mall
from services.monitoring.books import sweep_books
from services.transaction import transaction
from settings import AlertingSettings, Settings
from tests.alerts import alerts, note_days, open_kinds, run_jobs, run_once, tellings, watch
from tests.clock import MovableClock
from tests.factories import add_item, add_user, execute, give_points

THRESHOLDS = {
    "exchange_rate": 0.5,
    "exchange_rate_floor_members": 3,
    "expiry_rate_floor_points": 50,
    "expiring_points_7d": 1_000,
    "active_users_24h": 3,
    "gain_1h": 5_000,
}
"""What a handful of members reach."""


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """Thresholds of a small mall."""
    return replace(settings, alerting=AlertingSettings(alert_thresholds=THRESHOLDS))


async def members(mall: Mall, count: int, seen_at: datetime | None) -> list[int]:
    """So many members who were last seen then."""
    ids = [
        await add_user(mall, f"member {number}", last_login_at=seen_at) for number in range(count)
    ]
    await note_days(mall)
    return ids


async def see(mall: Mall, user_ids: list[int]) -> None:
    """Let them be seen now."""
    await execute(
        mall,
        "UPDATE users SET last_login_at = :now WHERE id = ANY(:ids)",
        now=mall.clock(),
        ids=user_ids,
    )
    await note_days(mall)


async def place(mall: Mall, user_id: int, item_id: int) -> None:
    """Exchange an item."""
    request = exchange_request(user_id, item_id, f"key {user_id}", None, is_verified=False)
    await mall.exchanges.submit(request)


async def test_an_empty_mall_cries_no_wolf(mall: Mall, clock: MovableClock) -> None:
    """Nobody is there yet: nothing is wrong."""
    await watch(mall)
    clock.advance(minutes=1)
    await watch(mall)
    assert await alerts(mall) == []


async def test_few_active_users(mall: Mall, clock: MovableClock) -> None:
    """Fewer than there should be of those who are there; over when they come back."""
    ids = await members(mall, 3, clock.now - timedelta(days=31))
    await watch(mall)
    assert await open_kinds(mall) == {"few_active_users"}
    (alert,) = await alerts(mall)
    assert (alert.severity, alert.facts) == ("medium", {"active_users_24h": 0, "members": 3})
    await see(mall, ids)
    await watch(mall)
    assert "few_active_users" not in await open_kinds(mall)
    assert (await tellings(mall))[:2] == [(alert.kind, "raised"), (alert.kind, "resolved")]


async def test_staff_are_no_members(mall: Mall, clock: MovableClock) -> None:
    """However many sign in: who was not seen as a member is not active."""
    await members(mall, 1, clock.now - timedelta(hours=23))
    for name in ("olga", "otto"):
        await add_user(mall, name, last_login_at=clock.now)
    await watch(mall)
    (alert,) = await alerts(mall)
    assert alert.facts == {"active_users_24h": 1, "members": 3}


async def test_exchange_rate(mall: Mall, clock: MovableClock) -> None:
    """Of three who were active nobody exchanged; then two do."""
    ids = await members(mall, 3, clock.now)
    await watch(mall)
    assert await open_kinds(mall) == {"exchange_rate_low"}
    item = await add_item(mall, points=100, stock=10)
    for user_id in ids[:2]:
        await give_points(mall, user_id, 200)
        await place(mall, user_id, item)
    await watch(mall)
    assert await open_kinds(mall) == set()
    await execute(mall, "UPDATE measured_figures SET value = 0.49 WHERE name = 'exchange_rate'")
    await run_jobs(mall, "check_alerts")
    assert await open_kinds(mall) == {"exchange_rate_low"}


async def expire(mall: Mall, clock: MovableClock, user_id: int, points: int) -> None:
    """Let points of a member expire."""
    await give_points(mall, user_id, points, expires_at=clock.now + timedelta(minutes=1))
    clock.advance(minutes=2)
    await run_jobs_of_expiry(mall)


async def run_jobs_of_expiry(mall: Mall) -> None:
    """Settle what is due."""
    await execute(
        mall,
        "INSERT INTO outbox (job, payload, due_at) VALUES ('expire_points', '{}', :now)",
        now=mall.clock(),
    )
    await run_once(mall, "expire_points")


async def test_expiry_rate(mall: Mall, clock: MovableClock) -> None:
    """All that left balances expired; then as much is spent twice over."""
    user_id = await add_user(mall)
    await expire(mall, clock, user_id, 100)
    await watch(mall)
    assert await open_kinds(mall) == {"expiry_rate_high"}
    assert (await alerts(mall))[0].facts == {"expiry_rate_30d": 1.0, "gone_points_30d": 100}
    await give_points(mall, user_id, 1_000)
    await place(mall, user_id, await add_item(mall, points=400, stock=1))
    await watch(mall)
    assert await open_kinds(mall) == set()


async def test_points_that_expire_soon(mall: Mall, clock: MovableClock) -> None:
    """One more than may; over when the week has passed and they are gone."""
    user_id = await add_user(mall)
    await give_points(mall, user_id, 1_000, expires_at=clock.now + timedelta(days=7))
    await watch(mall)
    assert await open_kinds(mall) == set()
    await give_points(mall, user_id, 1, expires_at=clock.now + timedelta(days=6))
    await watch(mall)
    assert await open_kinds(mall) == {"points_expiring"}
    clock.advance(days=7)
    await watch(mall)
    assert "points_expiring" not in await open_kinds(mall)


async def test_abnormal_gains(mall: Mall, clock: MovableClock) -> None:
    """Of one member within an hour, by several grants; over half an hour after that hour."""
    alice, bob = await add_user(mall, "alice"), await add_user(mall, "bob")
    await give_points(mall, bob, 4_999)
    await give_points(mall, alice, 3_000)
    await watch(mall)
    assert await open_kinds(mall) == set()
    await give_points(mall, alice, 2_001)
    await watch(mall)
    measured_at = clock.now
    clock.advance(minutes=1)
    await run_jobs(mall, "check_alerts")
    (alert,) = await alerts(mall)
    assert (alert.kind, alert.occurrences) == ("abnormal_gains", 1)  # looked at twice
    assert alert.facts == {
        "user_ids": [alice],
        "gains_1h": [{"user_id": alice, "points": 5_001}],
        "measured_at": measured_at.isoformat(),
    }
    assert alert.message == "Earned within an hour: 5,001 points by member 1 (1 member(s))"
    await give_points(mall, bob, 2)
    await watch(mall)
    (alert,) = await alerts(mall)
    assert (alert.occurrences, alert.facts["user_ids"]) == (2, [alice, bob])
    assert [gain["points"] for gain in alert.facts["gains_1h"]] == [5_001, 5_001]
    clock.advance(minutes=61)
    await watch(mall)
    assert "abnormal_gains" not in await open_kinds(mall)


Breaking = Callable[[Mall, int], Awaitable[Any]]


@pytest.mark.parametrize(
    ("broken", "mended"),
    [
        (
            "UPDATE users SET points = points + 1, lifetime_adjusted = lifetime_adjusted + 1",
            "UPDATE users SET points = points - 1, lifetime_adjusted = lifetime_adjusted - 1",
        ),
        (
            "UPDATE points_records SET points = points - 1",
            "UPDATE points_records SET points = points + 1",
        ),
        (
            "UPDATE users SET audit_sequence = audit_sequence + 1",
            "UPDATE users SET audit_sequence = audit_sequence - 1",
        ),
    ],
)
async def test_ledger_drift(mall: Mall, clock: MovableClock, broken: str, mended: str) -> None:
    """Planted behind the mall's back: found by the next sweep, over when a round is clean."""
    user_id = await add_user(mall)
    await give_points(mall, user_id, 100)
    await watch(mall)
    assert await alerts(mall) == []
    await execute(mall, broken)
    clock.advance(minutes=1)
    await watch(mall)
    (alert,) = await alerts(mall)
    assert (alert.kind, alert.severity, alert.facts) == ("ledger_drift", "high", {"violations": 1})
    (sweep,) = await execute(mall, "SELECT details FROM ledger_checks WHERE scope = 'sweep'")
    assert sweep.details == {"user_ids": [user_id]}
    await execute(mall, mended)
    await watch(mall)
    assert await open_kinds(mall) == set()


async def test_the_night_finds_what_the_sweep_cannot(mall: Mall, clock: MovableClock) -> None:
    """All rules of `ledger verify`; what it found stands until the next look at everything."""
    user_id = await add_user(mall)
    await give_points(mall, user_id, 100)
    counted = "UPDATE users SET tasks_completed = tasks_completed + :by"
    await execute(mall, counted, by=1)
    await watch(mall)
    assert await open_kinds(mall) == set()
    await run_jobs(mall, "verify_books", "check_alerts")
    assert await open_kinds(mall) == {"ledger_drift"}
    await execute(mall, counted, by=-1)
    await watch(mall)
    assert await open_kinds(mall) == {"ledger_drift"}
    await run_jobs(mall, "verify_books", "check_alerts")
    assert await open_kinds(mall) == set()


async def test_a_sweep_goes_around(mall: Mall, clock: MovableClock) -> None:
    """Slice by slice; what one found counts until a whole round has not."""
    ids = await members(mall, 5, clock.now)

    async def sweep() -> Any:
        async with transaction(mall.stores.bulk) as session:
            await sweep_books(session, mall.clock(), size=2)
        return (await execute(mall, "SELECT * FROM ledger_checks"))[0]

    await execute(
        mall, "UPDATE users SET audit_sequence = 1 WHERE id = ANY(:ids)", ids=[ids[0], ids[4]]
    )
    rounds = [await sweep() for _ in range(3)]
    assert [(row.found, row.violations) for row in rounds] == [(1, None), (1, None), (0, 2)]
    assert rounds[-1].details == {"user_ids": [ids[0], ids[4]]}
    await execute(mall, "UPDATE users SET audit_sequence = 0")
    rounds = [await sweep() for _ in range(3)]
    assert [(row.found, row.violations) for row in rounds] == [(0, 2), (0, 2), (0, 0)]


async def test_jobs_that_died(mall: Mall, clock: MovableClock) -> None:
    """Over when they are tried again."""
    await execute(
        mall,
        "INSERT INTO outbox (job, payload, failed_at) VALUES ('expire_points', '{}', :now)",
        now=clock.now,
    )
    await run_jobs(mall, "check_alerts")
    assert await open_kinds(mall) == {"dead_jobs"}
    await execute(mall, "UPDATE outbox SET failed_at = NULL, done_at = now()")
    await run_jobs(mall, "check_alerts")
    assert await open_kinds(mall) == set()


async def test_what_waits_too_long(mall: Mall, clock: MovableClock) -> None:
    """A job that was due for longer than it may, not one that is to wait."""
    await execute(
        mall,
        "INSERT INTO outbox (job, payload, due_at) VALUES ('late', '{}', :late), ('x', '{}', :x)",
        late=clock.now - timedelta(seconds=900),
        x=clock.now + timedelta(days=1),
    )
    await run_jobs(mall, "check_alerts")
    assert await open_kinds(mall) == set()
    clock.advance(seconds=1)
    await run_jobs(mall, "check_alerts")
    assert await open_kinds(mall) == {"outbox_lag"}
    await execute(mall, "UPDATE outbox SET done_at = now() WHERE job = 'late'")
    await run_jobs(mall, "check_alerts")
    assert await open_kinds(mall) == set()


async def test_a_silent_scheduler(mall: Mall, clock: MovableClock) -> None:
    """Whoever checks nonetheless says so."""
    await execute(mall, "INSERT INTO scheduled_jobs VALUES ('often', :now)", now=clock.now)
    clock.advance(seconds=301)
    await run_jobs(mall, "check_alerts")
    assert await open_kinds(mall) == {"schedule_silent"}
    await execute(mall, "UPDATE scheduled_jobs SET slot_at = :now", now=clock.now)
    await run_jobs(mall, "check_alerts")
    assert await open_kinds(mall) == set()


async def test_a_measurement_that_is_too_old_says_nothing(mall: Mall, clock: MovableClock) -> None:
    """What it raised stays, and nothing new is raised."""
    await members(mall, 3, clock.now - timedelta(days=31))
    await watch(mall)
    assert await open_kinds(mall) == {"few_active_users"}
    clock.advance(hours=1)
    await run_jobs(mall, "check_alerts")
    assert await open_kinds(mall) == {"few_active_users"}
    assert [alert.occurrences for alert in await alerts(mall)] == [1]
