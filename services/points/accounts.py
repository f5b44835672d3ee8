"""Reading accounts under lock and writing them back in bulk.

The shape of every movement (`domain.md`, How a movement settles): lock the users in id order;
then, in a later statement, read their lots; decide; write one statement per table. Lock and read
must not be one statement: it would read the lots from a snapshot older than the lock.
"""

from bisect import insort
from collections.abc import Iterable, Mapping
from dataclasses import fields
from datetime import datetime
from operator import attrgetter
from uuid import UUID
from zoneinfo import ZoneInfo

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from models.points import LotDraw, PointsAuditLog, PointsRecord, PointsRecordStatus
from models.users import User
from services.bulk import Writes
from services.leaderboard.earnings import save_earnings
from services.points.account import Account, Entry, Lot, drawing_order

_USER = (
    "id",
    "points",
    "lifetime_earned",
    "lifetime_redeemed",
    "lifetime_expired",
    "lifetime_adjusted",
    "audit_sequence",
    "owed_points",
    "ranked_points",
    "ranked_at",
)
_LOT = tuple(field.name for field in fields(Lot))
_CHANGED = ("id", "points", "status")
_RESHAPED = (*_CHANGED, "expires_at", "withheld_points", "extended_at")
_ENTRY = tuple(field.name for field in fields(Entry))
_DRAW = ("user_id", "sequence", "position", "points_record_id", "points")

_user_row = attrgetter("user_id", *_USER[1:])
_lot_row = attrgetter(*_LOT)
_changed_row = attrgetter(*_CHANGED)
_reshaped_row = attrgetter(*_RESHAPED)
_entry_row = attrgetter(*_ENTRY)
_draw_row = attrgetter(*_DRAW)

# FOR NO KEY UPDATE: as exclusive among movements as FOR UPDATE, without holding up rows elsewhere
# that merely refer to the user.
_LOCK_USERS = text(
    """
    SELECT id AS user_id, points, lifetime_earned, lifetime_redeemed, lifetime_expired,
           lifetime_adjusted, audit_sequence, suspended_until, owed_points,
           erased_at IS NOT NULL AS is_erased, ranked_points, ranked_at
    FROM users WHERE id = ANY(CAST(:user_ids AS bigint[])) ORDER BY id FOR NO KEY UPDATE
    """
)

# Members with years of check-ins have hundreds of lots: only those that are due, and the first
# ones that together pay what is needed, leave the database.
_READ_LOTS = text(
    """
    SELECT lot.id, lot.user_id, lot.points, original_points, source, source_reference, status,
           expires_at, created_at, available_at, withheld_points, extended_at
    FROM unnest(CAST(:user_ids AS bigint[]), CAST(:needed AS bigint[])) AS needs(user_id, needed)
    CROSS JOIN LATERAL (
        SELECT *, coalesce(sum(points) FILTER (WHERE expires_at IS NULL OR expires_at > :now)
                               OVER (ORDER BY expires_at, created_at, id
                                     ROWS UNBOUNDED PRECEDING), 0) AS spendable_so_far
        FROM points_records
        WHERE user_id = needs.user_id AND status = 'active'
        ORDER BY expires_at, created_at, id
    ) lot
    WHERE expires_at <= :now OR spendable_so_far - lot.points < needed
    """
)


_READ_LOTS_BY_ID = text(
    """
    SELECT id, user_id, points, original_points, source, source_reference, status, expires_at,
           created_at, available_at, withheld_points, extended_at
    FROM points_records
    WHERE id = ANY(CAST(:lot_ids AS uuid[])) AND user_id = ANY(CAST(:user_ids AS bigint[]))
    """
)


async def lock_accounts(session: AsyncSession, user_ids: Iterable[int]) -> dict[int, Account]:
    """Lock users in id order and return their accounts, still without lots.

    Ids that name no user are missing from the answer. Erased users are in it: their lots end too.
    """
    rows = await session.execute(_LOCK_USERS, {"user_ids": sorted(set(user_ids))})
    return {row[0]: Account(*row) for row in rows}


async def load_lots(
    session: AsyncSession, accounts: Mapping[int, Account], needed: Mapping[int, int], now: datetime
) -> None:
    """Give each account its due lots and enough others to pay `needed` points (default 0)."""
    if not accounts:
        return
    user_ids = list(accounts)
    amounts = [needed.get(user_id, 0) for user_id in user_ids]
    rows = await session.execute(_READ_LOTS, {"user_ids": user_ids, "needed": amounts, "now": now})
    for account in accounts.values():
        account.lots = []
    for row in rows:
        lot = Lot(*row)
        lot.status = PointsRecordStatus(lot.status)
        accounts[lot.user_id].lots.append(lot)


async def load_lots_by_id(
    session: AsyncSession, accounts: Mapping[int, Account], lot_ids: Iterable[UUID]
) -> dict[UUID, Lot]:
    """Lots of locked users whatever their status, by id; active ones join their account's lots.

    Ids of lots of other users are missing from the answer. After `load_lots`, which would forget.
    """
    held = {lot.id: lot for account in accounts.values() for lot in account.lots}
    parameters = {"lot_ids": sorted(set(lot_ids)), "user_ids": list(accounts)}
    found: dict[UUID, Lot] = {}
    for row in await session.execute(_READ_LOTS_BY_ID, parameters):
        lot = Lot(*row)
        lot.status = PointsRecordStatus(lot.status)
        found[lot.id] = held.get(lot.id, lot)
        if lot.status is PointsRecordStatus.ACTIVE and lot.id not in held:
            insort(accounts[lot.user_id].lots, lot, key=drawing_order)
    return found


def save_accounts(writes: Writes, accounts: Iterable[Account], zone: ZoneInfo) -> None:
    """Add what the decisions changed to what is written; nothing for an untouched account.

    `zone` is the mall's: what counts on boards is kept by its days.
    """
    touched = [account for account in accounts if account.is_changed]
    new_lots = [lot for account in touched for lot in account.new_lots]
    created = {lot.id for lot in new_lots}
    changed = [lot for a in touched for lot in a.changed_lots.values() if lot.id not in created]
    entries = [entry for account in touched for entry in account.entries]
    draws = [draw for account in touched for draw in account.draws]
    writes.update(User, _USER, [_user_row(account) for account in touched])
    writes.insert(PointsRecord, _LOT, [_lot_row(lot) for lot in new_lots])
    # Few lots were ever extended or withheld: the others change in three columns only.
    reshaped = [lot for lot in changed if lot.extended_at is not None or lot.withheld_points]
    drawn = [lot for lot in changed if lot.extended_at is None and not lot.withheld_points]
    writes.update(PointsRecord, _CHANGED, [_changed_row(lot) for lot in drawn])
    writes.update(PointsRecord, _RESHAPED, [_reshaped_row(lot) for lot in reshaped])
    writes.insert(PointsAuditLog, _ENTRY, [_entry_row(entry) for entry in entries])
    writes.insert(LotDraw, _DRAW, [_draw_row(draw) for draw in draws])
    writes.announcement.moved.update(account.user_id for account in touched)
    save_earnings(writes, touched, zone)
