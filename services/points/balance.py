"""What a member has: available, pending, expiring soon, and over a lifetime."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from services.points.expiry import EXPIRING_SOON_DAYS

# From the lots, not from users.points: a lot past its expiry does not count, settled or not. What
# is due but not settled yet is therefore taken off nothing else: the lifetime sums stand as booked.
_BALANCES = text(
    """
    SELECT users.id AS user_id,
           coalesce(sum(lot.points) FILTER (WHERE lot.status = 'active'
               AND (lot.expires_at IS NULL OR lot.expires_at > :now)), 0)::bigint AS available,
           coalesce(sum(lot.points) FILTER (WHERE lot.status = 'pending'), 0)::bigint AS pending,
           coalesce(sum(lot.points) FILTER (WHERE lot.status = 'active'
               AND lot.expires_at > :now AND lot.expires_at <= :soon), 0)::bigint AS expiring_soon,
           users.lifetime_earned, users.lifetime_redeemed
    FROM users
    LEFT JOIN points_records lot
        ON lot.user_id = users.id AND lot.status IN ('active', 'pending')
    WHERE users.id = ANY(CAST(:user_ids AS bigint[]))
    GROUP BY users.id
    """
)


@dataclass(frozen=True, slots=True)
class Balance:
    """A member's points (`contract.graphql`, Balance)."""

    user_id: int
    available: int
    pending: int
    expiring_soon: int
    lifetime_earned: int
    lifetime_redeemed: int


async def balances(
    session: AsyncSession, user_ids: Iterable[int], now: datetime
) -> dict[int, Balance]:
    """The balances of the users that exist, in one statement."""
    soon = now + timedelta(days=EXPIRING_SOON_DAYS)
    parameters = {"user_ids": sorted(set(user_ids)), "now": now, "soon": soon}
    rows = [Balance(*row) for row in await session.execute(_BALANCES, parameters)]
    return {balance.user_id: balance for balance in rows}
