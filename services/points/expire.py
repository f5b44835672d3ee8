"""Settling lots that are past their expiry, for everybody (`domain.md`, Points)."""

from dataclasses import dataclass
from zoneinfo import ZoneInfo

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from services.bulk import Writes
from services.calendar import Clock
from services.points.accounts import load_lots, lock_accounts, save_accounts
from services.points.ledger import expire_due

USERS_A_BATCH = 500
"""Members whom one transaction holds up; with five due lots each for some tenths of a second
(`benchmarks/expiry.py` measures what exchanges feel of it)."""

_USERS_WITH_DUE_LOTS = text(
    """
    SELECT DISTINCT user_id FROM (
        SELECT user_id FROM points_records
        WHERE status = 'active' AND expires_at <= :now
        ORDER BY expires_at LIMIT :limit
    ) due
    """
)


@dataclass(frozen=True, slots=True)
class Expired:
    """How many lots ended, and how many points were lost with them."""

    records: int = 0
    points: int = 0

    def __add__(self, other: "Expired") -> "Expired":
        return Expired(self.records + other.records, self.points + other.points)


async def expire_batch(
    session: AsyncSession, clock: Clock, *, zone: ZoneInfo, users: int = USERS_A_BATCH
) -> Expired | None:
    """Settle the due lots of up to `users` members; None says that no lot was due.

    One batch, one transaction: bounded in memory and in how long it holds members up.
    """
    rows = await session.execute(_USERS_WITH_DUE_LOTS, {"now": clock(), "limit": users})
    user_ids = rows.scalars().all()
    if not user_ids:
        return None
    accounts = await lock_accounts(session, user_ids)
    now = clock()
    await load_lots(session, accounts, {}, now)
    ended = [lot for account in accounts.values() for lot in expire_due(account, now)]
    writes = Writes()
    save_accounts(writes, accounts.values(), zone)
    await writes.flush(session)
    return Expired(len(ended), sum(lot.points for lot in ended))
