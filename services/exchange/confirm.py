"""Telling members that their exchange is settled (`domain.md`, Exchange and Notifications)."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from models.catalogue import ExchangeItemType
from models.notifications import PushType
from services.bulk import Writes
from services.identifiers import global_id
from services.messages import message, plural_message
from services.notifications.decide import Draft
from services.notifications.plan import plan_pushes

_READ = text(
    """
    SELECT exchanges.id, exchanges.user_id, exchanges.points, item.name, item.type
    FROM exchanges JOIN exchange_items AS item ON item.id = item_id
    WHERE exchanges.id = ANY(CAST(:ids AS uuid[])) ORDER BY exchanges.id
    """
)


async def confirm_exchanges(
    session: AsyncSession, exchange_ids: Sequence[UUID], now: datetime
) -> None:
    """Plan the confirmation of each of these exchanges; each is confirmed once, ever.

    One that was cancelled meanwhile is confirmed all the same: it took place. It never names the
    code of a coupon: pushes are read on locked screens.
    """
    rows = await session.execute(_READ, {"ids": list(exchange_ids)})
    writes = Writes()
    await plan_pushes(session, writes, [_confirmation(row) for row in rows], now)
    await writes.flush(session)


def _confirmation(row: Any) -> Draft:
    def words(locale: str) -> tuple[str, str]:
        title = plural_message(
            locale,
            "{item} is yours for {count} point",
            "{item} is yours for {count} points",
            row.points,
            item=row.name,
        )
        return title, _next_step(ExchangeItemType(row.type), locale)

    payload = {"exchangeId": global_id("Exchange", row.id)}
    kind = PushType.EXCHANGE_CONFIRMATION
    return Draft(row.user_id, kind, str(row.id), words, payload)


def _next_step(item_type: ExchangeItemType, locale: str) -> str:
    match item_type:
        case ExchangeItemType.COUPON:
            return message(locale, "Your code is ready: open the exchange to see it.")
        case ExchangeItemType.VIP:
            return message(locale, "Your membership is active: enjoy it.")
        case ExchangeItemType.PHYSICAL:
            return message(locale, "We are preparing it: open the exchange to see where it is.")
        case ExchangeItemType.VIRTUAL:
            return message(locale, "Open the exchange to see how you receive it.")
