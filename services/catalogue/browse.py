"""Listing the catalogue: filters that combine, five orders, keyset pages."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import BigInteger, ColumnElement, cast, func, or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from models.catalogue import ExchangeItem, ExchangeItemType
from services.bulk import among
from services.catalogue.items import ITEM_COLUMNS, Item, item_from_row
from services.catalogue.member_filter import MemberFilter
from services.catalogue.popularity import popularity
from services.errors import BadInput
from services.paging import Page, decode_cursor, encode_cursor, page_of


class ItemOrder(StrEnum):
    """How the catalogue is ordered (`contract.graphql`, ExchangeItemOrder)."""

    POINTS_ASC = "points_asc"
    POINTS_DESC = "points_desc"
    POPULAR = "popular"
    NEWEST = "newest"


@dataclass(frozen=True, slots=True)
class ItemFilter:
    """Which items to list; None does not filter."""

    category: str | None = None
    types: Sequence[ExchangeItemType] | None = None
    min_points: int | None = None
    max_points: int | None = None
    member: MemberFilter | None = None


@dataclass(frozen=True, slots=True)
class _Ordering:
    """The column that leads an order; the id breaks ties in the same direction."""

    column: ColumnElement[Any]
    kind: type
    descending: bool


def _ordering(order: ItemOrder, exchanges: ColumnElement[Any]) -> _Ordering:
    match order:
        case ItemOrder.POINTS_ASC:
            return _Ordering(ExchangeItem.points.expression, int, descending=False)
        case ItemOrder.POINTS_DESC:
            return _Ordering(ExchangeItem.points.expression, int, descending=True)
        case ItemOrder.NEWEST:
            return _Ordering(ExchangeItem.created_at.expression, datetime, descending=True)
        case ItemOrder.POPULAR:
            return _Ordering(exchanges, int, descending=True)


def _conditions(wanted: ItemFilter, now: datetime) -> list[ColumnElement[bool]]:
    """What is listed: active items whose sale has not ended, those still to come included."""
    conditions: list[ColumnElement[bool]] = [
        ExchangeItem.is_active.is_(True),
        or_(ExchangeItem.available_until.is_(None), ExchangeItem.available_until > now),
    ]
    if wanted.category is not None:
        if "\x00" in wanted.category:
            raise BadInput("no text may hold the character U+0000")
        conditions.append(ExchangeItem.category == wanted.category)
    if wanted.types is not None:
        conditions.append(among(ExchangeItem.type, wanted.types))
    if wanted.min_points is not None:
        conditions.append(ExchangeItem.points >= wanted.min_points)
    if wanted.max_points is not None:
        conditions.append(ExchangeItem.points <= wanted.max_points)
    if wanted.member is not None:
        conditions += wanted.member.conditions()
    return conditions


async def items_page(
    session: AsyncSession,
    wanted: ItemFilter,
    order: ItemOrder,
    *,
    size: int,
    after: str | None,
    now: datetime,
    zone: ZoneInfo,
) -> Page[Item]:
    """One page of the catalogue, in one statement. Raises BadInput for a foreign cursor."""
    statement, exchanges = _select(order, now, zone)
    ordering = _ordering(order, exchanges)
    statement = statement.add_columns(ordering.column.label("order_key"))
    statement = statement.where(*_conditions(wanted, now))
    if after is not None:
        statement = statement.where(_beyond(ordering, order, after))
    direction = [ordering.column, ExchangeItem.id.expression]
    if ordering.descending:
        direction = [column.desc() for column in direction]
    rows = (await session.execute(statement.order_by(*direction).limit(size + 1))).all()
    page = page_of(rows, size, _cursor_maker(order), has_previous=after is not None)
    items = [item_from_row(row) for row in page.rows]
    return Page(items, page.cursors, page.has_next, page.has_previous)


def _select(order: ItemOrder, now: datetime, zone: ZoneInfo) -> tuple[Any, ColumnElement[Any]]:
    statement: Any = select(*ITEM_COLUMNS)
    if order is not ItemOrder.POPULAR:
        return statement, ExchangeItem.id.expression
    counts = popularity(now, zone)
    exchanges = cast(func.coalesce(counts.c.exchanges, 0), BigInteger)
    return statement.outerjoin(counts, counts.c.item_id == ExchangeItem.id), exchanges


def _beyond(ordering: _Ordering, order: ItemOrder, after: str) -> ColumnElement[bool]:
    value, item_id = decode_cursor(after, order, ordering.kind, int)
    column, key = ordering.column, ExchangeItem.id
    if ordering.descending:
        return or_(column < value, (column == value) & (key < item_id))
    return or_(column > value, (column == value) & (key > item_id))


def _cursor_maker(order: ItemOrder) -> Callable[[Any], str]:
    def cursor_of(row: Any) -> str:
        key = row.order_key
        return encode_cursor(order, key if isinstance(key, datetime) else int(key), row.id)

    return cursor_of


async def count_items(session: AsyncSession, wanted: ItemFilter, now: datetime) -> int:
    """How many items the filter lists."""
    statement = select(func.count()).select_from(ExchangeItem)
    return (await session.execute(statement.where(*_conditions(wanted, now)))).scalar_one()
