"""Taking pushes to send them: a lease, for between taking and noting no transaction is open.

Who dies in between leaves a lease that ends: then somebody else takes them.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from uuid import UUID
from zoneinfo import ZoneInfo

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from models.notifications import PushType
from services.bulk import Writes
from services.notifications.decide import Preferences
from services.notifications.plan import ask_for_delivery
from services.notifications.providers import Outcome
from services.notifications.settle import DuePush, Resolution, Target

LEASE_S = 120.0
"""How long a worker may take for the pushes of one job before another thinks it dead."""

_UTC = ZoneInfo("UTC")

_TAKE = text(
    """
    UPDATE push_records SET leased_until = :leased_until
    FROM (
        SELECT id FROM push_records
        WHERE id = ANY(CAST(:push_ids AS uuid[])) AND status = 'queued'
          AND (leased_until IS NULL OR leased_until <= :now)
        ORDER BY id FOR NO KEY UPDATE
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
    SELECT user_id, timezone, enabled, muted_types, quiet_from, quiet_until
    FROM push_preferences JOIN users ON users.id = user_id
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
_RELEASE = text(
    """
    UPDATE push_records SET leased_until = NULL
    WHERE id = ANY(CAST(:push_ids AS uuid[])) AND status = 'queued' AND leased_until = :leased_until
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
            attempts=row.attempts + 1,
            due_at=row.due_at,
            delivered=0,
            zone=_UTC,
            preferences=Preferences(),
        )
        for row in await session.execute(_TAKE, parameters)
    }
    await _come_again(session, ids, list(pushes), now)
    if pushes:
        await _load(session, pushes)
    return Batch(list(pushes.values()), leased_until)


async def release_pushes(session: AsyncSession, batch: Batch) -> None:
    """Give back what could not be noted, so that the job that failed can take it again."""
    push_ids = [push.id for push in batch.pushes]
    parameters = {"push_ids": push_ids, "leased_until": batch.leased_until}
    await session.execute(_RELEASE, parameters)


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
    found = await session.execute(_PREFERENCES, {"user_ids": user_ids})
    by_user = {row.user_id: row for row in found}
    for push in pushes.values():
        row = by_user.get(push.user_id)
        if row is not None:  # none is left of who was erased, and no device either
            muted = frozenset(PushType(kind) for kind in row.muted_types)
            push.zone = ZoneInfo(row.timezone)
            push.preferences = Preferences(row.enabled, muted, row.quiet_from, row.quiet_until)
    for row in await session.execute(_TARGETS, {"push_ids": list(pushes)}):
        push = pushes[row.push_id]
        if not row.is_answered:
            push.targets.append(Target(row.device_id, row.platform, row.token))
        push.delivered += row.is_delivered
