"""What can be offered to a member now: fresh in stock, price and limits at every answer.

Priced between half the balance and all of it, in stock (of a pool: with a code that has not
expired), on sale, and not taken as often as it may be: the member could exchange it at this moment
(docs/decisions/0027-only-what-can-be-had.md).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from math import ceil
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from services.catalogue.items import ITEM_COLUMNS, Item, item_from_row
from services.exchange.code_pool import HAS_CODE
from services.exchange.limits import period_starts

LEAST_SHARE, MOST_SHARE = 0.5, 1.0
"""Of the balance."""

OFFERED_COLUMNS = ", ".join(f"item.{column.name}" for column in ITEM_COLUMNS)
OFFERED = f"""
    item.is_active AND item.stock > 0
    AND (item.available_from IS NULL OR item.available_from <= :now)
    AND (item.available_until IS NULL OR item.available_until > :now)
    AND item.points BETWEEN CAST(:least_points AS bigint) AND CAST(:most_points AS bigint)
    AND (item.per_user_limit_count IS NULL OR item.per_user_limit_count > (
        SELECT count(*) FROM exchanges taken
        WHERE taken.user_id = :user_id AND taken.item_id = item.id AND taken.status <> 'cancelled'
          AND taken.created_at >= CASE item.per_user_limit_period
              WHEN 'day' THEN CAST(:day AS timestamptz) WHEN 'week' THEN :week
              WHEN 'month' THEN :month ELSE '-infinity' END))
    AND {HAS_CODE}
"""
"""Whether a row `item` of exchange_items is offered, by the parameters of a `Budget`."""
# OFFSET 0: looked up one after the other in their order, until enough are offered.
_FIRST = text(
    f"""
    SELECT {OFFERED_COLUMNS}
    FROM unnest(CAST(:item_ids AS bigint[])) WITH ORDINALITY AS wanted(id, place)
    CROSS JOIN LATERAL (SELECT * FROM exchange_items WHERE id = wanted.id OFFSET 0) item
    WHERE {OFFERED} ORDER BY wanted.place LIMIT :most
    """
)


@dataclass(frozen=True, slots=True)
class Budget:
    """Who asks, with how many points to spend, and when by the clock of the mall."""

    user_id: int
    available: int
    now: datetime
    zone: ZoneInfo

    def parameters(self) -> dict[str, Any]:
        """What `OFFERED` is about."""
        return {
            "user_id": self.user_id,
            "now": self.now,
            "least_points": ceil(LEAST_SHARE * self.available),
            "most_points": int(MOST_SHARE * self.available),
            **period_starts(self.now, self.zone),
        }


async def first_offered(
    session: AsyncSession, budget: Budget, item_ids: Sequence[int], most: int
) -> list[Item]:
    """The first `most` of the items that the member could take now, in their order."""
    if not item_ids:
        return []
    asked = {"item_ids": list(item_ids), "most": most, **budget.parameters()}
    return [item_from_row(row) for row in await session.execute(_FIRST, asked)]
