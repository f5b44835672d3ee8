"""Alerts: one open of a kind, told once and again while it lasts (`domain.md`, Operating it).

Whoever notices something says so by a `Sighting`; which rules there are stands in `docs/alerts.md`.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from models.monitoring import Alert, AlertSeverity
from services.bulk import Writes, insert_rows
from services.identifiers import new_id
from services.outbox import enqueue

REPEAT_AFTER = timedelta(minutes=30)
"""How long an alert that lasts is not told again."""
QUIET_AFTER = timedelta(minutes=30)
"""How long after the last of its events an alert about events is over."""
TELL_JOB = "tell_of_alert"
DELIVER_JOB = "deliver_alert"


class AlertKind(StrEnum):
    """What there are alerts about. A name, once used, is in the table for as long as alerts are."""

    EXCHANGE_RATE_LOW = "exchange_rate_low"
    EXPIRY_RATE_HIGH = "expiry_rate_high"
    POINTS_EXPIRING = "points_expiring"
    SLOW_EXCHANGE = "slow_exchange"
    FEW_ACTIVE_USERS = "few_active_users"
    ABNORMAL_GAINS = "abnormal_gains"
    LEDGER_DRIFT = "ledger_drift"
    DEAD_JOBS = "dead_jobs"
    OUTBOX_LAG = "outbox_lag"
    SCHEDULE_SILENT = "schedule_silent"
    ALERTS_UNDELIVERED = "alerts_undelivered"
    MANY_ACCOUNTS_ON_A_DEVICE = "many_accounts_on_a_device"
    MANY_INVITES = "many_invites"
    PUSH_PROVIDER_DOWN = "push_provider_down"


_MEDIUM = frozenset(
    {
        AlertKind.SLOW_EXCHANGE,
        AlertKind.FEW_ACTIVE_USERS,
        AlertKind.ABNORMAL_GAINS,
        AlertKind.ALERTS_UNDELIVERED,
        AlertKind.MANY_ACCOUNTS_ON_A_DEVICE,
        AlertKind.MANY_INVITES,
        AlertKind.PUSH_PROVIDER_DOWN,
    }
)
EVENTS = frozenset(
    {
        AlertKind.SLOW_EXCHANGE,
        AlertKind.ABNORMAL_GAINS,
        AlertKind.MANY_ACCOUNTS_ON_A_DEVICE,
        AlertKind.MANY_INVITES,
        AlertKind.PUSH_PROVIDER_DOWN,
    }
)
"""Alerts about what happens at a moment: over when it has not happened again for a while."""
NEVER_SENT = frozenset({AlertKind.ALERTS_UNDELIVERED})
"""Alerts that are shown and logged only: sending them is what fails."""


def severity_of(kind: AlertKind) -> AlertSeverity:
    """How much alerts of that kind matter."""
    return AlertSeverity.MEDIUM if kind in _MEDIUM else AlertSeverity.HIGH


@dataclass(frozen=True, slots=True)
class Sighting:
    """Something that an alert is to be open about, seen so often.

    `message` is for operators, in English; `facts` are JSON and name members by their ids only:
    both are sent to others, and kept. What is measured less often than looked at says when it was
    `measured_at`: one measurement is one sighting of an alert that is open.
    """

    kind: AlertKind
    message: str
    facts: Mapping[str, Any]
    occurrences: int = 1
    measured_at: datetime | None = None


class Telling(StrEnum):
    """Why operators are told of an alert."""

    RAISED = "raised"
    REPEATED = "repeated"
    RESOLVED = "resolved"


@dataclass(frozen=True, slots=True)
class OpenAlert:
    """What decides whether operators are told of an alert that is open."""

    id: UUID
    kind: AlertKind
    notified_at: datetime | None
    acknowledged_at: datetime | None


_COLUMNS = (
    "id",
    "kind",
    "severity",
    "message",
    "facts",
    "first_seen_at",
    "last_seen_at",
    "occurrences",
)
# Whoever acknowledged it knew of less: more places in the books, or other members, are told again.
_IS_WORSE = """coalesce(
        (excluded.facts -> 'violations') > (alerts.facts -> 'violations')
        OR NOT (alerts.facts -> 'user_ids') @> (excluded.facts -> 'user_ids')
        OR (excluded.facts -> 'user_id') <> (alerts.facts -> 'user_id'), false)"""
_RAISE = f"""
    ON CONFLICT (kind) WHERE resolved_at IS NULL DO UPDATE SET
        message = excluded.message,
        facts = excluded.facts,
        acknowledged_at = CASE WHEN {_IS_WORSE} THEN NULL ELSE alerts.acknowledged_at END,
        acknowledged_by = CASE WHEN {_IS_WORSE} THEN NULL ELSE alerts.acknowledged_by END,
        last_seen_at = greatest(alerts.last_seen_at, excluded.last_seen_at),
        occurrences = alerts.occurrences + excluded.occurrences
    RETURNING id, kind, notified_at, acknowledged_at
