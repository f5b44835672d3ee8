"""Drawing the codes of an item's imported pool (`domain.md`, Exchange, Rewards)."""

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from models.exchange import CodeStatus, CouponCode
from services.bulk import Writes
from services.catalogue.items import DRAWS_CODES, Item
from services.exchange.decide import ExchangeRequest, Settlement
from services.exchange.rewards import Coupon, FreshCode
from services.identifiers import new_id

# The lock on the item keeps other exchanges out already; SKIP LOCKED, so that whoever holds a code
# for another reason holds up that code alone. A range of one item rather than an equality: in this
# order only the index of unused codes serves it. For an equality the planner took the primary key,
# and walked past every code that was ever issued (measured on 300,000 codes).
DRAW = text(
    """
    SELECT asked.item_id, unused.code, unused.expires_at
    FROM unnest(CAST(:item_ids AS bigint[]), CAST(:counts AS bigint[])) AS asked(item_id, count)
    CROSS JOIN LATERAL (
        SELECT code, expires_at FROM coupon_codes
        WHERE item_id >= asked.item_id AND item_id <= asked.item_id AND status = 'unused'
          AND (expires_at IS NULL OR expires_at > :now)
        ORDER BY item_id, id LIMIT asked.count FOR UPDATE SKIP LOCKED
    ) unused
    """
)

# A stock of codes counts those that have expired until the clean-up comes by. Sought as above.
HAS_CODE = f"""
    (NOT {DRAWS_CODES} OR EXISTS (
        SELECT FROM coupon_codes
        WHERE item_id >= item.id AND item_id <= item.id AND status = 'unused'
          AND (expires_at IS NULL OR expires_at > :now)))
"""
"""Whether a row `item` of exchange_items that is in stock has a code to draw, if it draws codes."""


async def draw_codes(
    session: AsyncSession,
    items: Mapping[int, Item],
    requests: Sequence[ExchangeRequest],
    now: datetime,
) -> dict[int, list[FreshCode]]:
    """By item that draws codes: unused ones that have not expired, one a request at most.

    Under the locks of `items`. Costs nothing unless one of them has a pool.
    """
    drawn: dict[int, list[FreshCode]] = {item.id: [] for item in items.values() if item.draws_codes}
    if not drawn:
        return drawn
    counts = Counter(request.item_id for request in requests if request.item_id in drawn)
    parameters = {"item_ids": list(counts), "counts": list(counts.values()), "now": now}
    for row in await session.execute(DRAW, parameters):
        drawn[row.item_id].append(FreshCode(new_id(), row.code, row.expires_at))
    return drawn


def save_drawn_codes(writes: Writes, settlement: Settlement) -> None:
    """Mark the codes that were given away; what else was drawn stays unused."""
    if not settlement.pooled:
        return
    rows = [
        (placed.reward.code, CodeStatus.ISSUED, placed.exchange_id)
        for placed in settlement.placed
        if isinstance(placed.reward, Coupon)
        and placed.item is not None
        and placed.item.id in settlement.pooled
    ]
    writes.update(CouponCode, ("code", "status", "exchange_id"), rows)
