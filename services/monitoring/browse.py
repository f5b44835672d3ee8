"""Alerts as operators see them, and taking note of one."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Select, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from models.monitoring import Alert
from services.bulk import Writes
from services.errors import NotFound
from services.operators import note_action

MOST_ALERTS = 100
"""How many are listed at most, the newest: those that are open are far fewer."""
_NAMES = (
    "id",
    "kind",
    "severity",
    "message",
    "first_seen_at",
    "last_seen_at",
    "occurrences",
    "acknowledged_at",
    "resolved_at",
)


@dataclass(frozen=True, slots=True)
class NotedAlert:
    """An alert; open while `resolved_at` is None."""

    id: UUID
    kind: str
    severity: str
    message: str
    first_seen_at: datetime
    last_seen_at: datetime
    occurrences: int
    acknowledged_at: datetime | None
    resolved_at: datetime | None


async def recent_alerts(session: AsyncSession, *, include_resolved: bool) -> list[NotedAlert]:
    """Alerts that are open, or the latest whether they are or not; newest first."""
    # The ids are made by the time (UUIDv7): their order is that in which alerts were raised.
    statement = _alerts().order_by(Alert.id.desc()).limit(MOST_ALERTS)
    if not include_resolved:
        statement = statement.where(Alert.resolved_at.is_(None))
    return await _read(session, statement)


async def find_alert(session: AsyncSession, alert_id: UUID) -> NotedAlert | None:
    """One alert by its id."""
    found = await _read(session, _alerts().where(Alert.id == alert_id))
    return found[0] if found else None


async def acknowledge_alert(
    session: AsyncSession, operator_id: int, alert_id: UUID, now: datetime
) -> NotedAlert:
    """Note that an operator is at it: it stays open, and is not repeated.

    Who did so first stays noted. Raises NotFound.
    """
    locked = await _read(session, _alerts().where(Alert.id == alert_id).with_for_update())
    if not locked:
        raise NotFound("Alert", str(alert_id))
    if locked[0].acknowledged_at is not None:
        return locked[0]
    noted = {"acknowledged_at": now, "acknowledged_by": operator_id}
    await session.execute(update(Alert).where(Alert.id == alert_id).values(noted))
    writes = Writes()
    details = {"type": locked[0].kind}
    note_action(writes, operator_id, "acknowledge_alert", ("Alert", alert_id), details, now)
    await writes.flush(session)
    acknowledged = await find_alert(session, alert_id)
    assert acknowledged is not None  # noqa: S101 — it is locked
    return acknowledged


def _alerts() -> Select[*tuple[Any, ...]]:
    return select(*(getattr(Alert, name) for name in _NAMES))


async def _read(session: AsyncSession, statement: Select[*tuple[Any, ...]]) -> list[NotedAlert]:
    return [NotedAlert(*row) for row in await session.execute(statement)]
