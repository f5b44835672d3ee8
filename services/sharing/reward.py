"""Rewarding both sides of an invite, once (`domain.md`, Achievements and sharing).

The job behind it may run twice, and at once: whoever comes second finds the invite rewarded, for
both lock the same members first.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from operator import attrgetter
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from models.points import HoldReason
from models.sharing import Invite as InviteTable
from models.sharing import Share as ShareTable
from models.sharing import WithheldReason
from services.achievements.unlock import unlock_reached
from services.bulk import Writes
from services.calendar import Clock, day_start, local_day
from services.identifiers import new_id
from services.points.account import Account, Cause
from services.points.accounts import load_lots, lock_accounts, save_accounts
from services.points.expiry import expiry_of
from services.points.ledger import grant
from services.points.room import BalanceFull

INVITE_SOURCE = "invite"
INVITER_POINTS, INVITED_POINTS = 100, 50
MOST_REWARDED_A_DAY = 20
"""Invites that bring their inviter points on one day of the mall; the invited are paid all."""

_WHO = text(
    """
    SELECT inviter_id, invited_id FROM invites
    WHERE id = ANY(CAST(:ids AS uuid[])) AND rewarded_at IS NULL
    """
)
# Links in the order of their ids, as whoever counts visits locks them.
_READ = text(
    """
    SELECT invites.id, inviter_id, invited_id, share_id, conversions, points_earned
    FROM invites JOIN shares ON shares.id = share_id
    WHERE invites.id = ANY(CAST(:ids AS uuid[])) AND rewarded_at IS NULL
      AND first_task_at IS NOT NULL
    ORDER BY shares.id, first_task_at, invites.id
    FOR NO KEY UPDATE OF shares
    """
)
_COUNT_REWARDED = text(
    """
    SELECT inviter_id, count(*) FILTER (WHERE rewarded_at >= :day_start) AS today,
           count(*) FILTER (WHERE rewarded_at > :hour_start) AS of_late
    FROM invites
    WHERE inviter_id = ANY(CAST(:user_ids AS bigint[])) AND inviter_record_id IS NOT NULL
      AND rewarded_at >= least(:day_start, :hour_start)
    GROUP BY inviter_id
    """
)
_REWARDED = (
    *("id", "rewarded_at", "inviter_points", "inviter_record_id", "inviter_withheld"),
    *("invited_points", "invited_record_id", "invited_withheld"),
)
_COUNTED = ("id", "conversions", "points_earned")


@dataclass(frozen=True, slots=True)
class DueInvite:
    """An invite whose invited member has completed the first task."""

    id: UUID
    inviter_id: int
    invited_id: int
    share_id: UUID


@dataclass(frozen=True, slots=True)
class Side:
    """What one side of an invite got: a lot, or the reason why it got none."""

    points: int = 0
    record_id: UUID | None = None
    withheld: WithheldReason | None = None


@dataclass(frozen=True, slots=True)
class RewardedInvite:
    """An invite that is settled for ever."""

    invite: DueInvite
    inviter: Side
    invited: Side


@dataclass(slots=True)
class Counters:
    """What a link has brought."""

    id: UUID
    conversions: int
    points_earned: int


@dataclass(slots=True)
class InviteSettlement:
    """What a batch of invites is decided on: accounts under lock, the day's count by inviter."""

    now: datetime
    zone: ZoneInfo
    accounts: dict[int, Account]
    rewarded_today: dict[int, int]
    rewarded_of_late: dict[int, int]
    """In the last hour, by inviter."""
    counters: dict[UUID, Counters] = field(default_factory=dict[UUID, Counters])


async def reward_invites(
    session: AsyncSession, invite_ids: Iterable[UUID], *, clock: Clock, zone: ZoneInfo
) -> None:
    """Reward those of the invites that are due and not rewarded yet, all in one transaction."""
    asked = {"ids": sorted(set(invite_ids))}
    pairs = await session.execute(_WHO, asked)
    accounts = await lock_accounts(session, (user_id for pair in pairs for user_id in pair))
    now = clock()
    rows = (await session.execute(_READ, asked)).all()
    if not rows:
        return
    await load_lots(session, accounts, {}, now)
    settlement = await _read(session, rows, accounts, now, zone)
    rewarded = [decide(settlement, _due(row), new_id) for row in rows]
    writes = Writes()
    await unlock_reached(session, writes, accounts.values(), now, zone)
    save_accounts(writes, accounts.values(), zone)
    _save(writes, settlement, rewarded)
    await writes.flush(session)


