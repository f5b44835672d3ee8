"""An account as a movement sees it: one user's row and lots, and what has to be written of them.

Plain data. `accounts.py` reads and saves it under lock, `ledger.py` decides what becomes of it.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from models.points import HoldReason, PointsAction, PointsRecordStatus
from services.achievements.milestones import Milestones
from services.errors import MemberSuspended, NotFound
from services.points.velocity import NO_RULES, VelocityRules

OPENING_BALANCE = "opening_balance"
"""The source of points that were imported (`services.imports.opening_balances`)."""
_NEVER = datetime.max.replace(tzinfo=UTC)


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
    withheld_points: int = 0
    extended_at: datetime | None = None
    hold_reason: HoldReason | None = None
    rejected_points: int = 0

    @property
    def is_held(self) -> bool:
        """Whether an operator has to decide before it counts."""
        return self.status is PointsRecordStatus.PENDING and self.hold_reason is not None


@dataclass(frozen=True, slots=True)
class Hold:
    """A lot that is held, and since when."""

    lot: Lot
    held_at: datetime


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
class Reversal:
    """`points` of a grant that were taken back.

    Of them `withheld_points` had never reached the balance, `lapsed_points` had expired, and
    `owed_points` were spent; what is left was taken from lots.
    """

    id: UUID
    user_id: int
    source: str
    reference: str
    points: int
    withheld_points: int
    lapsed_points: int
    owed_points: int
    created_at: datetime

    @property
    def taken_points(self) -> int:
        """What lots gave, held back or not."""
        return self.points - self.lapsed_points - self.owed_points

    @property
    def ranked_points(self) -> int:
        """What counted on boards and does so no longer, whoever spent it or let it expire."""
        return 0 if self.source == OPENING_BALANCE else self.points - self.withheld_points


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
    is about to be drawn. The lists at the end collect what has to be written. One that `is_erased`
    still has its books settled; nothing is done for it as for a user. `ranking_changes` counts
    what changes a rank without a row of the audit log.
    """

    user_id: int
    points: int = 0
    lifetime_earned: int = 0
    lifetime_redeemed: int = 0
    lifetime_expired: int = 0
    lifetime_adjusted: int = 0
    audit_sequence: int = 0
    suspended_until: datetime | None = None
    owed_points: int = 0
    is_erased: bool = False
    ranked_points: int = 0
    ranked_at: datetime | None = None
    ranking_changes: int = 0
    exchanges_made: int = 0
    tasks_completed: int = 0
    best_streak: int = 0
    best_weekly_rank: int | None = None
    gains_full_at: datetime | None = None
    gains_held_until: datetime | None = None
    ahead: Milestones = field(default_factory=Milestones)
    lots: list[Lot] = field(default_factory=list)
    new_lots: list[Lot] = field(default_factory=list)
    changed_lots: dict[UUID, Lot] = field(default_factory=dict)
    entries: list[Entry] = field(default_factory=list)
    draws: list[Draw] = field(default_factory=list)
    reversals: list[Reversal] = field(default_factory=list)
    holds: list[Hold] = field(default_factory=list)
    velocity: VelocityRules = NO_RULES
    owes_otherwise: bool = False
    counts_otherwise: bool = False

    @property
    def is_changed(self) -> bool:
        """Whether anything has to be written: not every change is one of the balance."""
        return bool(
            self.entries
            or self.new_lots
            or self.changed_lots
            or self.reversals
            or self.owes_otherwise
            or self.counts_otherwise
        )

    @property
    def points_earned(self) -> int:
        """Points earned in the mall itself, as achievements count them: no opening balance."""
        return max(0, self.ranked_points)

    @property
    def is_at_milestone(self) -> bool:
        """Whether a target that was ahead when the account was locked is reached by now."""
        ahead = self.ahead
        return (
            self.exchanges_made >= ahead.exchanges_made
            or self.tasks_completed >= ahead.tasks_completed
            or self.best_streak >= ahead.best_streak
            or self.points_earned >= ahead.points_earned
        )

    @property
    def achievements_version(self) -> int:
        """The definitions up to which the member has all that was reached; 0 when not known.

        Not known after a movement that got to a target and did not look: the next one does.
        """
        return 0 if self.is_at_milestone else self.ahead.checked


def is_ranked(entry: Entry) -> bool:
    """Whether a change of a balance counts on boards: what was earned in the mall.

    What a company's members had before it moved in was earned elsewhere. What is taken back leaves
    with its reversal, all at once: how much of it the balance still held, and what pays a debt
    later, is nobody's rank.
    """
    return entry.action is PointsAction.EARN and entry.source != OPENING_BALANCE


def ranked_changes(account: Account) -> Iterator[tuple[datetime, int]]:
    """When and by how many points that count on boards what has to be written changes."""
    for entry in account.entries:
        if is_ranked(entry):
            yield entry.created_at, entry.amount
    for reversal in account.reversals:
        if reversal.ranked_points:
            yield reversal.created_at, -reversal.ranked_points


def is_over(lot: Lot, now: datetime) -> bool:
    """Whether the lot has ended, settled or not."""
    return lot.expires_at is not None and lot.expires_at <= now


def drawing_order(lot: Lot) -> tuple[datetime, datetime, UUID]:
    """Sorts lots as they are drawn: soonest expiry, then the older; without expiry last."""
    return (lot.expires_at or _NEVER, lot.created_at, lot.id)


def require_present(account: Account | None, user_id: int) -> Account:
    """The account of a user to others; raises NotFound for nobody and for who was erased."""
    if account is None or account.is_erased:
        raise NotFound("User", str(user_id))
    return account


def is_suspended(account: Account, now: datetime) -> bool:
    """Whether the member may not earn or spend."""
    return account.suspended_until is not None and account.suspended_until > now


def require_not_suspended(account: Account, now: datetime) -> None:
    """Raise MemberSuspended while the suspension lasts."""
    if account.suspended_until is not None and is_suspended(account, now):
        raise MemberSuspended(account.suspended_until)
