"""Delivering pushes: take them, hand them to the providers, note what they said.

Between taking and noting no transaction is open. Who dies in between leaves a claim that ends:
then the push is sent again, with the collapse id that lets it replace the first. At least once,
therefore, and never in silence.
"""

import asyncio
from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from math import ceil
from typing import Any
from uuid import UUID

import structlog
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from models.notifications import PushDelivery, PushRecord, PushStatus
from services.bulk import Writes
from services.notifications.plan import ask_for_delivery, count_resolved
from services.notifications.providers import (
    DeviceGone,
    NotTried,
    PayloadRejected,
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
    is_attempt,
    jitter,
    message_of,
)
from services.notifications.take import Batch

_ROUNDED_S = 5

_log = structlog.get_logger(__name__)

_COLUMNS = ("id", "status", "reason", "sent_at", "attempts")

# Erasing a member resolves what was queued.
_STILL_QUEUED = text(
    """
    SELECT id FROM push_records
    WHERE id = ANY(CAST(:push_ids AS uuid[])) AND status = 'queued'
    ORDER BY id FOR NO KEY UPDATE
    """
)
# One that registered again since is another device to the provider. Whoever holds one drops it, or
# gives it to another member: nobody waits for anybody here.
_DROP_DEVICES = text(
    """
    DELETE FROM devices WHERE id IN (
        SELECT devices.id FROM devices JOIN unnest(
            CAST(:ids AS uuid[]), CAST(:tokens AS text[]), CAST(:since AS timestamptz[])
        ) AS gone(id, token, since) USING (id)
        WHERE devices.token = gone.token
          AND (gone.since IS NULL OR devices.last_seen_at <= gone.since)
        ORDER BY devices.id FOR UPDATE OF devices SKIP LOCKED
    )
    """
)


async def send_pushes(
    batch: Batch,
    providers: Mapping[Platform, PushProvider],
    now: datetime,
    stopping: asyncio.Event,
    *,
    is_awaited: bool,
) -> None:
    """Hand the messages of a batch to their providers, all of them at once."""
    by_provider: dict[PushProvider, list[tuple[DuePush, Target, PushMessage]]] = defaultdict(list)
    for push in batch.pushes:
        if push.id in batch.resolved:
            continue
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
            provider.send([message for _, _, message in entries], stopping, is_awaited=is_awaited)
            for provider, entries in by_provider.items()
        )
    )
    for entries, outcomes in zip(by_provider.values(), answers, strict=True):
        for (push, target, _), outcome in zip(entries, outcomes, strict=True):
            batch.outcomes[push.id].append((target, outcome))


async def note_outcomes(
    session: AsyncSession, batch: Batch, now: datetime, *, is_ours: bool = True
) -> datetime | None:
    """Write down what became of every push; what is to be tried again is asked for.

    When another worker has taken them meanwhile, only what devices got is noted. When no provider
    was asked for any of them nothing is written, and they are to come again as they are, at the
    instant that is returned.
    """
    wait_s = batch.wait_s
    if wait_s is not None:
        _log.info("pushes_put_off", pushes=len(batch.pushes), wait_s=wait_s)
        return _rounded(now + timedelta(seconds=wait_s))
    writes = Writes()
    await _drop_devices(session, batch)  # devices before pushes, as erasing does
    ours = await _still_queued(session, batch) if is_ours else []
    chance = jitter()  # one for all: what is tried again together stays together
    resolutions = {push.id: _resolution(batch, push, now, chance) for push in ours}
    _note_deliveries(writes, batch, now)
    rows = [_row(batch, push, resolutions[push.id], now) for push in ours]
    writes.update(PushRecord, _COLUMNS, rows)
    count_resolved(writes, ((push.type, resolutions[push.id].status) for push in ours))
    _ask_again(writes, ours, resolutions, now)
    await writes.flush(session)
    for key, found in resolutions.items():
        if found.reason is not None:
            _log.info("push_not_sent", push=str(key), status=found.status, reason=found.reason)
    return None


async def _still_queued(session: AsyncSession, batch: Batch) -> list[DuePush]:
    """The pushes that nothing else has resolved meanwhile, locked."""
    parameters = {"push_ids": [push.id for push in batch.pushes]}
    queued = set((await session.execute(_STILL_QUEUED, parameters)).scalars())
    return [push for push in batch.pushes if push.id in queued]


def _resolution(batch: Batch, push: DuePush, now: datetime, chance: float) -> Resolution:
    outcomes = [outcome for _, outcome in batch.outcomes[push.id]]
    return batch.resolved.get(push.id) or after_sending(push, outcomes, now, chance)


def _row(batch: Batch, push: DuePush, found: Resolution, now: datetime) -> tuple[Any, ...]:
    """What changes of a push. One for which no provider was asked has cost no attempt."""
    is_tried = is_attempt([outcome for _, outcome in batch.outcomes[push.id]])
    attempts = push.attempts if is_tried else push.attempts - 1
    sent_at = now if found.status is PushStatus.SENT else None
    return (push.id, found.status, found.reason, sent_at, attempts)


def _note_deliveries(writes: Writes, batch: Batch, now: datetime) -> None:
    rows = [
        (push_id, target.device_id, *_answer(outcome), now)
        for push_id, answers in batch.outcomes.items()
        for target, outcome in answers
        if not isinstance(outcome, RetryLater | NotTried)
    ]
    columns = ("push_id", "device_id", "provider_message_id", "refused_because", "answered_at")
    writes.insert(PushDelivery, columns, rows, suffix="ON CONFLICT DO NOTHING")


def _answer(outcome: Sent | DeviceGone | PayloadRejected) -> tuple[str | None, str | None]:
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
