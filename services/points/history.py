"""What changed a member's balance, newest first."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import RowMapping, select
from sqlalchemy.ext.asyncio import AsyncSession

from models.points import PointsAction, PointsAuditLog
from services.bulk import among
from services.errors import BadInput
from services.paging import Page, decode_cursor, encode_cursor, page_of
from services.points.account import Entry

_ORDER = "history"
_LARGEST_SEQUENCE = 2**31 - 1
_COLUMNS = tuple(PointsAuditLog.__table__.columns)


def _entry(row: RowMapping) -> Entry:
    return Entry(**dict[str, Any](row, action=PointsAction(row["action"])))


async def history_page(
    session: AsyncSession,
    user_id: int,
    *,
    size: int,
    after: str | None,
    actions: Sequence[PointsAction] | None,
) -> Page[Entry]:
    """Changes of the user's balance, newest first. Raises BadInput for a bad cursor."""
    statement = select(*_COLUMNS).where(PointsAuditLog.user_id == user_id)
    if actions is not None:
        statement = statement.where(among(PointsAuditLog.action, actions))
    if after is not None:
        (sequence,) = decode_cursor(after, _ORDER, int)
        if abs(sequence) > _LARGEST_SEQUENCE:
            raise BadInput("the cursor is not one of this list")
        statement = statement.where(PointsAuditLog.sequence < sequence)
    statement = statement.order_by(PointsAuditLog.sequence.desc()).limit(size + 1)
    rows = [_entry(row) for row in (await session.execute(statement)).mappings()]
    return page_of(rows, size, _cursor_of, has_previous=after is not None)


def _cursor_of(entry: Entry) -> str:
    return encode_cursor(_ORDER, entry.sequence)


async def find_change(session: AsyncSession, user_id: int, sequence: int) -> Entry | None:
    """One change of a user's balance by its number."""
    statement = select(*_COLUMNS).where(
        PointsAuditLog.user_id == user_id, PointsAuditLog.sequence == sequence
    )
    row = (await session.execute(statement)).mappings().one_or_none()
    return None if row is None else _entry(row)
