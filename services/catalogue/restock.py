"""Telling those who wish for an item that it is back (`domain.md`, Catalogue)."""

from datetime import datetime

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from services.bulk import Writes
from services.outbox import enqueue

BACK_IN_STOCK_JOB = "back_in_stock"

_IS_WISHED = text("SELECT EXISTS (SELECT FROM wishes WHERE item_id = :item_id)")


async def note_restock(
    session: AsyncSession, writes: Writes, item_id: int, stock: tuple[int, int], now: datetime
) -> None:
    """Ask for the wishers to be told, if `stock`, (before, after), went up from none.

    Under the item's lock; nothing is asked for where nobody wishes for it.
    """
    before, after = stock
    if before > 0 or after == 0:
        return
    if (await session.execute(_IS_WISHED, {"item_id": item_id})).scalar_one():
        enqueue(writes, BACK_IN_STOCK_JOB, [{"item_id": item_id}], now)
