"""What is known of a batch of exchange requests, read in one statement under the users' locks.

Three questions about the same pairs of user and item (settled before? at what price? how often
taken?) would be three round trips of every batch, and the round trips are what a batch costs.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from zoneinfo import ZoneInfo

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from models.catalogue import LimitPeriod
from services.exchange.decide import ExchangeRequest
from services.exchange.limits import LIMIT_PERIODS, TakenBy, period_starts
from services.idempotency import KeyOf, Settled

# Subqueries per request, not joins: whatever the planner believes of table sizes, each is one
# descent of an index.
_READ = text(
    """
    SELECT asked.user_id, asked.item_id, asked.key, settled.fingerprint, settled.answer,
           (SELECT points FROM exchange_items WHERE id = asked.item_id) AS price, taken.*
    FROM unnest(CAST(:user_ids AS bigint[]), CAST(:item_ids AS bigint[]), CAST(:keys AS text[]))
        AS asked(user_id, item_id, key)
    LEFT JOIN LATERAL (
        SELECT fingerprint, answer FROM idempotency_keys
        WHERE user_id = asked.user_id AND operation = :operation AND key = asked.key
        LIMIT 1
    ) settled ON true
    CROSS JOIN LATERAL (
        SELECT count(*) FILTER (WHERE created_at >= :day),
               count(*) FILTER (WHERE created_at >= :week),
               count(*) FILTER (WHERE created_at >= :month),
               count(*)
        FROM exchanges
        WHERE exchanges.user_id = asked.user_id AND exchanges.item_id = asked.item_id
          AND status <> 'cancelled'
    ) taken -- in the order of LIMIT_PERIODS
    """
)


@dataclass(slots=True)
class KnownRequests:
    """Answers given before, prices by item (read without a lock), and what members have taken."""

    settled: dict[KeyOf, Settled] = field(default_factory=dict[KeyOf, Settled])
    prices: dict[int, int] = field(default_factory=dict[int, int])
    taken: dict[TakenBy, dict[LimitPeriod, int]] = field(
        default_factory=dict[TakenBy, dict[LimitPeriod, int]]
    )


async def read_requests(
    session: AsyncSession,
    operation: str,
    requests: Sequence[ExchangeRequest],
    now: datetime,
    zone: ZoneInfo,
) -> KnownRequests:
    """Look the requests up; items of requests that were settled before are left alone."""
    parameters = {
        "operation": operation,
        "user_ids": [request.user_id for request in requests],
        "item_ids": [request.item_id for request in requests],
        "keys": [request.key for request in requests],
        **period_starts(now, zone),
    }
    known = KnownRequests()
    for row in await session.execute(_READ, parameters):
        if row.fingerprint is not None:
            known.settled[row.user_id, row.key] = Settled(row.fingerprint, row.answer)
        elif row.price is not None:
            known.prices[row.item_id] = row.price
            known.taken[row.user_id, row.item_id] = dict(zip(LIMIT_PERIODS, row[-4:], strict=True))
    return known
