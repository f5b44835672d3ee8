"""What a movement of points does to an account: pure decisions over plain data.

Rules: `domain.md`, Points. An `Account` is one user's row and lots as read under lock; the
functions here move it forward and keep what has to be written. Nothing here does I/O, so property
tests can run it as often as they like.
"""

from bisect import insort
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from uuid import UUID

from models.points import HoldReason, PointsAction, PointsRecordStatus
from services.errors import Refusal
from services.points.account import (
    OPENING_BALANCE,
    Account,
    Cause,
    Draw,
    Entry,
    Hold,
    Lot,
    drawing_order,
    is_ranked,
)
from services.points.room import require_room
from services.points.velocity import gains_after

_NEVER = datetime.max.replace(tzinfo=UTC)


class InsufficientPoints(Refusal):
    """The member cannot pay for it."""

    def __init__(self, required: int, available: int) -> None:
        super().__init__(f"{required} > {available}")
        self.required = required
        self.available = available


class LotsNotLoaded(Exception):
    """The caller read fewer lots than it draws from: a mistake in the caller."""


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
    record(account, PointsAction.EXPIRE, -lost, Cause("expiry", None, "system", details), now)
    return due


def grant(
    account: Account,
    lot_id: UUID,
    points: int,
    cause: Cause,
    expires_at: datetime | None,
    now: datetime,
    *,
    hold: HoldReason | None = None,
) -> Lot:
    """Give `points` (> 0), to spend at once, once due lots are settled. Raises BalanceFull.

    Points above a rule of velocity, or for which the caller names a `hold`, are given as a lot that
    is held: it counts nowhere until an operator releases it.
    """
    require_room(account.lifetime_earned, account.lifetime_adjusted, points)
    expire_due(account, now)
    hold = hold or hold_on(account, points, cause.source, now)
    if hold is not None:
        lot = open_lot(account, lot_id, points, cause, expires_at, now, now)
        return hold_lot(account, lot, hold, now)
    lot = open_lot(account, lot_id, points, cause, expires_at, now)
    account.lifetime_earned += points
    record(account, PointsAction.EARN, points, about_lot(cause, lot), now)
    pay_owed(account, lot, points, now)
    return lot


def hold_on(account: Account, points: int, source: str | None, now: datetime) -> HoldReason | None:
    """Why points that are gained are held; None counts them as gained.

    What a company's members had before it moved in is theirs, however much it is.
    """
    if source == OPENING_BALANCE:
        return None
    if account.gains_held_until is not None and account.gains_held_until > now:
        return HoldReason.SHARED_DEVICE
    if not account.velocity.gains_an_hour:
        return None
    full_at = gains_after(account.velocity, account.gains_full_at, points, now)
    if full_at is None:
        return HoldReason.GAINS
    account.gains_full_at = full_at
    return None


def hold_lot(account: Account, lot: Lot, reason: HoldReason, now: datetime) -> Lot:
    """Let a pending lot wait for an operator, from `now` on, and for no instant any more."""
    lot.hold_reason = reason
    lot.available_at = None
    account.holds.append(Hold(lot, now))
    return lot


def open_lot(
    account: Account,
    lot_id: UUID,
    points: int,
    cause: Cause,
    expires_at: datetime | None,
    now: datetime,
    held_until: datetime | None = None,
) -> Lot:
    """A new lot of the account, pending if it is held back; the caller accounts for its points."""
    lot = Lot(
        id=lot_id,
        user_id=account.user_id,
        points=points,
        original_points=points,
        source=cause.source or "",
        source_reference=cause.reference,
        status=PointsRecordStatus.PENDING if held_until else PointsRecordStatus.ACTIVE,
        expires_at=expires_at,
        created_at=now,
        available_at=held_until,
    )
    account.new_lots.append(lot)
    if held_until is None:
        add_lot(account, lot)
    return lot


def add_lot(account: Account, lot: Lot) -> None:
    """Put an active lot into its place among those that can be drawn."""
    insort(account.lots, lot, key=drawing_order)


def about_lot(cause: Cause, lot: Lot) -> Cause:
    """The cause, with the lot and its end: so a lot that was tampered with shows in the log."""
    ends = None if lot.expires_at is None else lot.expires_at.isoformat()
    return replace(cause, details={**cause.details, "lot": str(lot.id), "expires_at": ends})


def pay_owed(account: Account, lot: Lot, points: int, now: datetime) -> None:
    """Let `points` of a lot, just earned or given back, pay what is owed from reversals."""
    owed = min(account.owed_points, points)
    if owed == 0:
        return
    account.owed_points -= owed
    account.lifetime_earned -= owed
    cause = Cause("reversal", None, "system", {"owed": owed})
    entry = record(account, PointsAction.REVERSE, -owed, cause, now)
    draw(account, entry, [(lot, owed)])


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
    shares = first_lots(account.lots, points)
    account.lifetime_redeemed += points
    entry = record(account, PointsAction.REDEEM, -points, cause, now)
    return entry, draw(account, entry, shares)


def first_lots(lots: Iterable[Lot], points: int) -> list[tuple[Lot, int]]:
    """Which of the lots, in drawing order, pay `points`, and how much each."""
    shares: list[tuple[Lot, int]] = []
    left = points
    for lot in lots:
        if left == 0:
            break
        amount = min(lot.points, left)
        left -= amount
        shares.append((lot, amount))
    if left:
        raise LotsNotLoaded(f"{left} of {points} points are missing")
    return shares


def draw(account: Account, entry: Entry, shares: Sequence[tuple[Lot, int]]) -> list[Draw]:
    """Take from each lot its share for an entry that was just recorded; a negative one is put back.

    A lot that was emptied is used, one that gets points back is active.
    """
    draws: list[Draw] = []
    for position, (lot, amount) in enumerate(shares):
        was_active = lot.status is PointsRecordStatus.ACTIVE
        lot.points -= amount
        lot.status = PointsRecordStatus.ACTIVE if lot.points else PointsRecordStatus.USED
        account.changed_lots[lot.id] = lot
        if not lot.points:
            account.lots.remove(lot)
        elif not was_active:
            insort(account.lots, lot, key=drawing_order)
        drawn = Draw(account.user_id, entry.sequence, position, lot.id, amount, lot.expires_at)
        draws.append(drawn)
    account.draws.extend(draws)
    return draws


def record(
    account: Account, action: PointsAction, amount: int, cause: Cause, now: datetime
) -> Entry:
    """Change the balance and note why; the caller accounts for it in lots and lifetime sums."""
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
    if is_ranked(entry):
        rank(account, amount, now)
    return entry


def rank(account: Account, points: int, now: datetime) -> None:
    """Let `points` count on boards from now on; below 0: no longer count."""
    account.ranked_points += points
    account.ranked_at = max(account.ranked_at or now, now)
