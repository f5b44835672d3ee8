"""One open alert of a kind: raised, seen again, told, resolved."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import text

from services.mall import Mall
from services.monitoring.alerts import (
    QUIET_AFTER,
    REPEAT_AFTER,
    AlertKind,
    Sighting,
    Telling,
    raise_alerts,
    settle_alerts,
)
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
    operator_id = await add_user(mall, "operator")
    await execute(
        mall,
        "UPDATE alerts SET acknowledged_at = now(), acknowledged_by = :operator_id",
        operator_id=operator_id,
    )
    clock.advance(hours=5)
    await settle(mall, [DRIFT])
    assert await tellings(mall) == [Telling.RAISED]
    await settle(mall, over=[AlertKind.LEDGER_DRIFT])
    assert await tellings(mall) == [Telling.RAISED, Telling.RESOLVED]


HELD = Sighting(AlertKind.MANY_INVITES, "held", {"user_ids": [1, 2], "points": 5})
GAIN = Sighting(AlertKind.ABNORMAL_GAINS, "earned", {"user_id": 1, "points": 5})


@pytest.mark.parametrize(
    ("seen", "facts", "is_told"),
    [
        (DRIFT, {"violations": 1}, False),
        (DRIFT, {"violations": 2}, True),
        (HELD, {"user_ids": [2], "points": 9}, False),
        (HELD, {"user_ids": [2, 3], "points": 9}, True),
        (GAIN, {"user_id": 1, "points": 9}, False),
        (GAIN, {"user_id": 2, "points": 5}, True),
    ],
)
async def test_who_acknowledged_knew_of_less(
    mall: Mall, clock: MovableClock, seen: Sighting, facts: dict[str, Any], is_told: bool
) -> None:
    """More places in the books, or other members, are told as what nobody acknowledged."""
    await settle(mall, [seen])
    operator_id = await add_user(mall, "operator")
    await execute(
        mall,
        "UPDATE alerts SET acknowledged_at = now(), acknowledged_by = :operator_id",
        operator_id=operator_id,
    )
    clock.advance(minutes=30)
    await settle(mall, [replace(seen, facts=facts)])
    assert await tellings(mall) == [Telling.RAISED, *([Telling.REPEATED] if is_told else [])]
    assert ((await alerts(mall))[0].acknowledged_by is None) == is_told


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
