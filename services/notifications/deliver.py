"""Delivering pushes: take them, hand them to the providers, note what they said.

Between taking and noting no transaction is open. Who dies in between leaves a lease that ends:
then the push is sent again, with the collapse id that lets it replace the first. At least once,
therefore, and never in silence.
"""

import asyncio
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from math import ceil
from typing import Any
from uuid import UUID

import structlog
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from models.notifications import PushDelivery, PushRecord, PushStatus, PushType
from services.bulk import Writes
from services.notifications.decide import Preferences
from services.notifications.plan import ask_for_delivery
from services.notifications.providers import (
    DeviceGone,
    Outcome,
    Platform,
    PushMessage,
    PushProvider,
    RetryLater,
    Sent,
)
from services.notifications.settle import (
    DuePush,
    Resolution,
    Target,
    after_sending,
    before_sending,
    jitter,
    message_of,
)

LEASE_S = 120.0
"""How long a worker may take for the pushes of one job before another thinks it dead."""
_ROUNDED_S = 5

_log = structlog.get_logger(__name__)

_TAKE = text(
    """
    UPDATE push_records SET leased_until = :leased_until, attempts = attempts + 1
    FROM (
        SELECT id FROM push_records
        WHERE id = ANY(CAST(:push_ids AS uuid[])) AND status = 'queued'
          AND (leased_until IS NULL OR leased_until <= :now)
        ORDER BY id FOR UPDATE
    ) free
    WHERE push_records.id = free.id
    RETURNING push_records.id, user_id, type, title, body, payload, attempts, due_at
    """
)
_HELD = text(
    """
    SELECT id, type, leased_until FROM push_records
    WHERE id = ANY(CAST(:push_ids AS uuid[])) AND status = 'queued' AND leased_until > :now
      AND id <> ALL(CAST(:taken AS uuid[]))
    """
)
_PREFERENCES = text(
    """
    SELECT user_id, enabled, muted_types FROM push_preferences
    WHERE user_id = ANY(CAST(:user_ids AS bigint[]))
    """
)
# A device that a worker reached before it died is not tried again.
_TARGETS = text(
    """
    SELECT push.id AS push_id, devices.id AS device_id, platform, token,
           answered.push_id IS NOT NULL AS is_answered,
           answered.provider_message_id IS NOT NULL AS is_delivered
    FROM push_records AS push
    JOIN devices ON devices.user_id = push.user_id
    LEFT JOIN push_deliveries AS answered
           ON answered.push_id = push.id AND answered.device_id = devices.id
    WHERE push.id = ANY(CAST(:push_ids AS uuid[]))
    ORDER BY push.id, devices.id
    """
)
_STILL_OURS = text(
    """
    SELECT id FROM push_records
    WHERE id = ANY(CAST(:push_ids AS uuid[])) AND status = 'queued' AND leased_until = :leased_until
    ORDER BY id FOR UPDATE
    """
)
# One that registered again since is another device to the provider.
_DROP_DEVICES = text(
    """
    DELETE FROM devices USING unnest(
        CAST(:ids AS uuid[]), CAST(:tokens AS text[]), CAST(:since AS timestamptz[])
    ) AS gone(id, token, since)
    WHERE devices.id = gone.id AND devices.token = gone.token
      AND (gone.since IS NULL OR devices.last_seen_at <= gone.since)
    """
)


@dataclass(slots=True)
class Batch:
    """Pushes that a worker has taken, until when, and what the providers said of their devices."""

    pushes: list[DuePush]
    leased_until: datetime
    resolved: dict[UUID, Resolution] = field(default_factory=dict[UUID, Resolution])
    outcomes: dict[UUID, list[tuple[Target, Outcome]]] = field(
        default_factory=lambda: defaultdict[UUID, list[tuple[Target, Outcome]]](list)
    )


async def take_pushes(
    session: AsyncSession, push_ids: Sequence[str], now: datetime, lease_s: float = LEASE_S
) -> Batch:
    """Take the pushes that are still to be sent; those that another worker has come again later."""
    ids = [UUID(push_id) for push_id in push_ids]
    leased_until = now + timedelta(seconds=lease_s)
    parameters = {"push_ids": ids, "now": now, "leased_until": leased_until}
    pushes = {
        row.id: DuePush(
            id=row.id,
            user_id=row.user_id,
            type=PushType(row.type),
            title=row.title,
            body=row.body,
            payload=row.payload,
            attempts=row.attempts,
            due_at=row.due_at,
            delivered=0,
            preferences=Preferences(),
        )
        for row in await session.execute(_TAKE, parameters)
    }
    await _come_again(session, ids, list(pushes), now)
    if pushes:
        await _load(session, pushes)
    return Batch(list(pushes.values()), leased_until)


async def _come_again(
    session: AsyncSession, ids: Sequence[UUID], taken: Sequence[UUID], now: datetime
) -> None:
    """Look again at what somebody else is sending, when the lease has ended: they may be dead."""
    if len(taken) == len(ids):
        return
    parameters = {"push_ids": ids, "taken": taken, "now": now}
    held = (await session.execute(_HELD, parameters)).all()
    writes = Writes()
    again = ((row.id, PushType(row.type), row.leased_until) for row in held)
    ask_for_delivery(writes, again, now)
    await writes.flush(session)


