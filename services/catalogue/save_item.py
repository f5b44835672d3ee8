"""Creating and changing items (`domain.md`, Catalogue)."""

from dataclasses import asdict, replace
from datetime import datetime
from typing import Any

from sqlalchemy import insert, text, update
from sqlalchemy.ext.asyncio import AsyncSession

from models.catalogue import ExchangeItem
from services.bulk import Writes
from services.calendar import Clock
from services.catalogue.coupon_codes import clear_pool
from services.catalogue.item_terms import MOST_STOCK, ItemTerms, require_valid_terms, valid_config
from services.catalogue.items import ITEM_COLUMNS, Item, item_from_row, lock_items
from services.catalogue.restock import note_restock
from services.catalogue.search import search_document
from services.errors import InvalidInput, NotFound
from services.input_rules import OutOfRange
from services.operators import changes, note_action

_GONE = text("SELECT total_stock - stock FROM exchange_items WHERE id = :item_id")
# No index leads from an item to its exchanges, for it would cost every one of them: asked only
# when an item of which nothing is gone changes its kind.
_WAS_USED = text(
    """
    SELECT EXISTS (SELECT FROM coupon_codes WHERE item_id = :item_id)
        OR EXISTS (SELECT FROM exchanges WHERE item_id = :item_id)
    """
)


async def save_item(
    session: AsyncSession,
    operator_id: int,
    terms: ItemTerms,
    *,
    item_id: int | None = None,
    clock: Clock,
) -> Item:
    """Create an item, or make the one of that id what the terms say; returns it as it now is.

    Raises InvalidInput, naming the field, for terms that break a rule, and NotFound.
    """
    require_valid_terms(terms)
    before = None if item_id is None else await _lock(session, item_id)
    now = clock()
    before, is_empty = await _clear(session, before, now)
    planned = _planned(terms, before)
    gone = 0 if before is None else await _units_gone(session, before, planned)
    if planned.stock + gone > MOST_STOCK:
        raise OutOfRange(("stock",), 0, MOST_STOCK - gone)
    item = await _write(session, planned, gone, now)
    writes = Writes()
    if before is not None:  # nobody wishes yet for an item that is new
        after = replace(item, stock=0) if is_empty and item.draws_codes else item
        await note_restock(session, writes, [(before, after)], now)
    details = changes(before and asdict(before), asdict(item))
    note_action(writes, operator_id, "save_item", ("ExchangeItem", item.id), details, now)
    await writes.flush(session)
    return item


async def _lock(session: AsyncSession, item_id: int) -> Item:
    items = await lock_items(session, [item_id])
    if item_id not in items:
        raise NotFound("ExchangeItem", str(item_id))
    return items[item_id]


async def _clear(
    session: AsyncSession, item: Item | None, now: datetime
) -> tuple[Item | None, bool]:
    """The item without codes that have expired, and whether it is a pool that has no other.

    Else it could be back in stock with what nobody gets.
    """
    if item is None or not item.draws_codes:
        return item, False
    pool = await clear_pool(session, item, now)
    return replace(item, stock=pool.stock), pool.obtainable.stock == 0


def _planned(terms: ItemTerms, before: Item | None) -> Item:
    """The item as the terms want it. Raises InvalidInput."""
    config = terms.config
    if config is None:
        config = before.config if before else {}
    stock = terms.stock
    if stock is None:
        stock = before.stock if before else 0
    planned = Item(
        id=before.id if before else 0,
        name=terms.name.strip(),
        description=terms.description,
        points=terms.points,
        stock=stock,
        image_url=terms.image_url,
        category=terms.category and terms.category.strip(),
        tags=tuple(dict.fromkeys(tag.strip() for tag in terms.tags)),
        type=terms.type,
        is_active=terms.is_active,
        available_from=terms.available_from,
        available_until=terms.available_until,
        per_user_limit=terms.per_user_limit,
        config=valid_config(terms.type, config),
    )
    unused_codes = before.stock if before and before.draws_codes else 0
    if planned.draws_codes and planned.stock != unused_codes:
        problem = f"the number of unused codes, {unused_codes}: it is changed by importing codes"
        raise InvalidInput(("stock",), problem)
    return planned


async def _units_gone(session: AsyncSession, before: Item, planned: Item) -> int:
    """How many units exchanges hold; raises InvalidInput for a kind that may not change.

    Exchanges tell by the item's type what they gave, and a pool's stock counts codes.
    """
    gone = (await session.execute(_GONE, {"item_id": before.id})).scalar_one()
    is_other_type = planned.type is not before.type
    if is_other_type or planned.draws_codes is not before.draws_codes:
        was_used = gone or (await session.execute(_WAS_USED, {"item_id": before.id})).scalar_one()
        if was_used:
            field = ("type",) if is_other_type else ("config", "generate")
            raise InvalidInput(field, "cannot change once the item was exchanged or has codes")
    return gone


async def _write(session: AsyncSession, item: Item, gone: int, now: datetime) -> Item:
    limit = item.per_user_limit
    values: dict[str, Any] = {
        column.name: getattr(item, column.name)
        for column in ITEM_COLUMNS
        if column.name not in ("id", "per_user_limit_count", "per_user_limit_period")
    }
    values |= {
        "tags": list(item.tags),
        "total_stock": item.stock + gone,
        "per_user_limit_count": limit and limit.count,
        "per_user_limit_period": limit and limit.period,
        "search": search_document(item.name, item.description, item.category, item.tags),
        "updated_at": now,
    }
    statement: Any = update(ExchangeItem).where(ExchangeItem.id == item.id).values(values)
    if not item.id:
        statement = insert(ExchangeItem).values(values | {"created_at": now})
    rows = await session.execute(statement.returning(*ITEM_COLUMNS))
    return item_from_row(rows.one())
