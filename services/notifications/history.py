"""Every push that was meant for a member, newest first, and which of them were opened."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import RowMapping, select, text, tuple_
from sqlalchemy.ext.asyncio import AsyncSession

from models.notifications import PushReason, PushRecord, PushStatus, PushType
from services.bulk import among
from services.errors import NotFound
from services.paging import Page, decode_cursor, encode_cursor, page_of

_ORDER = "pushes"
_COLUMNS = (
    PushRecord.id,
    PushRecord.user_id,
    PushRecord.type,
    PushRecord.title,
    PushRecord.body,
    PushRecord.payload,
    PushRecord.status,
    PushRecord.reason,
    PushRecord.created_at,
    PushRecord.sent_at,
    PushRecord.opened_at,
)
# What was never handed to a provider cannot have been opened: suppressed, or held still. But what
# is queued and due, or failed, can: a provider may have taken it from a worker that died, or that
# did not wait for the answer. So the status cannot be the rule.
_OPEN = text(
    """
    UPDATE push_records SET opened_at = :now
    WHERE id = :id AND user_id = :user_id AND opened_at IS NULL
      AND status <> 'suppressed' AND due_at <= :now
      AND EXISTS (SELECT FROM users WHERE id = :user_id AND erased_at IS NULL)
    """
)


@dataclass(frozen=True, slots=True)
class Push:
    """One push, as its member sees it; `reason` says why it was not sent."""

    id: UUID
    user_id: int
    type: PushType
    title: str
    body: str
    payload: dict[str, Any]
    status: PushStatus
    reason: PushReason | None
    created_at: datetime
    sent_at: datetime | None
    opened_at: datetime | None


async def pushes_page(
    session: AsyncSession, user_id: int, *, size: int, after: str | None
) -> Page[Push]:
    """The user's pushes, newest first, held and suppressed ones too. Raises BadInput."""
    statement = select(*_COLUMNS).where(PushRecord.user_id == user_id)
    if after is not None:
        key = tuple_(PushRecord.created_at, PushRecord.id)
        statement = statement.where(key < decode_cursor(after, _ORDER, datetime, UUID))
    newest_first = (PushRecord.created_at.desc(), PushRecord.id.desc())
    rows = await session.execute(statement.order_by(*newest_first).limit(size + 1))
    pushes = [_push(row) for row in rows.mappings()]
    return page_of(pushes, size, _cursor_of, has_previous=after is not None)


def _cursor_of(push: Push) -> str:
    return encode_cursor(_ORDER, push.created_at, push.id)


async def mark_opened(session: AsyncSession, user_id: int, push_id: UUID, now: datetime) -> Push:
    """Note that the member opened the push; the first time stays.

    What cannot have reached the member (suppressed, or held until later) is returned as it was: an
    app may show it in its own list. Raises NotFound for what is not there or another member's.
    """
    await session.execute(_OPEN, {"id": push_id, "user_id": user_id, "now": now})
    push = (await pushes_by_id(session, [push_id])).get(push_id)
    if push is None or push.user_id != user_id:
        raise NotFound("PushRecord", str(push_id))
    return push


async def pushes_by_id(session: AsyncSession, ids: Iterable[UUID]) -> dict[UUID, Push]:
    """Those of `ids` that exist, whoever's they are."""
    rows = await session.execute(select(*_COLUMNS).where(among(PushRecord.id, ids)))
    return {row["id"]: _push(row) for row in rows.mappings()}


def _push(row: RowMapping) -> Push:
    reason = row["reason"]
    known = {
        "type": PushType(row["type"]),
        "status": PushStatus(row["status"]),
        "reason": None if reason is None else PushReason(reason),
    }
    return Push(**dict[str, Any](row, **known))