async def _read(
    session: AsyncSession,
    rows: Sequence[Any],
    accounts: dict[int, Account],
    now: datetime,
    zone: ZoneInfo,
) -> InviteSettlement:
    inviters = sorted({row.inviter_id for row in rows})
    parameters = {
        "user_ids": inviters,
        "day_start": day_start(local_day(now, zone), zone),
        "hour_start": now - timedelta(hours=1),
    }
    counted = (await session.execute(_COUNT_REWARDED, parameters)).all()
    rewarded_today = {row.inviter_id: row.today for row in counted}
    of_late = {row.inviter_id: row.of_late for row in counted}
    counters = {
        row.share_id: Counters(row.share_id, row.conversions, row.points_earned) for row in rows
    }
    return InviteSettlement(now, zone, accounts, rewarded_today, of_late, counters)


def _due(row: Any) -> DueInvite:
    return DueInvite(row.id, row.inviter_id, row.invited_id, row.share_id)


def decide(
    settlement: InviteSettlement, invite: DueInvite, fresh_id: Callable[[], UUID]
) -> RewardedInvite:
    """Reward one invite; each side is judged by itself. Pure but for the ids it is handed.

    Nobody is paid who is suspended or was erased, or whose account has no room; an inviter not
    beyond the day's cap.
    """
    today = settlement.rewarded_today
    is_capped = today.get(invite.inviter_id, 0) >= MOST_REWARDED_A_DAY
    inviter = Side(withheld=WithheldReason.DAILY_CAP)
    if not is_capped:
        hold = _hold(settlement, invite.inviter_id)
        inviter = _pay(settlement, invite, invite.inviter_id, INVITER_POINTS, fresh_id(), hold)
    if inviter.record_id is not None:
        for counted in (today, settlement.rewarded_of_late):
            counted[invite.inviter_id] = counted.get(invite.inviter_id, 0) + 1
    invited = _pay(settlement, invite, invite.invited_id, INVITED_POINTS, fresh_id())
    counters = settlement.counters[invite.share_id]
    counters.conversions += 1
    counters.points_earned += inviter.points
    return RewardedInvite(invite, inviter, invited)


def _hold(settlement: InviteSettlement, inviter_id: int) -> HoldReason | None:
    """Why an inviter's points are held: so many in an hour that somebody should look."""
    most = settlement.accounts[inviter_id].velocity.invites_an_hour
    is_too_fast = most and settlement.rewarded_of_late.get(inviter_id, 0) >= most
    return HoldReason.INVITES if is_too_fast else None


def _pay(
    settlement: InviteSettlement,
    invite: DueInvite,
    user_id: int,
    points: int,
    lot_id: UUID,
    hold: HoldReason | None = None,
) -> Side:
    account, now = settlement.accounts[user_id], settlement.now
    if account.is_erased:  # suspended for ever too: this says why
        return Side(withheld=WithheldReason.ERASED)
    if account.suspended_until is not None and account.suspended_until > now:
        return Side(withheld=WithheldReason.SUSPENDED)
    cause = Cause(INVITE_SOURCE, str(invite.id), "system")
    expires_at = expiry_of(INVITE_SOURCE, now, settlement.zone)
    try:
        lot = grant(account, lot_id, points, cause, expires_at, now, hold=hold)
    except BalanceFull:
        return Side(withheld=WithheldReason.NO_ROOM)
    return Side(points, lot.id)


def _save(writes: Writes, settlement: InviteSettlement, rewarded: Sequence[RewardedInvite]) -> None:
    rows = [
        (
            *(each.invite.id, settlement.now),
            *(each.inviter.points, each.inviter.record_id, each.inviter.withheld),
            *(each.invited.points, each.invited.record_id, each.invited.withheld),
        )
        for each in rewarded
    ]
    writes.update(InviteTable, _REWARDED, rows)
    counters = map(attrgetter(*_COUNTED), settlement.counters.values())
    writes.update(ShareTable, _COUNTED, list(counters))
