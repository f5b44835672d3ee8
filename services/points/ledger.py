"""What a movement of points does to an account: pure decisions over plain data.

Rules: `domain.md`, Points. An `Account` is one user's row and lots as read under lock; the
functions here move it forward and keep what has to be written. Nothing here does I/O, so property
tests can run it as often as they like.
"""

from bisect import insort
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from models.points import PointsAction, PointsRecordStatus
from services.errors import MemberSuspended, Refusal

_NEVER = datetime.max.replace(tzinfo=UTC)


class InsufficientPoints(Refusal):
    """The member cannot pay for it."""

    def __init__(self, required: int, available: int) -> None:
        super().__init__(f"{required} > {available}")
        self.required = required
        self.available = available


class LotsNotLoaded(Exception):
    """The caller read fewer lots than it draws from: a mistake in the caller."""


@dataclass(slots=True)
class Lot:
    """One grant of points with its own expiry. `points` are left of `original_points`."""

    id: UUID
    user_id: int
    points: int
    original_points: int
    source: str
    source_reference: str | None
    status: PointsRecordStatus
    expires_at: datetime | None
    created_at: datetime
    available_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Entry:
    """One row of the audit log: a change of a balance."""

    user_id: int
    sequence: int
    action: PointsAction
    amount: int
    points_before: int
    points_after: int
    source: str | None
    reference: str | None
    details: Mapping[str, Any]
    created_at: datetime
    created_by: str


@dataclass(frozen=True, slots=True)
class Draw:
    """What one entry took from one lot."""

    user_id: int
    sequence: int
    position: int
    points_record_id: UUID
    points: int
    expires_at: datetime | None


@dataclass(frozen=True, slots=True)
class Cause:
    """Why points move: what the audit log keeps beside the amount."""

    source: str | None
    reference: str | None
    created_by: str
    details: Mapping[str, Any] = field(default_factory=dict)


@dataclass(slots=True)
class Account:
    """One user's ledger under lock.

    `lots` are active ones in drawing order: at least all that are due and enough to pay for what
    is about to be drawn. The lists at the end collect what has to be written.
    """

    user_id: int
    points: int = 0
    lifetime_earned: int = 0
    lifetime_redeemed: int = 0
    lifetime_expired: int = 0
    lifetime_adjusted: int = 0
    audit_sequence: int = 0
    suspended_until: datetime | None = None
    lots: list[Lot] = field(default_factory=list)
    new_lots: list[Lot] = field(default_factory=list)
    changed_lots: dict[UUID, Lot] = field(default_factory=dict)
    entries: list[Entry] = field(default_factory=list)
    draws: list[Draw] = field(default_factory=list)


def drawing_order(lot: Lot) -> tuple[datetime, datetime, UUID]:
    """Sorts lots as they are drawn: soonest expiry, then the older; without expiry last."""
    return (lot.expires_at or _NEVER, lot.created_at, lot.id)


def require_not_suspended(account: Account, now: datetime) -> None:
    """Raise MemberSuspended while the suspension lasts."""
    if account.suspended_until is not None and account.suspended_until > now:
        raise MemberSuspended(account.suspended_until)


def expire_due(account: Account, now: datetime) -> list[Lot]:
    """Settle every lot that is past its expiry; returns the lots that ended.

    Due before any other movement of the user. A lot keeps the points it lost.
    """
    due = [lot for lot in account.lots if lot.expires_at is not None and lot.expires_at <= now]
    if not due:
        return due
    for lot in due:
        lot.status = PointsRecordStatus.EXPIRED
        account.changed_lots[lot.id] = lot
    account.lots = [lot for lot in account.lots if lot.status is PointsRecordStatus.ACTIVE]
    lost = sum(lot.points for lot in due)
    account.lifetime_expired += lost
    details = {"lots": {str(lot.id): lot.points for lot in due}}
    _record(account, PointsAction.EXPIRE, -lost, Cause("expiry", None, "system", details), now)
    return due


def grant(
    account: Account,
    lot_id: UUID,
    points: int,
    cause: Cause,
    expires_at: datetime | None,
    now: datetime,
) -> Lot:
    """Give `points` (> 0) as a new lot that can be spent at once. Due lots are settled first."""
    expire_due(account, now)
    lot = Lot(
        id=lot_id,
        user_id=account.user_id,
        points=points,
        original_points=points,
        source=cause.source or "",
        source_reference=cause.reference,
        status=PointsRecordStatus.ACTIVE,
        expires_at=expires_at,
        created_at=now,
    )
    insort(account.lots, lot, key=drawing_order)
    account.new_lots.append(lot)
    account.lifetime_earned += points
    # The log says what was granted until when, so that a lot that was tampered with shows.
    ends = None if expires_at is None else expires_at.isoformat()
    details = {**cause.details, "lot": str(lot_id), "expires_at": ends}
    _record(account, PointsAction.EARN, points, replace(cause, details=details), now)
    return lot


def spendable(account: Account, now: datetime) -> int:
    """The balance without the lots that are due but not settled yet."""
    return account.points - sum(
        lot.points for lot in account.lots if lot.expires_at is not None and lot.expires_at <= now
    )


def redeem(account: Account, points: int, cause: Cause, now: datetime) -> tuple[Entry, list[Draw]]:
    """Spend `points` (> 0) from the lots that expire first.

    Due lots are settled first. Raises InsufficientPoints, and then nothing has changed.
    """
    available = spendable(account, now)
    if points > available:
        raise InsufficientPoints(points, available)
    expire_due(account, now)
    taken = _take(account, points)
    account.lifetime_redeemed += points
    entry = _record(account, PointsAction.REDEEM, -points, cause, now)
    draws = [
        Draw(account.user_id, entry.sequence, position, lot.id, amount, lot.expires_at)
        for position, (lot, amount) in enumerate(taken)
    ]
    account.draws.extend(draws)
    return entry, draws


def _take(account: Account, points: int) -> list[tuple[Lot, int]]:
    loaded = sum(lot.points for lot in account.lots)
    if points > loaded:
        raise LotsNotLoaded(f"user {account.user_id}: {points} > {loaded}")
    taken: list[tuple[Lot, int]] = []
    left = points
    while left:
        lot = account.lots[0]
        amount = min(lot.points, left)
        lot.points -= amount
        left -= amount
        taken.append((lot, amount))
        account.changed_lots[lot.id] = lot
        if lot.points == 0:
            lot.status = PointsRecordStatus.USED
            account.lots.pop(0)
    return taken


def _record(
    account: Account, action: PointsAction, amount: int, cause: Cause, now: datetime
) -> Entry:
    account.audit_sequence += 1
    entry = Entry(
        user_id=account.user_id,
        sequence=account.audit_sequence,
        action=action,
        amount=amount,
        points_before=account.points,
        points_after=account.points + amount,
        source=cause.source,
        reference=cause.reference,
        details=cause.details,
        created_at=now,
        created_by=cause.created_by,
    )
    account.points += amount
    account.entries.append(entry)
    return entry
