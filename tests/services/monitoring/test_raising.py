"""One open alert of a kind: raised, seen again, told, resolved."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import text

from services.mall import Mall
from services.monitoring.alerts import (
    QUIET_AFTER,
    REPEAT_AFTER,
    AlertKind,
    Sighting,
    Telling,
    of_members,
    raise_alerts,
    settle_alerts,
)
from services.monitoring.facts import MOST_NAMED
from services.transaction import reading, transaction
from tests.clock import MovableClock
from tests.factories import add_user, execute

DRIFT = Sighting(AlertKind.LEDGER_DRIFT, "the books are wrong", {"violations": 1})
SLOW = Sighting(AlertKind.SLOW_EXCHANGE, "an exchange took 3.0 s", {"duration_s": 3.0})


async def settle(mall: Mall, seen: Sequence[Sighting] = (), over: Sequence[AlertKind] = ()) -> None:
    """What the job does, now."""
    async with transaction(mall.stores.write) as session:
        await settle_alerts(session, seen, over, mall.clock())


async def rows(mall: Mall, statement: str) -> list[Any]:
    """What a statement finds."""
    async with reading(mall.stores.read) as session:
        return list((await session.execute(text(statement))).all())


async def alerts(mall: Mall) -> list[Any]:
    """Every alert, oldest first."""
    return await rows(mall, "SELECT * FROM alerts ORDER BY id")


async def tellings(mall: Mall) -> list[str]:
    """What operators were to be told, in order."""
    found = await rows(
        mall, "SELECT payload ->> 'telling' FROM outbox WHERE job = 'tell_of_alert' ORDER BY id"
    )
    return [row[0] for row in found]


async def test_a_first_sighting_opens_an_alert_and_is_told(mall: Mall, clock: MovableClock) -> None:
    """With everything that was seen of it."""
    await settle(mall, [DRIFT])
    (alert,) = await alerts(mall)
    assert (alert.kind, alert.severity, alert.message) == ("ledger_drift", "high", DRIFT.message)
    assert alert.facts == {"violations": 1}
    assert alert.first_seen_at == alert.last_seen_at == alert.notified_at == clock.now
    assert (alert.occurrences, alert.resolved_at) == (1, None)
    assert await tellings(mall) == [Telling.RAISED]


async def test_what_lasts_is_told_again_after_half_an_hour_exactly(
    mall: Mall, clock: MovableClock
) -> None:
    """Not a moment earlier; each sighting counts."""
    await settle(mall, [DRIFT])
    clock.advance(seconds=REPEAT_AFTER.total_seconds() - 1)
    await settle(mall, [DRIFT])
    assert await tellings(mall) == [Telling.RAISED]
    clock.advance(seconds=1)
    await settle(mall, [DRIFT])
    await settle(mall, [DRIFT])
    assert await tellings(mall) == [Telling.RAISED, Telling.REPEATED]
    clock.advance(minutes=30)
    await settle(mall, [DRIFT])
    assert await tellings(mall) == [Telling.RAISED, Telling.REPEATED, Telling.REPEATED]
    (alert,) = await alerts(mall)
    assert (alert.occurrences, alert.last_seen_at) == (5, clock.now)


async def test_what_is_over_resolves_and_comes_back_as_another(
    mall: Mall, clock: MovableClock
) -> None:
    """Told at once each time, however short the pause was."""
    await settle(mall, [DRIFT])
    await settle(mall, over=[AlertKind.LEDGER_DRIFT, AlertKind.DEAD_JOBS])
    await settle(mall, over=[AlertKind.LEDGER_DRIFT])
    await settle(mall, [DRIFT])
    first, second = await alerts(mall)
    assert (first.resolved_at, second.resolved_at) == (clock.now, None)
    assert await tellings(mall) == [Telling.RAISED, Telling.RESOLVED, Telling.RAISED]


async def test_what_is_neither_seen_nor_over_stays(mall: Mall, clock: MovableClock) -> None:
    """Nobody knows: a store was away."""
    await settle(mall, [DRIFT])
    clock.advance(days=2)
    await settle(mall)
    assert [alert.resolved_at for alert in await alerts(mall)] == [None]


async def test_an_event_is_over_when_it_was_quiet_for_half_an_hour(
    mall: Mall, clock: MovableClock
) -> None:
    """From the last one on, not the first."""
    await settle(mall, [SLOW])
    clock.advance(minutes=20)
    await settle(mall, [SLOW, SLOW])
    clock.advance(seconds=QUIET_AFTER.total_seconds() - 1)
    await settle(mall)
    assert [(a.resolved_at, a.occurrences) for a in await alerts(mall)] == [(None, 3)]
    clock.advance(seconds=1)
    await settle(mall)
    assert [alert.resolved_at for alert in await alerts(mall)] == [clock.now]


async def test_who_acknowledged_is_told_of_its_end_only(mall: Mall, clock: MovableClock) -> None:
    """Somebody is at it: repeats would only disturb."""
    await settle(mall, [DRIFT])
    await acknowledge(mall)
    clock.advance(hours=5)
    await settle(mall, [DRIFT])
    assert await tellings(mall) == [Telling.RAISED]
    await settle(mall, over=[AlertKind.LEDGER_DRIFT])
    assert await tellings(mall) == [Telling.RAISED, Telling.RESOLVED]


async def acknowledge(mall: Mall) -> None:
    """Let an operator be at whatever is open."""
    operator_id = await add_user(mall, f"operator {uuid4()}")
    await execute(
        mall,
        "UPDATE alerts SET acknowledged_at = now(), acknowledged_by = :operator_id",
        operator_id=operator_id,
    )


def held(*user_ids: int, points: int = 5, kind: AlertKind = AlertKind.ABNORMAL_GAINS) -> Sighting:
    """Points of those members were held."""
    return of_members(kind, {"user_ids": list(user_ids), "held_points": points})


def gained(*user_ids: int, measured_at: datetime | None = None) -> Sighting:
    """Those members were measured to earn too much."""
    gains = [{"user_id": user_id, "points": 50_000} for user_id in user_ids]
    facts = {"user_ids": list(user_ids), "gains_1h": gains}
    return of_members(AlertKind.ABNORMAL_GAINS, facts, measured_at=measured_at)


def failed(jobs: int) -> Sighting:
    """So many jobs failed for good."""
    return Sighting(AlertKind.DEAD_JOBS, f"{jobs} jobs", {"failed_jobs": jobs})


def undelivered(notices: int) -> Sighting:
    """So many notices could not be delivered."""
    facts = {"undelivered_alerts": notices}
    return Sighting(AlertKind.ALERTS_UNDELIVERED, f"{notices} notices", facts)


def away(provider: str) -> Sighting:
    """A push provider was down for too long."""
    return Sighting(AlertKind.PUSH_PROVIDER_DOWN, "down", {"providers": [provider], "down_s": 301})


OLD = Sighting(AlertKind.ABNORMAL_GAINS, "before an upgrade", {"user_id": 1, "points": 5})


@pytest.mark.parametrize(
    ("known", "seen", "is_told"),
    [
        (DRIFT, replace(DRIFT, facts={"violations": 1}), False),
        (DRIFT, replace(DRIFT, facts={"violations": 2}), True),
        (failed(2), failed(2), False),
        (failed(2), failed(1), False),
        (failed(1), failed(50_000), True),
        (undelivered(1), undelivered(2), True),
        (held(1, 2), held(2, points=9), False),
        (held(1, 2), held(2, 3), True),
        (gained(1, 2), gained(1), False),
        (gained(1), gained(1, 2), True),
        (gained(1), held(1), False),
        (gained(1), held(777), True),
        (held(777), gained(1), True),
        (OLD, gained(2), True),
        (away("fcm"), away("fcm"), False),
        (away("fcm"), away("apns"), True),
    ],
)
async def test_who_acknowledged_knew_of_less(
    mall: Mall, clock: MovableClock, known: Sighting, seen: Sighting, *, is_told: bool
) -> None:
    """More that is wrong, or other members, whoever saw it, is told as what nobody acknowledged."""
    await settle(mall, [known])
    await acknowledge(mall)
    clock.advance(minutes=30)
    await settle(mall, [seen])
    assert await tellings(mall) == [Telling.RAISED, *([Telling.REPEATED] if is_told else [])]
    assert ((await alerts(mall))[0].acknowledged_by is None) == is_told


async def test_who_was_named_once_is_no_news_again(mall: Mall, clock: MovableClock) -> None:
    """While the alert is open: its members are all who were named, and what was held adds up."""
    for user_id in (1, 3):
        await settle(mall, [held(user_id, points=1_000)])
    await acknowledge(mall)
    for user_id in (1, 3, 1, 3):
        clock.advance(minutes=29)
        await settle(mall, [held(user_id, points=1_000)])
    (alert,) = await alerts(mall)
    assert alert.acknowledged_by is not None
    assert alert.facts == {"user_ids": [1, 3], "held_points": 6_000}
    assert alert.message == "6,000 points were held, see `heldPoints` (2 member(s))"
    assert await tellings(mall) == [Telling.RAISED]


async def test_what_holds_and_what_measures_is_in_one_alert(
    mall: Mall, clock: MovableClock
) -> None:
    """Neither hides what the other says; in one transaction, too."""
    await settle(mall, [held(3, 1), gained(2, 1)])
    await settle(mall, [gained(4)])
    (alert,) = await alerts(mall)
    assert alert.facts == {
        "user_ids": [3, 1, 2, 4],
        "held_points": 5,
        "gains_1h": [{"user_id": 4, "points": 50_000}],
    }
    assert alert.message == (
        "Earned within an hour: 50,000 points by member 4;"
        " 5 points were held, see `heldPoints` (4 member(s))"
    )


async def test_one_measurement_counts_once_whatever_else_is_seen(
    mall: Mall, clock: MovableClock
) -> None:
    """Points that are held between a measurement and the look at it do not hide it."""
    for _ in range(3):
        measured_at = clock.now
        for _ in range(10):
            clock.advance(seconds=20)
            await settle(mall, [held(777)])
            clock.advance(seconds=40)
            await settle(mall, [gained(1, measured_at=measured_at)])
    (alert,) = await alerts(mall)
    assert alert.occurrences == 30 + 3
    assert alert.facts["user_ids"] == [777, 1]
    assert datetime.fromisoformat(alert.facts["measured_at"]) == measured_at


async def test_so_many_members_are_named_and_no_more(mall: Mall) -> None:
    """Facts are sent: whoever is not in them is told as somebody else."""
    await settle(mall, [held(*range(MOST_NAMED))])
    await settle(mall, [held(MOST_NAMED)])
    (alert,) = await alerts(mall)
    assert alert.facts["user_ids"] == list(range(MOST_NAMED))
    assert f"({MOST_NAMED} or more member(s))" in alert.message
    await acknowledge(mall)
    await settle(mall, [held(MOST_NAMED)])
    assert (await alerts(mall))[0].acknowledged_by is None


async def test_of_many_who_hold_at_once_none_is_forgotten(mall: Mall) -> None:
    """The first of them, too, when nothing is open yet."""

    async def notice(user_id: int) -> None:
        async with transaction(mall.stores.bulk) as session:
            await raise_alerts(session, [held(user_id, points=2)], mall.clock())

    await asyncio.gather(*(notice(user_id) for user_id in range(24)))
    (alert,) = await alerts(mall)
    assert sorted(alert.facts["user_ids"]) == list(range(24))
    assert (alert.facts["held_points"], alert.occurrences) == (48, 24)


async def test_many_who_notice_at_once_open_one_alert_of_each_kind(mall: Mall) -> None:
    """None waits for another in a circle, and operators are told once."""

    async def notice(number: int) -> None:
        seen = [SLOW, DRIFT] if number % 2 else [DRIFT, SLOW]
        async with transaction(mall.stores.bulk) as session:
            await raise_alerts(session, seen, mall.clock())

    await asyncio.gather(*(notice(number) for number in range(24)))
    assert sorted((a.kind, a.occurrences) for a in await alerts(mall)) == [
        ("ledger_drift", 24),
        ("slow_exchange", 24),
    ]
    assert await tellings(mall) == [Telling.RAISED, Telling.RAISED]


async def test_a_clock_that_is_behind_harms_nothing(mall: Mall, clock: MovableClock) -> None:
    """Each process has its own."""
    await settle(mall, [DRIFT])
    seen_at = clock.now
    clock.now -= timedelta(seconds=3)
    await settle(mall, [DRIFT])
    assert [alert.last_seen_at for alert in await alerts(mall)] == [seen_at]
