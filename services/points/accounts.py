"""Reading accounts under lock and writing them back in bulk.

The shape of every movement (`domain.md`, How a movement settles): lock the users in id order;
then, in a later statement, read their lots; decide; write one statement per table. Lock and read
must not be one statement: it would read the lots from a snapshot older than the lock.
"""

from bisect import insort
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from datetime import datetime
from operator import attrgetter
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from models.points import (
    LotDraw,
    PointsAction,
    PointsAuditLog,
    PointsRecord,
    PointsRecordStatus,
    PointsReversal,
)
from models.users import User
from services.achievements.milestones import NO_TARGET, Milestones
from services.bulk import Writes
from services.leaderboard.earnings import save_earnings
from services.outbox import enqueue
from services.points.account import Account, Entry, Hold, Lot, Reversal, drawing_order
from services.points.velocity import NO_RULES, RULES_KEY

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
    "ranking_changes",
    "exchanges_made",
    "tasks_completed",
    "best_streak",
    "achievements_version",
    "gains_full_at",
)
_MILESTONES = [field.name for field in fields(Account)].index("ahead")
_LOT = tuple(field.name for field in fields(Lot))
_CHANGED = ("id", "points", "status")
_RESHAPED = (
    *_CHANGED,
    *("expires_at", "available_at", "withheld_points", "extended_at"),
    *("hold_reason", "rejected_points"),
)
_ENTRY = tuple(field.name for field in fields(Entry))
_DRAW = ("user_id", "sequence", "position", "points_record_id", "points")
_REVERSAL = tuple(field.name for field in fields(Reversal))


def _nearest(measure: str, counted: str) -> str:
    return (
        f"coalesce(min(target) FILTER (WHERE is_active AND measure = '{measure}'"
        f" AND target > {counted}), {NO_TARGET})"
    )


_user_row = attrgetter("user_id", *_USER[1:])
_lot_row = attrgetter(*_LOT)
_changed_row = attrgetter(*_CHANGED)
_reshaped_row = attrgetter(*_RESHAPED)
_entry_row = attrgetter(*_ENTRY)
_draw_row = attrgetter(*_DRAW)
_reversal_row = attrgetter(*_REVERSAL)

# FOR NO KEY UPDATE: as exclusive among movements as FOR UPDATE, without holding up rows elsewhere
# that merely refer to the user.
#
# The milestones come from a snapshot that may be older than the lock. That is safe: they only say
# whether to look (in a later statement). A count that grew meanwhile says so once too often, one
# that shrank had been looked at when it was as high, and definitions widened meanwhile have a
# higher version, which the next movement sees. Who counts nothing has reached nothing at any.
_LOCK_USERS = text(
    f"""
    SELECT users.id AS user_id, points, lifetime_earned, lifetime_redeemed, lifetime_expired,
           lifetime_adjusted, audit_sequence, suspended_until, owed_points,
           erased_at IS NOT NULL AS is_erased, ranked_points, ranked_at, ranking_changes,
           exchanges_made, tasks_completed, best_streak, best_weekly_rank,
           gains_full_at, gains_held_until,
           CASE WHEN exchanges_made + tasks_completed + best_streak = 0
                     AND ranked_points <= 0 AND best_weekly_rank IS NULL
                THEN ahead.version ELSE achievements_version END AS checked,
           ahead.*
    FROM users
    CROSS JOIN LATERAL (
        SELECT coalesce(max(version), 0) AS version,
               {_nearest("exchanges_made", "exchanges_made")},
               {_nearest("best_streak", "best_streak")},
               {_nearest("tasks_completed", "tasks_completed")},
               {_nearest("points_earned", "ranked_points")}
        FROM achievements
    ) ahead -- in the order of Milestones
    WHERE users.id = ANY(CAST(:user_ids AS bigint[])) ORDER BY users.id
    FOR NO KEY UPDATE OF users
    """
)

# Members with years of check-ins have hundreds of lots: only those that are due, and the first
# ones that together pay what is needed, leave the database.
_READ_LOTS = text(
    """
    SELECT lot.id, lot.user_id, lot.points, original_points, source, source_reference, status,
           expires_at, created_at, available_at, withheld_points, extended_at, hold_reason,
           rejected_points
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
           created_at, available_at, withheld_points, extended_at, hold_reason, rejected_points
    FROM points_records
    WHERE id = ANY(CAST(:lot_ids AS uuid[])) AND user_id = ANY(CAST(:user_ids AS bigint[]))
    """
)


HOLD_JOB = "alert_of_holds"


async def lock_accounts(session: AsyncSession, user_ids: Iterable[int]) -> dict[int, Account]:
    """Lock users in id order and return their accounts, still without lots.

    Ids that name no user are missing from the answer. Erased users are in it: their lots end too.
    """
    rows = await session.execute(_LOCK_USERS, {"user_ids": sorted(set(user_ids))})
    accounts = {row[0]: _account(row) for row in rows}
    for account in accounts.values():
        account.velocity = session.info.get(RULES_KEY, NO_RULES)
    return accounts


def _account(row: Sequence[Any]) -> Account:
    """What follows the columns of the account are its milestones."""
    values: list[Any] = [*row[:_MILESTONES], Milestones(*row[_MILESTONES:])]
    return Account(*values)


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
    reversals = [reversal for account in touched for reversal in account.reversals]
    writes.update(User, _USER, [_user_row(account) for account in touched])
    writes.insert(PointsRecord, _LOT, [_lot_row(lot) for lot in new_lots])
    # Few lots were ever extended, withheld or held: the others change in three columns only.
    reshaped, drawn = list[Lot](), list[Lot]()
    for lot in changed:
        is_plain = lot.extended_at is None and not lot.withheld_points and lot.hold_reason is None
        (drawn if is_plain else reshaped).append(lot)
    writes.update(PointsRecord, _CHANGED, [_changed_row(lot) for lot in drawn])
    writes.update(PointsRecord, _RESHAPED, [_reshaped_row(lot) for lot in reshaped])
    writes.insert(PointsAuditLog, _ENTRY, [_entry_row(entry) for entry in entries])
    writes.insert(LotDraw, _DRAW, [_draw_row(draw) for draw in draws])
    writes.insert(PointsReversal, _REVERSAL, [_reversal_row(each) for each in reversals])
    ask_for_alerts(writes, [hold for account in touched for hold in account.holds])
    writes.announcement.moved.update(account.user_id for account in touched)
    for entry in entries:
        if entry.action is PointsAction.EARN:
            writes.announcement.issued[entry.source or ""] += entry.amount
    save_earnings(writes, touched, zone)


def ask_for_alerts(writes: Writes, holds: Sequence[Hold]) -> None:
    """Ask for operators to hear of lots that are held from now on.

    By a job: whoever raises an alert waits for everybody else who does.
    """
    told: dict[datetime, list[dict[str, Any]]] = {}
    for hold in holds:
        lot = hold.lot
        facts = {"user_id": lot.user_id, "points": lot.points, "reason": lot.hold_reason}
        told.setdefault(hold.held_at, []).append(facts)
    for held_at, facts in told.items():
        enqueue(writes, HOLD_JOB, facts, held_at)
