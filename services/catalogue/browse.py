"""Listing the catalogue: filters and a search that combine, five orders, keyset pages."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import BigInteger, ColumnElement, Select, cast, func, or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from models.catalogue import ExchangeItem, ExchangeItemType
from services.bulk import among
from services.catalogue.items import ITEM_COLUMNS, Item, item_from_row
from services.catalogue.matching import matches, relevance
from services.catalogue.member_filter import MemberFilter
from services.catalogue.popularity import popularity
from services.catalogue.search import SearchQuery, search_query
from services.errors import BadInput
from services.paging import Page, decode_cursor, encode_cursor, page_of

_ITEMS = ExchangeItem.__table__.c


class ItemOrder(StrEnum):
    """How the catalogue is ordered (`contract.graphql`, ExchangeItemOrder).

    RELEVANCE: what answers the search best comes first; without a search it is as POPULAR.
    """

    RELEVANCE = "relevance"
    POINTS_ASC = "points_asc"
    POINTS_DESC = "points_desc"
    POPULAR = "popular"
    NEWEST = "newest"


@dataclass(frozen=True, slots=True)
class ItemFilter:
    """Which items to list; None does not filter, nor does a search of blanks."""

    search: str | None = None
    category: str | None = None
    types: Sequence[ExchangeItemType] | None = None
    min_points: int | None = None
    max_points: int | None = None
    member: MemberFilter | None = None


@dataclass(frozen=True, slots=True)
class _Ordering:
    """What leads an order; the id breaks ties in the same direction.

    `column` is None for POPULAR, whose key is joined to the items that are left.
    """

    order: ItemOrder
    column: ColumnElement[Any] | None
    kind: type
    descending: bool

    def by(self, *keys: ColumnElement[Any]) -> list[ColumnElement[Any]]:
        """These keys in the direction of this order."""
        return [key.desc() for key in keys] if self.descending else list(keys)


def _ordering(order: ItemOrder, query: SearchQuery | None) -> _Ordering:
    match order:
        case ItemOrder.POINTS_ASC:
            return _Ordering(order, _ITEMS.points, int, descending=False)
        case ItemOrder.POINTS_DESC:
            return _Ordering(order, _ITEMS.points, int, descending=True)
        case ItemOrder.NEWEST:
            return _Ordering(order, _ITEMS.created_at, datetime, descending=True)
        case ItemOrder.RELEVANCE if query is not None:
            return _Ordering(order, relevance(query), int, descending=True)
        case ItemOrder.POPULAR | ItemOrder.RELEVANCE:
            return _Ordering(ItemOrder.POPULAR, None, int, descending=True)


def _listed(now: datetime) -> list[ColumnElement[bool]]:
    """What is listed: active items whose sale has not ended, those still to come included."""
    return [
        _ITEMS.is_active,  # bare: PostgreSQL does not see that IS TRUE fits a partial index
        or_(ExchangeItem.available_until.is_(None), ExchangeItem.available_until > now),
    ]


def _conditions(wanted: ItemFilter) -> list[ColumnElement[bool]]:
    """What the filter asks for, but for the search."""
    conditions: list[ColumnElement[bool]] = []
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
    """One page of the catalogue, in one statement.

    Raises BadInput for a foreign cursor, and for a search that is too long.
    """
    query = search_query(wanted.search)
    ordering = _ordering(order, query)
    listed, conditions = _listed(now), _conditions(wanted)
    if query is None:
        columns = _Candidates(_ITEMS.id, ordering.column, ITEM_COLUMNS, [*listed, *conditions])
        statement = _page(columns, ordering, size, after, now, zone)
    else:
        found = matches(query, listed, conditions, ordering.column)
        columns = _Candidates(found.c.id, found.c.order_key, (found.c.id,), [found.c.is_wanted])
        statement = _read(_page(columns, ordering, size, after, now, zone), ordering)
    rows = (await session.execute(statement)).all()
    page = page_of(rows, size, _cursor_maker(ordering.order), has_previous=after is not None)
    items = [item_from_row(row) for row in page.rows]
    return Page(items, page.cursors, page.has_next, page.has_previous)


@dataclass(frozen=True, slots=True)
class _Candidates:
    """What a page is cut from: every listed item, or those that a search found."""

    item_id: ColumnElement[int]
    order_key: ColumnElement[Any] | None
    columns: Sequence[ColumnElement[Any]]
    conditions: Sequence[ColumnElement[bool]]


def _page(
    candidates: _Candidates,
    ordering: _Ordering,
    size: int,
    after: str | None,
    now: datetime,
    zone: ZoneInfo,
) -> Select[Any]:
    """One row more than the page, to see whether there are more."""
    item_id, key, counts = candidates.item_id, candidates.order_key, None
    if ordering.column is None or key is None:
        counts = popularity(now, zone)
        key = cast(func.coalesce(counts.c.exchanges, 0), BigInteger)
    statement: Select[Any] = select(*candidates.columns, key.label("order_key"))
    if counts is not None:
        statement = statement.outerjoin(counts, counts.c.item_id == item_id)
    statement = statement.where(*candidates.conditions)
    if after is not None:
        statement = statement.where(_beyond(ordering, key, item_id, after))
    return statement.order_by(*ordering.by(key, item_id)).limit(size + 1)


def _read(page: Select[Any], ordering: _Ordering) -> Select[Any]:
    """The columns of the items on a page: what is found by a search carries none of them."""
    cut = page.subquery("page")
    statement: Any = select(*ITEM_COLUMNS, cut.c.order_key)
    statement = statement.select_from(cut).join(ExchangeItem.__table__, cut.c.id == _ITEMS.id)
    return statement.order_by(*ordering.by(cut.c.order_key, cut.c.id))


def _beyond(
    ordering: _Ordering, key: ColumnElement[Any], item_id: ColumnElement[int], after: str
) -> ColumnElement[bool]:
    value, last_id = decode_cursor(after, ordering.order, ordering.kind, int)
    if ordering.descending:
        return or_(key < value, (key == value) & (item_id < last_id))
    return or_(key > value, (key == value) & (item_id > last_id))


def _cursor_maker(order: ItemOrder) -> Callable[[Any], str]:
    def cursor_of(row: Any) -> str:
        key = row.order_key
        return encode_cursor(order, key if isinstance(key, datetime) else int(key), row.id)

    return cursor_of


async def count_items(session: AsyncSession, wanted: ItemFilter, now: datetime) -> int:
    """How many items the filter lists; raises BadInput for a search that is too long."""
    query, listed, conditions = search_query(wanted.search), _listed(now), _conditions(wanted)
    statement = select(func.count())
    if query is None:
        statement = statement.select_from(ExchangeItem).where(*listed, *conditions)
    else:
        found = matches(query, listed, conditions, None)
        statement = statement.select_from(found).where(found.c.is_wanted)
    return (await session.execute(statement)).scalar_one()
