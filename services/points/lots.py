"""Lots for a member to see."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    RowMapping,
    Select,
    and_,
    cast,
    func,
    literal,
    or_,
    select,
    text,
    true,
    tuple_,
)
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.ext.asyncio import AsyncSession

from models.points import PointsRecord, PointsRecordStatus
from services.bulk import among
from services.paging import Page, decode_cursor, encode_cursor, page_of
from services.points.account import Lot

LotsPosition = tuple[datetime, datetime, UUID]
"""(expiry, creation, id) of the lot that a page begins after."""
LotsAsked = tuple[int, int, LotsPosition | None]
"""(user id, size, position): a page of a user's lots."""

_ORDER = "lots"
_FOREVER = datetime.max.replace(tzinfo=UTC, microsecond=0)
LOT_COLUMNS = (
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
    PointsRecord.hold_reason,
    PointsRecord.rejected_points,
)
"""What `lot_of` reads a lot from."""


def lot_of(row: RowMapping) -> Lot:
    """A lot from a row of `LOT_COLUMNS`."""
    return Lot(**dict[str, Any](row, status=PointsRecordStatus(row["status"])))


# Written out, not bound: only a constant lets the planner see that the partial index serves.
_HAS_POINTS = text("points_records.status IN ('active', 'pending')")


def _with_points_left(now: datetime) -> ColumnElement[bool]:
    return and_(
        _HAS_POINTS,
        or_(
            PointsRecord.status == PointsRecordStatus.PENDING,
            PointsRecord.expires_at.is_(None),
            PointsRecord.expires_at > now,
        ),
    )


def lots_position(after: str) -> LotsPosition:
    """Where a cursor stands; raises BadInput for one that is not of this list."""
    ends, created_at, lot_id = decode_cursor(after, _ORDER, datetime, datetime, UUID)
    return (ends, created_at, lot_id)


async def lots_pages(
    session: AsyncSession, asked: Iterable[LotsAsked], now: datetime
) -> dict[LotsAsked, Page[Lot]]:
    """Lots with points left, soonest expiry first, of each user asked for.

    One statement for all users whose pages have the same size and begin at the same position.
    """
    together: dict[tuple[int, LotsPosition | None], list[int]] = {}
    for user_id, size, after in asked:
        together.setdefault((size, after), []).append(user_id)
    pages: dict[LotsAsked, Page[Lot]] = {}
    for (size, after), user_ids in together.items():
        rows: dict[int, list[Lot]] = {user_id: [] for user_id in user_ids}
        found = await session.execute(_pages(user_ids, size, after, now))
        for lot in map(lot_of, found.mappings()):
            rows[lot.user_id].append(lot)
        for user_id, lots in rows.items():
            page = page_of(lots, size, _cursor_of, has_previous=after is not None)
            pages[user_id, size, after] = page
    return pages


def _pages(
    user_ids: Sequence[int], size: int, after: LotsPosition | None, now: datetime
) -> Select[Any]:
    ids = cast(user_ids, ARRAY(BigInteger))
    owner = func.unnest(ids).table_valued("user_id", name="owner").render_derived()
    ends = func.coalesce(PointsRecord.expires_at, literal(_FOREVER))
    order = (ends, PointsRecord.created_at, PointsRecord.id)
    lots = select(*LOT_COLUMNS).where(
        PointsRecord.user_id == owner.c.user_id, _with_points_left(now)
    )
    if after is not None:
        lots = lots.where(tuple_(*order) > after)
    page = lots.order_by(*order).limit(size + 1).lateral("page")
    return (
        select(page)
        .select_from(owner)
        .join(page, true())
        .order_by(func.coalesce(page.c.expires_at, literal(_FOREVER)), page.c.created_at, page.c.id)
    )


def _cursor_of(lot: Lot) -> str:
    return encode_cursor(_ORDER, lot.expires_at or _FOREVER, lot.created_at, lot.id)


async def count_lots(
    session: AsyncSession, user_ids: Sequence[int], now: datetime
) -> dict[int, int]:
    """How many lots of each user have points left; users without any are missing."""
    statement = (
        select(PointsRecord.user_id, func.count().label("lots"))
        .where(among(PointsRecord.user_id, user_ids), _with_points_left(now))
        .group_by(PointsRecord.user_id)
    )
    return {row.user_id: row.lots for row in await session.execute(statement)}


async def find_lot(session: AsyncSession, lot_id: UUID, now: datetime) -> Lot | None:
    """A lot by its id, whoever holds it. One that is due shows as expired, settled or not."""
    statement = select(*LOT_COLUMNS).where(PointsRecord.id == lot_id)
    row = (await session.execute(statement)).mappings().one_or_none()
    if row is None:
        return None
    lot = lot_of(row)
    is_active = lot.status is PointsRecordStatus.ACTIVE
    if is_active and lot.expires_at is not None and lot.expires_at <= now:
        lot.status = PointsRecordStatus.EXPIRED
    return lot
