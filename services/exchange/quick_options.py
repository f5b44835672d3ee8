"""A few items worth one click (`domain.md`, Exchange, Quick options)."""

from dataclasses import dataclass
from datetime import datetime
from zoneinfo import ZoneInfo

from sqlalchemy import func, or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from models.catalogue import ExchangeItem
from services.catalogue.items import ITEM_COLUMNS, Item, item_from_row
from services.errors import LimitReached
from services.exchange.limits import Taken, count_taken, require_within_limit
from services.points.balance import Balance

MINIMUM_POINTS = 100
LOWEST_SHARE, BEST_SHARE, HIGHEST_SHARE = 0.3, 0.7, 1.0


@dataclass(frozen=True, slots=True)
class QuickOption:
    """An item that the balance pays for; `expires_soon` when points about to expire would pay."""

    item: Item
    can_exchange: bool
    remaining_points: int
    expires_soon: bool


def can_exchange(item: Item, available: int, taken: Taken, now: datetime, zone: ZoneInfo) -> bool:
    """Affordable, in stock, on sale and within the limits now."""
    if item.points > available or item.stock < 1 or not item.is_on_sale(now):
        return False
    try:
        require_within_limit(item.per_user_limit, taken, now, zone)
    except LimitReached:
        return False
    return True


async def quick_options(
    session: AsyncSession, balance: Balance, limit: int, now: datetime, zone: ZoneInfo
) -> list[QuickOption]:
    """At most `limit` items on sale, in stock and priced within the shares of the balance."""
    if balance.available < MINIMUM_POINTS:
        return []
    items = await _candidates(session, balance.available, limit, now)
    pairs = [(balance.user_id, item.id) for item in items]
    taken = await count_taken(session, pairs, now, zone)
    return [
        QuickOption(
            item=item,
            can_exchange=can_exchange(item, balance.available, taken.get(pair, {}), now, zone),
            remaining_points=balance.available - item.points,
            expires_soon=balance.expiring_soon >= item.points,
        )
        for item, pair in zip(items, pairs, strict=True)
    ]


async def _candidates(
    session: AsyncSession, available: int, limit: int, now: datetime
) -> list[Item]:
    """Closest to 0.7 of the balance first."""
    statement = (
        select(*ITEM_COLUMNS)
        .where(
            ExchangeItem.is_active,
            ExchangeItem.stock > 0,
            or_(ExchangeItem.available_from.is_(None), ExchangeItem.available_from <= now),
            or_(ExchangeItem.available_until.is_(None), ExchangeItem.available_until > now),
            ExchangeItem.points >= LOWEST_SHARE * available,
            ExchangeItem.points <= HIGHEST_SHARE * available,
        )
        .order_by(func.abs(ExchangeItem.points - BEST_SHARE * available), ExchangeItem.id)
        .limit(limit)
    )
    return [item_from_row(row) for row in await session.execute(statement)]
