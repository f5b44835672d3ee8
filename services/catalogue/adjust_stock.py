"""Moving an item's stock up and down (`domain.md`, Points, Idempotency)."""

from dataclasses import dataclass, replace

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from services.bulk import Writes
from services.calendar import Clock
from services.catalogue.item_terms import MOST_STOCK
from services.catalogue.items import Item, OutOfStock, items_by_id, lock_items
from services.catalogue.restock import note_restock
from services.errors import BadInput, NotFound
from services.idempotency import (
    KeyInvalid,
    Settled,
    find_keys,
    fingerprint,
    replay,
    require_key,
    store_settled,
)
from services.operators import note_action
from services.points.accounts import lock_accounts

OPERATION = "adjustStock"

_ADJUST = text(
    """
    UPDATE exchange_items
    SET stock = stock + CAST(:by AS bigint), total_stock = total_stock + CAST(:by AS bigint),
        updated_at = :now
    WHERE id = :item_id AND total_stock + CAST(:by AS bigint) <= :most
    RETURNING id
    """
)


class NotEnoughStock(OutOfStock):
    """Fewer units are left than are to be taken away."""


@dataclass(frozen=True, slots=True)
class StockAdjustment:
    """An operator's wish to have `by` units more (fewer, if negative) of an item."""

    operator_id: int
    item_id: int
    by: int
    key: str

    def fingerprint(self) -> bytes:
        """A digest of what was asked."""
        return fingerprint(item=self.item_id, by=self.by)


@dataclass(frozen=True, slots=True)
class StockAdjusted:
    """The item as it now is; `replayed`: the key was settled before, nothing moved this time."""

    item: Item
    replayed: bool


async def adjust_stock(
    session: AsyncSession, adjustment: StockAdjustment, *, clock: Clock
) -> StockAdjusted:
    """Move what is left, and what was ever put in, by the same number; once a key.

    Raises NotFound, NotEnoughStock, IdempotencyConflict; BadInput for a bad key, an item whose
    stock is a pool of codes, and more than can be counted.
    """
    _require_key(adjustment.key)
    await lock_accounts(session, [adjustment.operator_id])  # one at a time of each one's keys
    item_id, owner = adjustment.item_id, (adjustment.operator_id, adjustment.key)
    settled = (await find_keys(session, OPERATION, [owner])).settled.get(owner)
    if settled is not None:
        replay(settled, adjustment.key, adjustment.fingerprint())
        return StockAdjusted((await items_by_id(session, [item_id]))[item_id], replayed=True)
    item = (await lock_items(session, [item_id])).get(item_id)
    if item is None:
        raise NotFound("ExchangeItem", str(item_id))
    return StockAdjusted(await _adjust(session, adjustment, item, clock), replayed=False)


def _require_key(key: str) -> None:
    try:
        require_key(key)
    except KeyInvalid as error:  # no Problem that the contract has for this mutation
        raise BadInput(f"idempotencyKey: {error.problem}") from error


async def _adjust(
    session: AsyncSession, adjustment: StockAdjustment, item: Item, clock: Clock
) -> Item:
    adjusted = _adjusted(item, adjustment.by)
    now = clock()
    moved = {"item_id": item.id, "by": adjustment.by, "now": now, "most": MOST_STOCK}
    if (await session.execute(_ADJUST, moved)).one_or_none() is None:
        raise BadInput(f"the stock, what was exchanged included, is at most {MOST_STOCK}")
    writes = Writes()
    details = {"before": {"stock": item.stock}, "after": {"stock": adjusted.stock}}
    target = ("ExchangeItem", item.id)
    note_action(writes, adjustment.operator_id, "adjust_stock", target, details, now)
    owner = (adjustment.operator_id, adjustment.key)
    settled = Settled(adjustment.fingerprint(), {"stock": adjusted.stock})
    store_settled(writes, OPERATION, {owner: settled}, now)
    await note_restock(session, writes, [(item, adjusted)], now)
    await writes.flush(session)
    return adjusted


def _adjusted(item: Item, by: int) -> Item:
    if item.draws_codes:
        raise BadInput("the stock of an item with imported codes is changed by importing codes")
    if item.stock + by < 0:
        raise NotEnoughStock(item)
    return replace(item, stock=item.stock + by)
