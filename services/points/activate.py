"""Points that were held back become spendable (`domain.md`, Points, Pending points)."""

from dataclasses import dataclass
from datetime import datetime
from zoneinfo import ZoneInfo

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from models.base import MAX_POINTS
from models.points import PointsAction, PointsRecordStatus
from services.achievements.unlock import unlock_reached
from services.bulk import Writes
from services.calendar import Clock
from services.points.account import Account, Cause, Lot, is_over
from services.points.accounts import load_lots, load_lots_by_id, lock_accounts, save_accounts
from services.points.ledger import (
    about_lot,
    add_lot,
    expire_due,
    hold_lot,
    hold_on,
    pay_owed,
    record,
)
from services.points.room import BalanceFull, require_room

LOTS_A_BATCH = 1_000

# Lots that are held have no instant. Those for which their account has no room
# (`services.points.room`) are passed over: they would be first in every batch, and in the way of
# everybody else's.
_DUE = text(
    """
    SELECT lot.id, lot.user_id FROM points_records lot JOIN users ON users.id = lot.user_id
    WHERE lot.status = 'pending' AND lot.available_at <= :now
      AND greatest(lifetime_earned, lifetime_earned + lifetime_adjusted) + lot.points <= :most
    ORDER BY lot.available_at, lot.id LIMIT :limit
    """
)


@dataclass(frozen=True, slots=True)
class Activated:
    """How many lots became active, and how many points with them."""

    records: int = 0
    points: int = 0

    def __add__(self, other: "Activated") -> "Activated":
        return Activated(self.records + other.records, self.points + other.points)


def activate(account: Account, lot: Lot, now: datetime, by: str = "system") -> None:
    """Let a pending lot of the account count from now on; what the member owes is paid first.

    One that has ended meanwhile is earned and expires at once: points that nobody could spend pay
    no debt. Raises BalanceFull, and then nothing has changed.
    """
    require_room(account.lifetime_earned, account.lifetime_adjusted, lot.points)
    expire_due(account, now)
    lot.status = PointsRecordStatus.ACTIVE
    lot.available_at = lot.available_at or now  # of one that was held: when it was released
    add_lot(account, lot)
    account.changed_lots[lot.id] = lot
    account.lifetime_earned += lot.points
    cause = about_lot(Cause(lot.source, lot.source_reference, by), lot)
    record(account, PointsAction.EARN, lot.points, cause, now)
    if is_over(lot, now):
        expire_due(account, now)
    else:
        pay_owed(account, lot, lot.points, now)


async def activate_batch(
    session: AsyncSession, clock: Clock, *, zone: ZoneInfo, lots: int = LOTS_A_BATCH
) -> Activated | None:
    """Activate up to `lots` pending lots whose time has come; None says that there was none.

    One batch, one transaction: bounded in memory and in how long it holds members up. A lot that
    is taken back or activated meanwhile is left as it is; one that its account has no room for
    stays pending.
    """
    parameters = {"now": clock(), "limit": lots, "most": MAX_POINTS}
    due = (await session.execute(_DUE, parameters)).all()
    if not due:
        return None
    accounts = await lock_accounts(session, (row.user_id for row in due))
    now = clock()
    await load_lots(session, accounts, {}, now)
    found = await load_lots_by_id(session, accounts, (row.id for row in due))
    activated = [
        points
        for lot in (found[row.id] for row in due)
        if lot.status is PointsRecordStatus.PENDING
        and not lot.is_held
        and (points := _activate_if_it_fits(accounts[lot.user_id], lot, now))
    ]
    writes = Writes()
    await unlock_reached(session, writes, accounts.values(), now, zone)
    save_accounts(writes, accounts.values(), zone)
    await writes.flush(session)
    return Activated(len(activated), sum(activated))


def _activate_if_it_fits(account: Account, lot: Lot, now: datetime) -> int:
    """How many points became active: all of the lot, before what is owed is paid, or none."""
    points = lot.points
    try:  # first of all: what is looked at for a hold counts as gained
        require_room(account.lifetime_earned, account.lifetime_adjusted, points)
    except BalanceFull:
        return 0
    reason = hold_on(account, points, lot.source, now)
    if reason is not None:
        account.changed_lots[lot.id] = hold_lot(account, lot, reason, now)
        return 0
    activate(account, lot, now)
    return points
