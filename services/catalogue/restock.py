"""Telling those who wish for an item that it can be had again (`domain.md`, Catalogue)."""

from collections.abc import Iterable
from datetime import datetime

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from services.bulk import Writes
from services.catalogue.items import Item
from services.outbox import enqueue

BACK_IN_STOCK_JOB = "back_in_stock"

_WISHED = text(
    """
    SELECT item_id FROM unnest(CAST(:item_ids AS bigint[])) AS back(item_id)
    WHERE EXISTS (SELECT FROM wishes WHERE wishes.item_id = back.item_id) ORDER BY item_id
    """
)


async def note_restock(
    session: AsyncSession, writes: Writes, changes: Iterable[tuple[Item, Item]], now: datetime
) -> None:
    """Ask for the wishers of each item to be told, if (before, after) the change says that it is.

    That is: on sale and in stock now, and not so before, be it for its stock, its window or that it
    was switched off. Under the items' locks; nothing is asked for where nobody wishes for it. An
    item whose window opens by the clock alone changes nothing, so nobody is told of it here.
    """
    back = [after.id for before, after in changes if is_back(before, after, now)]
    if back:
        wished = (await session.execute(_WISHED, {"item_ids": back})).scalars()
        enqueue(writes, BACK_IN_STOCK_JOB, [{"item_id": item_id} for item_id in wished], now)


def is_back(before: Item, after: Item, now: datetime) -> bool:
    """Whether a change of an item made it one that can be had."""
    return after.can_be_had(now) and not before.can_be_had(now)
