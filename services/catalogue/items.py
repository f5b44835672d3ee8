"""An item of the catalogue as plain data, and how it is read."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncSession

from models.catalogue import ExchangeItem, ExchangeItemType, LimitPeriod
from services.bulk import among
from services.errors import Refusal


@dataclass(frozen=True, slots=True)
class PerUserLimit:
    """How often one member may take an item, and over which period."""

    count: int
    period: LimitPeriod


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """What an operator says of an item, and the catalogue shows."""

    name: str
    description: str | None
    points: int
    image_url: str | None
    category: str | None
    tags: tuple[str, ...]
    type: ExchangeItemType
    is_active: bool
    available_from: datetime | None
    available_until: datetime | None
    per_user_limit: PerUserLimit | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Item(Listing):
    """What is known of an item; `config` holds the terms of its reward (`domain.md`, Exchange)."""

    id: int
    stock: int
    config: Mapping[str, Any]

    def is_on_sale(self, now: datetime) -> bool:
        """Active, and within its sale window."""
        if not self.is_active or (self.available_from is not None and now < self.available_from):
            return False
        return self.available_until is None or now < self.available_until

    def can_be_had(self, now: datetime) -> bool:
        """On sale, and some are left."""
        return self.stock > 0 and self.is_on_sale(now)

    @property
    def draws_codes(self) -> bool:
        """A coupon whose codes are imported; its stock is the number of unused ones."""
        return self.type is ExchangeItemType.COUPON and self.config.get("generate") is not True


DRAWS_CODES = (
    "(item.type = 'coupon' AND item.config -> 'generate' IS DISTINCT FROM CAST('true' AS jsonb))"
)
"""`Item.draws_codes` of a row `item` of exchange_items."""


class OutOfStock(Refusal):
    """The last unit is gone."""

    def __init__(self, item: Item) -> None:
        super().__init__(str(item.id))
        self.item = item


class ItemUnavailable(Refusal):
    """The item is not on sale now."""

    def __init__(self, item: Item) -> None:
        super().__init__(str(item.id))
        self.item = item


# Columns of the table, not of the mapped class: the ORM would add a third to the time of a read.
_ITEMS = ExchangeItem.__table__.c
ITEM_COLUMNS = (
    _ITEMS.id,
    _ITEMS.name,
    _ITEMS.description,
    _ITEMS.points,
    _ITEMS.stock,
    _ITEMS.image_url,
    _ITEMS.category,
    _ITEMS.tags,
    _ITEMS.type,
    _ITEMS.is_active,
    _ITEMS.available_from,
    _ITEMS.available_until,
    _ITEMS.per_user_limit_count,
    _ITEMS.per_user_limit_period,
    _ITEMS.config,
)


# As text: built from ITEM_COLUMNS it would be compiled to a key of the statement cache every time.
_LOCK = text(
    f"""
    SELECT {", ".join(column.name for column in ITEM_COLUMNS)} FROM exchange_items
    WHERE id = ANY(CAST(:item_ids AS bigint[])) ORDER BY id FOR NO KEY UPDATE
    """
)


def item_from_row(row: Any) -> Item:
    """Read a row of ITEM_COLUMNS (more columns may follow)."""
    count, period = row.per_user_limit_count, row.per_user_limit_period
    return Item(
        id=row.id,
        name=row.name,
        description=row.description,
        points=row.points,
        stock=row.stock,
        image_url=row.image_url,
        category=row.category,
        tags=tuple(row.tags),
        type=ExchangeItemType(row.type),
        is_active=row.is_active,
        available_from=row.available_from,
        available_until=row.available_until,
        per_user_limit=None if count is None else PerUserLimit(count, LimitPeriod(period)),
        config=row.config,
    )


async def items_by_id(session: AsyncSession, item_ids: Iterable[int]) -> dict[int, Item]:
    """Those of `item_ids` that exist."""
    statement = select(*ITEM_COLUMNS).where(among(_ITEMS.id, item_ids))
    return {row.id: item_from_row(row) for row in await session.execute(statement)}


async def lock_items(session: AsyncSession, item_ids: Iterable[int]) -> dict[int, Item]:
    """Lock items in id order, after the users, and read them as they now are."""
    wanted = sorted(set(item_ids))
    rows = await session.execute(_LOCK, {"item_ids": wanted}) if wanted else ()
    return {row.id: item_from_row(row) for row in rows}
