"""Where an exchange may go from where it stands, and what cancelling it takes back.

Rules: `domain.md`, Exchange, States. Pure: everything read under the lock of its user goes in.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from uuid import UUID

from models.exchange import CouponStatus, ExchangeStatus
from services.errors import BadInput, InvalidState, NotFound
from services.exchange.decide import Exchange
from services.points.account import Account, Cause
from services.points.returns import Payment, Refund, refund

_LONGEST_REASON, _LONGEST_NAME = 500, 100


@dataclass(frozen=True, slots=True)
class Step:
    """Somebody moving an exchange on. `by_operator`: it may be anybody's."""

    exchange_id: UUID
    actor_id: int
    by_operator: bool
    status: ExchangeStatus
    reason: str | None = None
    carrier: str | None = None
    tracking_number: str | None = None


def exchange_step(
    exchange_id: UUID,
    actor_id: int,
    status: ExchangeStatus,
    *,
    by_operator: bool,
    reason: str | None = None,
    carrier: str | None = None,
    tracking_number: str | None = None,
) -> Step:
    """A step; raises BadInput for texts that are too long or cannot be stored."""
    texts = {"reason": reason, "carrier": carrier, "trackingNumber": tracking_number}
    for name, value in texts.items():
        longest = _LONGEST_REASON if name == "reason" else _LONGEST_NAME
        if value is not None and (len(value) > longest or "\x00" in value):
            raise BadInput(f"{name}: at most {longest} characters")
    return Step(exchange_id, actor_id, by_operator, status, reason, carrier, tracking_number)


@dataclass(slots=True)
class Membership:
    """What one exchange added to a membership: `days`, so that it ended at `expires_at`."""

    exchange_id: UUID
    level: int
    days: int
    expires_at: datetime
    audit_sequence: int


@dataclass(slots=True)
class Standing:
    """An exchange as it stands, with its reward and the lots that paid.

    `coupon` is (id, status, end) of one that it gave, `membership` what it added to one, and
    `later_memberships` what the user's later exchanges added to the same level. `left` are the
    statuses that `steps` led away from, one each.
    """

    exchange: Exchange
    account: Account
    payment: Payment
    coupon: tuple[UUID, CouponStatus, datetime] | None = None
    membership: Membership | None = None
    later_memberships: Sequence[Membership] = ()
    from_pool: bool = False
    refund: Refund | None = None
    steps: list[Step] = field(default_factory=list[Step])
    left: list[ExchangeStatus] = field(default_factory=list[ExchangeStatus])


@dataclass(frozen=True, slots=True)
class Stepped:
    """The exchange after the step; `refund` when it was cancelled."""

    exchange: Exchange
    refund: Refund | None

    def require_refund(self) -> Refund:
        """What came back; the step must have been a cancellation."""
        if self.refund is None:
            raise LookupError(f"exchange {self.exchange.id} was not cancelled")
        return self.refund


def take_step(standing: Standing | None, step: Step, now: datetime) -> Stepped:
    """Move an exchange on.

    Raises NotFound when there is none, or none of the member's, and InvalidState when it cannot
    go there from where it stands, or not by this person. Then nothing has changed.
    """
    if standing is None or not _may_touch(standing, step):
        raise NotFound("Exchange", str(step.exchange_id))
    if not _may_go(standing, step, now):
        raise InvalidState(standing.exchange.status.name)
    if step.status is ExchangeStatus.CANCELLED:
        _cancel(standing, step, now)
    standing.left.append(standing.exchange.status)
    standing.exchange = replace(standing.exchange, status=step.status, updated_at=now)
    standing.steps.append(step)
    return Stepped(standing.exchange, standing.refund)


def _may_touch(standing: Standing, step: Step) -> bool:
    is_own = standing.exchange.user_id == step.actor_id and not standing.account.is_erased
    return step.by_operator or is_own


def _may_go(standing: Standing, step: Step, now: datetime) -> bool:
    match standing.exchange.status, step.status:
        case ExchangeStatus.PENDING, ExchangeStatus.CANCELLED:
            return True
        case ExchangeStatus.PENDING, ExchangeStatus.SHIPPED:
            return step.by_operator
        case ExchangeStatus.SHIPPED, ExchangeStatus.COMPLETED | ExchangeStatus.CANCELLED:
            return step.by_operator
        case ExchangeStatus.COMPLETED, ExchangeStatus.CANCELLED:
            return _can_be_taken_back(standing, step, now)
        case _:
            return False


def _can_be_taken_back(standing: Standing, step: Step, now: datetime) -> bool:
    """An unused coupon by its holder too, a membership that runs by an operator, nothing else.

    A code that was imported is honoured elsewhere, so the mall cannot know that a member who has
    seen it has not used it: only an operator takes such a one back.
    """
    if standing.coupon is not None:
        _, status, expires_at = standing.coupon
        is_unused = status is CouponStatus.ACTIVE and expires_at > now
        return is_unused and (step.by_operator or not standing.from_pool)
    is_left = standing.membership is not None and standing.membership.expires_at > now
    return is_left and step.by_operator


def _cancel(standing: Standing, step: Step, now: datetime) -> None:
    exchange = standing.exchange
    who = f"{'operator' if step.by_operator else 'user'}:{step.actor_id}"
    cause = Cause("exchange", str(exchange.id), who)
    standing.refund = refund(standing.account, standing.payment, cause, now)
    # Not below 0: one made by a process of an earlier version was never counted.
    standing.account.exchanges_made = max(0, standing.account.exchanges_made - 1)
    standing.account.counts_otherwise = True  # all that was paid may have lapsed
    if standing.coupon is not None:
        coupon_id, _, expires_at = standing.coupon
        standing.coupon = (coupon_id, CouponStatus.REVOKED, expires_at)
    if standing.membership is not None:
        _shorten(standing.membership, standing.later_memberships, now)


def _shorten(membership: Membership, later: Sequence[Membership], now: datetime) -> None:
    """Take back the days that have not run yet; what came after them moves forward."""
    starts_at = membership.expires_at - timedelta(days=membership.days)
    unused = max(timedelta(0), membership.expires_at - max(now, starts_at))
    membership.expires_at -= unused
    for other in later:
        other.expires_at -= unused