"""
# All of them, in one order: whoever raises some and resolves others waits for nobody who waits.
_LOCK_OPEN = text(
    """
    SELECT id, kind, last_seen_at FROM alerts WHERE resolved_at IS NULL ORDER BY kind FOR UPDATE
    """
)
_NOTIFIED = text(
    "UPDATE alerts SET notified_at = :now WHERE id = ANY(CAST(:ids AS uuid[]))",
)
_RESOLVE = text(
    "UPDATE alerts SET resolved_at = :now WHERE id = ANY(CAST(:ids AS uuid[]))",
)


async def raise_alerts(session: AsyncSession, sightings: Sequence[Sighting], now: datetime) -> None:
    """Open an alert for what was seen, or note that it was seen again.

    Asks for operators to be told of what is new, or lasts and was told `REPEAT_AFTER` ago, unless
    somebody acknowledged it and it has not become worse since.
    """
    await settle_alerts(session, sightings, (), now)


async def settle_alerts(
    session: AsyncSession,
    sightings: Sequence[Sighting],
    over: Collection[AlertKind],
    now: datetime,
) -> None:
    """Raise what was seen, and resolve what is `over` or has been quiet for `QUIET_AFTER`.

    Operators are told of both; of what is over, too, when it was acknowledged.
    """
    seen = merged(sightings)
    locked = (await session.execute(_LOCK_OPEN)).all()
    ended = {
        row.id: AlertKind(row.kind)
        for row in locked
        if row.kind not in seen and is_over(row.kind, row.last_seen_at, over, now)
    }
    seen_at = {row.kind: row.last_seen_at for row in locked}
    news = [each for each in seen.values() if is_news(each, seen_at.get(each.kind))]
    writes = Writes()
    if news:
        await _raise(session, writes, news, now)
    if ended:
        await session.execute(_RESOLVE, {"ids": list(ended), "now": now})
        _tell(writes, ((key, Telling.RESOLVED) for key in ended), now)
    await writes.flush(session)


def is_over(kind: str, last_seen_at: datetime, over: Collection[AlertKind], now: datetime) -> bool:
    """Whether an open alert that was not seen now is to be resolved."""
    return kind in over or (kind in EVENTS and now - last_seen_at >= QUIET_AFTER)


def is_news(sighting: Sighting, last_seen_at: datetime | None) -> bool:
    """Whether an alert that was last seen then, or is not open, has not counted that already."""
    if sighting.measured_at is None or last_seen_at is None:
        return True
    return sighting.measured_at > last_seen_at


def merged(sightings: Iterable[Sighting]) -> dict[AlertKind, Sighting]:
    """One sighting of each kind, by kind in order: the latest, with the occurrences of all."""
    found: dict[AlertKind, Sighting] = {}
    for each in sightings:
        earlier = found.get(each.kind)
        count = each.occurrences + (earlier.occurrences if earlier else 0)
        found[each.kind] = replace(each, occurrences=count)
    return dict(sorted(found.items()))


def telling_of(alert: OpenAlert, now: datetime) -> Telling | None:
    """Why operators are to be told now of an alert that was just seen; None when they are not."""
    if alert.notified_at is None:
        return Telling.RAISED
    if alert.acknowledged_at is not None or now - alert.notified_at < REPEAT_AFTER:
        return None
    return Telling.REPEATED


async def _raise(
    session: AsyncSession, writes: Writes, seen: Iterable[Sighting], now: datetime
) -> None:
    rows = [
        (
            new_id(),
            each.kind,
            severity_of(each.kind),
            each.message,
            each.facts,
            now,
            now,
            each.occurrences,
        )
        for each in seen
    ]
    raised = await insert_rows(session, Alert, _COLUMNS, rows, suffix=_RAISE)
    alerts = [OpenAlert(row.id, AlertKind(row.kind), *row[2:]) for row in raised]
    tellings = [(alert.id, why) for alert in alerts if (why := telling_of(alert, now)) is not None]
    if tellings:
        await session.execute(_NOTIFIED, {"ids": [key for key, _ in tellings], "now": now})
        _tell(writes, tellings, now)


def _tell(writes: Writes, tellings: Iterable[tuple[UUID, Telling]], now: datetime) -> None:
    payloads = [{"alert_id": str(key), "telling": why} for key, why in tellings]
    enqueue(writes, TELL_JOB, payloads, now)
