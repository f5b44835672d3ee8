"""Planning pushes: read locked, decide, write in bulk, ask for their delivery.

One lock per member, on the row of preferences, so that two planners never pass the daily cap
together; the unique reference lets every push come once, whoever plans it how often.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from models.notifications import PushRecord, PushStatus, PushType
from services.bulk import Writes
from services.identifiers import new_id
from services.notifications.counted import read_counted
from services.notifications.decide import Draft, Planned, Preferences, Recipient, plan
from services.notifications.preferences import lock_preferences
from services.outbox import enqueue_later

DELIVERY_JOB, BULK_DELIVERY_JOB = "deliver_pushes", "deliver_bulk_pushes"
PUSHES_A_DELIVERY = 200
_AWAITED = frozenset({PushType.EXCHANGE_CONFIRMATION, PushType.ACHIEVEMENT, PushType.ALERT})

_COLUMNS = (
    "id",
    "user_id",
    "type",
    "reference",
    "title",
    "body",
    "payload",
    "status",
    "reason",
    "campaign_id",
    "created_at",
    "due_at",
    "counted_on",
)
_READ = text(
    """
    SELECT id, locale, timezone,
           (SELECT count(*) FROM devices WHERE devices.user_id = users.id) AS devices
    FROM users WHERE id = ANY(CAST(:user_ids AS bigint[])) AND erased_at IS NULL
    """
)
_READ_KNOWN = text(
    """
    SELECT user_id, type, reference
    FROM unnest(CAST(:user_ids AS bigint[]), CAST(:types AS text[]),
                CAST(:references AS text[])) AS asked(user_id, type, reference)
    WHERE EXISTS (
        SELECT FROM push_records AS known
        WHERE known.user_id = asked.user_id AND known.type = asked.type
          AND known.reference = asked.reference
    )
    """
)


async def plan_pushes(
    session: AsyncSession,
    writes: Writes,
    drafts: Sequence[Draft],
    now: datetime,
    *,
    campaign_id: UUID | None = None,
) -> list[Planned]:
    """Record pushes and ask for the delivery of those that are to be sent; the caller flushes.

    Before planning more in the same transaction, too: what is not flushed is neither known nor
    counted.

    Members who are not there or were erased get none, and neither does anybody who already got
    one about the same. Returns what was decided about the others, in the order of the drafts.
    """
    user_ids = sorted({draft.user_id for draft in drafts})
    preferences = await lock_preferences(session, user_ids)
    recipients = await _read_recipients(session, preferences, now)
    fresh = await _unknown(session, drafts)
    planned = plan(fresh, recipients, now)
    rows = [(new_id(), entry) for entry in planned]
    writes.insert(PushRecord, _COLUMNS, [_row(key, entry, campaign_id, now) for key, entry in rows])
    count_resolved(writes, ((entry.draft.type, entry.status) for entry in planned))
    _ask_for_delivery(writes, rows, now)
    return planned


def count_resolved(writes: Writes, pushes: Iterable[tuple[PushType, PushStatus]]) -> None:
    """Let those be counted, once they are committed, that are not queued (any more)."""
    writes.announcement.pushes.update(
        (str(kind), str(status)) for kind, status in pushes if status is not PushStatus.QUEUED
    )


async def _read_recipients(
    session: AsyncSession, preferences: dict[int, Preferences], now: datetime
) -> dict[int, Recipient]:
    found = (await session.execute(_READ, {"user_ids": sorted(preferences)})).all()
    counted = await read_counted(session, preferences, now)
    return {
        row.id: Recipient(
            row.id,
            row.locale,
            ZoneInfo(row.timezone),
            preferences[row.id],
            row.devices,
            counted[row.id],
        )
        for row in found
    }


async def _unknown(session: AsyncSession, drafts: Sequence[Draft]) -> list[Draft]:
    """The drafts about which nobody was told yet, each once."""
    by_reference: dict[tuple[int, PushType, str], Draft] = {}
    for draft in drafts:
        by_reference.setdefault((draft.user_id, draft.type, draft.reference), draft)
    user_ids, types, references = zip(*by_reference, strict=True) if by_reference else ((),) * 3
    parameters = {
        "user_ids": list(user_ids),
        "types": [str(kind) for kind in types],
        "references": list(references),
    }
    for row in await session.execute(_READ_KNOWN, parameters):
        del by_reference[row.user_id, PushType(row.type), row.reference]
    return list(by_reference.values())


def _row(
    identifier: UUID, planned: Planned, campaign_id: UUID | None, now: datetime
) -> tuple[Any, ...]:
    draft = planned.draft
    return (
        identifier,
        draft.user_id,
        draft.type,
        draft.reference,
        planned.title,
        planned.body,
        draft.payload,
        planned.status,
        planned.reason,
        campaign_id,
        now,
        planned.due_at,
        planned.counted_on,
    )


def _ask_for_delivery(writes: Writes, rows: Iterable[tuple[UUID, Planned]], now: datetime) -> None:
    ask_for_delivery(
        writes,
        [
            (key, entry.draft.type, entry.due_at)
            for key, entry in rows
            if entry.status is PushStatus.QUEUED
        ],
        now,
    )


def ask_for_delivery(
    writes: Writes, pushes: Iterable[tuple[UUID, PushType, datetime]], now: datetime
) -> None:
    """Ask for pushes (id, type, when) to be sent: one job for many that fall due together.

    What a member waits for does not wait behind a campaign.
    """
    together: dict[tuple[str, datetime], list[str]] = {}
    for key, kind, due_at in pushes:
        job = DELIVERY_JOB if kind in _AWAITED else BULK_DELIVERY_JOB
        together.setdefault((job, due_at), []).append(str(key))
    asked = [
        (job, {"push_ids": keys[start : start + PUSHES_A_DELIVERY]}, due_at)
        for (job, due_at), keys in together.items()
        for start in range(0, len(keys), PUSHES_A_DELIVERY)
    ]
    enqueue_later(writes, asked, now)