async def _load(session: AsyncSession, pushes: Mapping[UUID, DuePush]) -> None:
    user_ids = sorted({push.user_id for push in pushes.values()})
    preferences = {
        row.user_id: Preferences(row.enabled, frozenset(PushType(kind) for kind in row.muted_types))
        for row in await session.execute(_PREFERENCES, {"user_ids": user_ids})
    }
    for push in pushes.values():
        push.preferences = preferences.get(push.user_id, push.preferences)
    for row in await session.execute(_TARGETS, {"push_ids": list(pushes)}):
        push = pushes[row.push_id]
        if not row.is_answered:
            push.targets.append(Target(row.device_id, row.platform, row.token))
        push.delivered += row.is_delivered


async def send_pushes(
    batch: Batch, providers: Mapping[Platform, PushProvider], now: datetime
) -> None:
    """Hand the messages of a batch to their providers, all of them at once."""
    by_provider: dict[PushProvider, list[tuple[DuePush, Target, PushMessage]]] = defaultdict(list)
    for push in batch.pushes:
        resolution = before_sending(push, tuple(providers), now)
        if resolution is not None:
            batch.resolved[push.id] = resolution
            continue
        for target in push.targets:
            if target.platform in providers:
                entry = (push, target, message_of(push, target))
                by_provider[providers[target.platform]].append(entry)
    answers = await asyncio.gather(
        *(
            provider.send([message for _, _, message in entries])
            for provider, entries in by_provider.items()
        )
    )
    for entries, outcomes in zip(by_provider.values(), answers, strict=True):
        for (push, target, _), outcome in zip(entries, outcomes, strict=True):
            batch.outcomes[push.id].append((target, outcome))


async def note_outcomes(session: AsyncSession, batch: Batch, now: datetime) -> None:
    """Write down what became of every push; what is to be tried again is asked for.

    What another worker has taken meanwhile is that one's: only what devices got is noted of it.
    """
    writes = Writes()
    await _drop_devices(session, batch)  # devices before pushes, as erasing does
    ours = await _still_ours(session, batch)
    resolutions = {push.id: _resolution(batch, push, now) for push in ours}
    _note_deliveries(writes, batch, now)
    rows = [
        (key, found.status, found.reason, now if found.status is PushStatus.SENT else None, None)
        for key, found in resolutions.items()
    ]
    columns = ("id", "status", "reason", "sent_at", "leased_until")
    writes.update(PushRecord, columns, rows)
    _ask_again(writes, ours, resolutions, now)
    await writes.flush(session)
    for key, found in resolutions.items():
        if found.status is not PushStatus.SENT:
            _log.info("push_not_sent", push=str(key), status=found.status, reason=found.reason)


async def _still_ours(session: AsyncSession, batch: Batch) -> list[DuePush]:
    """The pushes whose lease is the one that this batch took, locked."""
    push_ids = [push.id for push in batch.pushes]
    parameters = {"push_ids": push_ids, "leased_until": batch.leased_until}
    ours = set((await session.execute(_STILL_OURS, parameters)).scalars())
    return [push for push in batch.pushes if push.id in ours]


def _resolution(batch: Batch, push: DuePush, now: datetime) -> Resolution:
    outcomes = [outcome for _, outcome in batch.outcomes[push.id]]
    return batch.resolved.get(push.id) or after_sending(push, outcomes, now, jitter())


def _note_deliveries(writes: Writes, batch: Batch, now: datetime) -> None:
    rows = [
        (push_id, target.device_id, *_answer(outcome), now)
        for push_id, answers in batch.outcomes.items()
        for target, outcome in answers
        if not isinstance(outcome, RetryLater)
    ]
    columns = ("push_id", "device_id", "provider_message_id", "refused_because", "answered_at")
    writes.insert(PushDelivery, columns, rows, suffix="ON CONFLICT DO NOTHING")


def _answer(outcome: Outcome) -> tuple[str | None, str | None]:
    match outcome:
        case Sent(provider_message_id):
            return provider_message_id, None
        case _:
            return None, outcome.reason


def _ask_again(
    writes: Writes,
    pushes: Sequence[DuePush],
    resolutions: Mapping[UUID, Resolution],
    now: datetime,
) -> None:
    again = (
        (push.id, push.type, _rounded(again_at))
        for push in pushes
        if (again_at := resolutions[push.id].again_at) is not None
    )
    ask_for_delivery(writes, again, now)


def _rounded(instant: datetime) -> datetime:
    """Up to full seconds of `_ROUNDED_S`: what comes again at about the same time goes together."""
    return datetime.fromtimestamp(ceil(instant.timestamp() / _ROUNDED_S) * _ROUNDED_S, UTC)


async def _drop_devices(session: AsyncSession, batch: Batch) -> None:
    gone = [
        (target, outcome)
        for answers in batch.outcomes.values()
        for target, outcome in answers
        if isinstance(outcome, DeviceGone)
    ]
    if gone:
        parameters: dict[str, Any] = {
            "ids": [target.device_id for target, _ in gone],
            "tokens": [target.token for target, _ in gone],
            "since": [outcome.since for _, outcome in gone],
        }
        await session.execute(_DROP_DEVICES, parameters)
