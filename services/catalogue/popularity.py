"""How often items were exchanged of late (`domain.md`, Catalogue: over 7 days)."""

from collections.abc import Iterable
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

from sqlalchemy import Subquery, func, select
from sqlalchemy.ext.asyncio import AsyncSession

from models.catalogue import ItemDailyExchanges
from services.bulk import among
from services.calendar import local_day

POPULARITY_DAYS = 7
"""Today and the six days of the mall before it."""


def _first_day(now: datetime, zone: ZoneInfo) -> date:
    return local_day(now, zone) - timedelta(days=POPULARITY_DAYS - 1)


def popularity(now: datetime, zone: ZoneInfo) -> Subquery:
    """A subquery (item_id, exchanges) over all items that were exchanged of late."""
    return (
        select(
            ItemDailyExchanges.item_id,
            func.sum(ItemDailyExchanges.exchanges).label("exchanges"),
        )
        .where(ItemDailyExchanges.day >= _first_day(now, zone))
        .group_by(ItemDailyExchanges.item_id)
        .subquery("popularity")
    )


async def exchange_counts(
    session: AsyncSession, item_ids: Iterable[int], now: datetime, zone: ZoneInfo
) -> dict[int, int]:
    """How often each of these items was exchanged of late; items that never were are missing."""
    statement = (
        select(ItemDailyExchanges.item_id, func.sum(ItemDailyExchanges.exchanges))
        .where(
            among(ItemDailyExchanges.item_id, item_ids),
            ItemDailyExchanges.day >= _first_day(now, zone),
        )
        .group_by(ItemDailyExchanges.item_id)
    )
    return {item_id: int(count) for item_id, count in await session.execute(statement)}
