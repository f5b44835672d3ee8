"""Taking the pushes of one row of the outbox, to send them.

Between taking and noting no transaction is open. The row is claimed (`services/job_claims.py`), and
a queued push belongs to one row: so nobody else sends it meanwhile. When its worker dies, the claim
ends, and somebody else takes all of them again.
"""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from models.notifications import PushReason, PushRecord, PushType
from services.bulk import Writes
from services.notifications.counted import read_counted
from services.notifications.decide import MOST_A_DAY, Preferences, after_quiet_hours
from services.notifications.preferences import lock_preferences, preferences_by_user
from services.notifications.providers import NotTried, Outcome
from services.notifications.settle import DuePush, Resolution, Target, in_the_end, is_too_late

_TAKE = text(
    """
    SELECT push.id, user_id, type, title, body, payload, attempts, due_at, counted_on,
           users.timezone
    FROM push_records AS push JOIN users ON users.id = user_id
    WHERE push.id = ANY(CAST(:push_ids AS uuid[])) AND status = 'queued'
    ORDER BY push.id
    """
)
# A device that a worker reached before it died is not tried again.
_TARGETS = text(
    """
    SELECT push.id AS push_id, devices.id AS device_id, platform, token,
           answered.push_id IS NOT NULL AS is_answered,
           answered.provider_message_id IS NOT NULL AS is_delivered,
           answered.refused_because IS NOT NULL AS is_refused
    FROM push_records AS push
    JOIN devices ON devices.user_id = push.user_id
    LEFT JOIN push_deliveries AS answered
           ON answered.push_id = push.id AND answered.device_id = devices.id
    WHERE push.id = ANY(CAST(:push_ids AS uuid[]))
    ORDER BY push.id, devices.id
    """
)


@dataclass(slots=True)
class Batch:
    """Pushes that a worker has taken, and what the providers said of their devices."""

    pushes: list[DuePush]
    resolved: dict[UUID, Resolution] = field(default_factory=dict[UUID, Resolution])
    outcomes: dict[UUID, list[tuple[Target, Outcome]]] = field(
        default_factory=lambda: defaultdict[UUID, list[tuple[Target, Outcome]]](list)
    )

    @property
    def wait_s(self) -> float | None:
        """How long to wait when no provider was asked at all; None where anything became of any."""
        outcomes = [outcome for answers in self.outcomes.values() for _, outcome in answers]
        waits_s = [outcome.after_s for outcome in outcomes if isinstance(outcome, NotTried)]
        if self.resolved or not waits_s or len(waits_s) < len(outcomes):
            return None
        return max(waits_s)


async def take_pushes(session: AsyncSession, push_ids: Sequence[str], now: datetime) -> Batch:
    """The pushes among those that are still to be sent, with their devices.

    Of which some are resolved already: they come a day late, and that day has its three.
    """
    parameters = {"push_ids": [UUID(push_id) for push_id in push_ids]}
    pushes = {row.id: _push(row) for row in await session.execute(_TAKE, parameters)}
    batch = Batch(list(pushes.values()))
    if pushes:
        await _load(session, pushes)
        await _count_today(session, batch, now)
    return batch


def _push(row: Any) -> DuePush:
    return DuePush(
        id=row.id,
        user_id=row.user_id,
        type=PushType(row.type),
        title=row.title,
        body=row.body,
        payload=row.payload,
        attempts=row.attempts + 1,
        due_at=row.due_at,
        counted_on=row.counted_on,
        delivered=0,
        zone=ZoneInfo(row.timezone),
        preferences=Preferences(),
    )


async def _load(session: AsyncSession, pushes: Mapping[UUID, DuePush]) -> None:
    by_user = await preferences_by_user(session, {push.user_id for push in pushes.values()})
    for push in pushes.values():  # none is left of who was erased, and no device either
        push.preferences = by_user.get(push.user_id, push.preferences)
    for row in await session.execute(_TARGETS, {"push_ids": list(pushes)}):
        push = pushes[row.push_id]
        if not row.is_answered:
            push.targets.append(Target(row.device_id, row.platform, row.token))
        push.delivered += row.is_delivered
        push.is_refused |= row.is_refused


async def _count_today(session: AsyncSession, batch: Batch, now: datetime) -> None:
    """Count late pushes towards the day on which they come, under the lock of planning."""
    late = [
        push
        for push in batch.pushes
        if push.counted_on not in (None, _comes_on(push, now)) and not is_too_late(push, now)
    ]
    if not late:
        return
    user_ids = {push.user_id for push in late}
    await lock_preferences(session, user_ids)
    counted = await read_counted(session, user_ids, now)
    writes = Writes()
    writes.update(PushRecord, ("id", "counted_on"), _count_late(batch, late, counted, now))
    await writes.flush(session)


def _count_late(
    batch: Batch, late: Sequence[DuePush], counted: Mapping[int, Counter[date]], now: datetime
) -> list[tuple[UUID, date]]:
    moved: list[tuple[UUID, date]] = []
    for push in late:
        day = _comes_on(push, now)
        if counted[push.user_id][day] >= MOST_A_DAY:
            batch.resolved[push.id] = in_the_end(push, PushReason.DAILY_CAP)
        else:
            counted[push.user_id][day] += 1
            moved.append((push.id, day))
    return moved


def _comes_on(push: DuePush, now: datetime) -> date:
    """The member's day on which a push that is sent now would come, quiet hours observed."""
    return after_quiet_hours(now, push).astimezone(push.zone).date()
