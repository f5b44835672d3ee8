"""What comes back: points of a cancelled exchange, and grants that are taken back.

Rules: `domain.md`, Points and Exchange; pure decisions over accounts under lock.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from models.points import PointsAction, PointsRecordStatus
from services.points.account import Account, Cause, Lot, Reversal, is_over
from services.points.extension_terms import fee_of
from services.points.ledger import (
    draw,
    expire_due,
    first_lots,
    pay_owed,
    rank,
    record,
    spendable,
)


@dataclass(slots=True)
class Grant:
    """A grant that its reference names, and how much of it was taken back so far.

    `lapsed_points` of them had expired by then, so nobody holds or owes them. `lapsed_payments` are
    what its lot paid for exchanges that were cancelled when it had ended: they expired too.
    `own_points` were taken from its own lot, held back or not.
    """

    source: str
    reference: str
    lot: Lot
    points: int
    reversed_points: int = 0
    lapsed_points: int = 0
    lapsed_payments: int = 0
    own_points: int = 0


@dataclass(frozen=True, slots=True)
class Payment:
    """What each lot paid for an exchange, and when.

    `grants`, by lot, are at least those that the member may owe points for.
    """

    shares: Sequence[tuple[Lot, int]]
    paid_at: datetime
    grants: Mapping[UUID, Grant] = field(default_factory=dict[UUID, Grant])


@dataclass(frozen=True, slots=True)
class Refund:
    """What a cancelled exchange gave back; `lapsed` are points of lots that ended meanwhile."""

    points: int
    lapsed: int


def refund(account: Account, payment: Payment, cause: Cause, now: datetime) -> Refund:
    """Put back into each lot what it paid; a lot that has ended stays ended and gets nothing.

    What it paid is not owed either, then, if its grant was taken back before. A lot that was
    extended after it paid takes the fee for what is put back. What the member owes is paid from the
    rest: else a purchase that was refunded while its points were spent would, once the exchange is
    cancelled, have given the points away.
    """
    expire_due(account, now)
    returned = [(lot, points) for lot, points in payment.shares if not is_over(lot, now)]
    points = sum(amount for _, amount in returned)
    lapsed = sum(amount for _, amount in payment.shares) - points
    for lot, amount in payment.shares:
        if is_over(lot, now) and lot.id in payment.grants:
            _let_lapse(account, payment.grants[lot.id], amount)
    if points:
        account.lifetime_redeemed -= points
        entry = record(account, PointsAction.REFUND, points, cause, now)
        draw(account, entry, [(lot, -amount) for lot, amount in returned])
        for lot, amount in returned:
            fee = _pay_extension(account, lot, amount, payment.paid_at, cause, now)
            pay_owed(account, lot, amount - fee, now)
    return Refund(points, lapsed)


def _let_lapse(account: Account, grant: Grant, points: int) -> None:
    """Let `points` of a grant that has ended be expired and no longer owed, as far as they are.

    Had the exchange been cancelled first, the reversal would have found them gone, and asked nobody
    for them: the order in which both are asked for must not matter.
    """
    elsewhere = grant.reversed_points - grant.lapsed_points - grant.own_points
    forgiven = min(points, elsewhere, account.owed_points)
    if forgiven:
        grant.lapsed_points += forgiven
        account.owed_points -= forgiven
        account.owes_otherwise = True


def _pay_extension(
    account: Account, lot: Lot, points: int, paid_at: datetime, refunded: Cause, now: datetime
) -> int:
    """Take the fee for points that came back into a lot that was extended without them."""
    if lot.extended_at is None or lot.extended_at <= paid_at:
        return 0
    fee = fee_of(points)
    account.lifetime_redeemed += fee
    details = {"exchange": refunded.reference}
    cause = Cause("extension", str(lot.id), refunded.created_by, details)
    draw(account, record(account, PointsAction.EXTEND, -fee, cause, now), [(lot, fee)])
    return fee


def reverse(
    account: Account, grant: Grant, reversal_id: UUID, points: int, cause: Cause, now: datetime
) -> Reversal:
    """Take back `points` (at most what is left of the grant) of a grant.

    From its own lot first, then from the user's other lots, which must be loaded for as much.
    Points of it that have expired are gone already; what is spent is owed: taken from the next
    grants. All of it leaves the boards now.
    """
    expire_due(account, now)
    withheld = _withhold(account, grant.lot, points)
    lapsed = min(_lapsed_before(grant), points - withheld)
    grant.reversed_points += points
    grant.lapsed_points += lapsed
    wanted = points - withheld - lapsed
    taken = min(wanted, spendable(account, now))
    grant.own_points += withheld + _take_back(account, grant.lot, taken, cause, now)
    if taken < wanted:
        account.owed_points += wanted - taken
        account.owes_otherwise = True
    done = Reversal(
        id=reversal_id,
        user_id=account.user_id,
        source=grant.source,
        reference=grant.reference,
        points=points,
        withheld_points=withheld,
        lapsed_points=lapsed,
        owed_points=wanted - taken,
        created_at=now,
    )
    _note(account, done, now)
    return done


def _note(account: Account, done: Reversal, now: datetime) -> None:
    account.reversals.append(done)
    account.ranking_changes += 1
    if done.ranked_points:
        rank(account, -done.ranked_points, now)


def _withhold(account: Account, lot: Lot, points: int) -> int:
    """Take from a lot that never reached the balance: no change of it, so no row of the log."""
    if lot.rejected_points:  # by an operator: whoever takes it back finds it taken
        withheld = min(lot.rejected_points, points)
        lot.rejected_points -= withheld
        lot.withheld_points += withheld
        account.changed_lots[lot.id] = lot
        return withheld
    if lot.status is not PointsRecordStatus.PENDING:
        return 0
    withheld = min(lot.points, points)
    lot.points -= withheld
    lot.withheld_points += withheld
    if not lot.points:
        lot.status = PointsRecordStatus.REVERSED
    account.changed_lots[lot.id] = lot
    return withheld


def _lapsed_before(grant: Grant) -> int:
    left = grant.lot.points if grant.lot.status is PointsRecordStatus.EXPIRED else 0
    return max(0, left + grant.lapsed_payments - grant.lapsed_points)


def _take_back(account: Account, own: Lot, points: int, cause: Cause, now: datetime) -> int:
    """Take points from the grant's lot, then from others; returns how many were its own."""
    if not points:
        return 0
    is_active = own.status is PointsRecordStatus.ACTIVE
    from_own = min(own.points, points) if is_active else 0
    others = first_lots((lot for lot in account.lots if lot is not own), points - from_own)
    shares = ([(own, from_own)] if from_own else []) + others
    account.lifetime_earned -= points
    draw(account, record(account, PointsAction.REVERSE, -points, cause, now), shares)
    if from_own and not own.points:
        own.status = PointsRecordStatus.REVERSED
    return from_own
