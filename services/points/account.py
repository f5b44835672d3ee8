"""An account as a movement sees it: one user's row and lots, and what has to be written of them.

Plain data. `accounts.py` reads and saves it under lock, `ledger.py` decides what becomes of it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from models.points import PointsAction, PointsRecordStatus
from services.errors import MemberSuspended, NotFound

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
    is about to be drawn. The lists at the end collect what has to be written. One that `is_erased`
    still has its books settled; nothing is done for it as for a user.
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
    lots: list[Lot] = field(default_factory=list)
    new_lots: list[Lot] = field(default_factory=list)
    changed_lots: dict[UUID, Lot] = field(default_factory=dict)
    entries: list[Entry] = field(default_factory=list)
    draws: list[Draw] = field(default_factory=list)
    owes_otherwise: bool = False

    @property
    def is_changed(self) -> bool:
        """Whether anything has to be written: not every change is one of the balance."""
        return bool(self.entries or self.new_lots or self.changed_lots or self.owes_otherwise)


def is_ranked(entry: Entry) -> bool:
    """Whether a change of a balance counts on boards: what was earned, or taken back of that.

    What a company's members had before it moved in was earned elsewhere.
    """
    return (
        entry.action in (PointsAction.EARN, PointsAction.REVERSE)
        and entry.source != OPENING_BALANCE
    )


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


def require_not_suspended(account: Account, now: datetime) -> None:
    """Raise MemberSuspended while the suspension lasts."""
    if account.suspended_until is not None and account.suspended_until > now:
        raise MemberSuspended(account.suspended_until)
