"""Lots for a member to see."""

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, RowMapping, and_, func, literal, or_, select, text, tuple_
from sqlalchemy.ext.asyncio import AsyncSession

from models.points import PointsRecord, PointsRecordStatus
from services.paging import Page, decode_cursor, encode_cursor, page_of
from services.points.ledger import Lot

_ORDER = "lots"
_FOREVER = datetime.max.replace(tzinfo=UTC, microsecond=0)
_LOT = (
    PointsRecord.id,
    PointsRecord.user_id,
    PointsRecord.points,
    PointsRecord.original_points,
    PointsRecord.source,
    PointsRecord.source_reference,
    PointsRecord.status,
    PointsRecord.expires_at,
    PointsRecord.created_at,
    PointsRecord.available_at,
    PointsRecord.withheld_points,
    PointsRecord.extended_at,
)


def _lot(row: RowMapping) -> Lot:
    return Lot(**dict[str, Any](row, status=PointsRecordStatus(row["status"])))


# Written out, not bound: only a constant lets the planner see that the partial index serves.
_HAS_POINTS = text("points_records.status IN ('active', 'pending')")


def _with_points_left(user_id: int, now: datetime) -> ColumnElement[bool]:
    return and_(
        PointsRecord.user_id == user_id,
        _HAS_POINTS,
        or_(
            PointsRecord.status == PointsRecordStatus.PENDING,
            PointsRecord.expires_at.is_(None),
            PointsRecord.expires_at > now,
        ),
    )


async def lots_page(
    session: AsyncSession, user_id: int, now: datetime, *, size: int, after: str | None
) -> Page[Lot]:
    """Lots with points left, soonest expiry first. Raises BadInput for a bad cursor."""
    ends = func.coalesce(PointsRecord.expires_at, literal(_FOREVER))
    key = tuple_(ends, PointsRecord.created_at, PointsRecord.id)
    statement = select(*_LOT).where(_with_points_left(user_id, now))
    if after is not None:
        statement = statement.where(key > decode_cursor(after, _ORDER, datetime, datetime, UUID))
    statement = statement.order_by(ends, PointsRecord.created_at, PointsRecord.id).limit(size + 1)
    rows = [_lot(row) for row in (await session.execute(statement)).mappings()]
    return page_of(rows, size, _cursor_of, has_previous=after is not None)


def _cursor_of(lot: Lot) -> str:
    return encode_cursor(_ORDER, lot.expires_at or _FOREVER, lot.created_at, lot.id)


async def count_lots(session: AsyncSession, user_id: int, now: datetime) -> int:
    """How many lots have points left."""
    statement = select(func.count()).select_from(PointsRecord)
    return (await session.execute(statement.where(_with_points_left(user_id, now)))).scalar_one()


async def find_lot(session: AsyncSession, lot_id: UUID, now: datetime) -> Lot | None:
    """A lot by its id, whoever holds it. One that is due shows as expired, settled or not."""
    statement = select(*_LOT).where(PointsRecord.id == lot_id)
    row = (await session.execute(statement)).mappings().one_or_none()
    if row is None:
        return None
    lot = _lot(row)
    is_active = lot.status is PointsRecordStatus.ACTIVE
    if is_active and lot.expires_at is not None and lot.expires_at <= now:
        lot.status = PointsRecordStatus.EXPIRED
    return lot
