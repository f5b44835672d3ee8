"""Every state of an exchange x every step x everybody who might take it."""

from datetime import timedelta
from uuid import UUID

import pytest

from models.exchange import CouponStatus, ExchangeStatus
from services.errors import InvalidState, NotFound
from services.exchange.decide import Exchange
from services.exchange.states import Membership, Standing, Step, take_step
from services.points.account import Account
from services.points.returns import Payment
from tests.services.points.accounts import NOW

_ID = UUID(int=1)
_OWNER, _STRANGER, _OPERATOR = 1, 2, 3
_KINDS = (
    "physical",
    "coupon",
    "imported coupon",
    "used coupon",
    "ended coupon",
    "vip",
    "ended vip",
    "virtual",
)
_CANCELLED = ExchangeStatus.CANCELLED
_ALLOWED = {
    # (kind, from, to): who may
    ("physical", "pending", "shipped"): {"operator"},
    ("physical", "pending", "cancelled"): {"owner", "operator"},
    ("physical", "shipped", "completed"): {"operator"},
    ("physical", "shipped", "cancelled"): {"operator"},
    ("coupon", "completed", "cancelled"): {"owner", "operator"},
    ("imported coupon", "completed", "cancelled"): {"operator"},
    ("vip", "completed", "cancelled"): {"operator"},
}
_STATES = {"physical": tuple(ExchangeStatus)}


def _standing(kind: str, status: ExchangeStatus) -> Standing:
    exchange = Exchange(_ID, _OWNER, 1, 1, 10, status, NOW, NOW)
    standing = Standing(exchange, Account(_OWNER), Payment((), NOW))
    ends = NOW + timedelta(days=-1 if kind == "ended coupon" else 1)
    if "coupon" in kind:
        held = CouponStatus.USED if kind == "used coupon" else CouponStatus.ACTIVE
        standing.coupon = (_ID, held, ends)
        standing.from_pool = kind == "imported coupon"
    if "vip" in kind:
        left = timedelta(days=0 if kind == "ended vip" else 30)
        standing.membership = Membership(_ID, 1, 30, NOW + left, 1)
    return standing


@pytest.mark.parametrize("who", ["owner", "stranger", "operator"])
@pytest.mark.parametrize("to", ExchangeStatus)
@pytest.mark.parametrize(
    ("kind", "status"),
    [
        (kind, status)
        for kind in _KINDS
        for status in _STATES.get(kind, (ExchangeStatus.COMPLETED, _CANCELLED))
    ],
)
def test_every_step_of_everybody(
    kind: str, status: ExchangeStatus, to: ExchangeStatus, who: str
) -> None:
    """What the table allows happens; everything else is refused and changes nothing."""
    standing = _standing(kind, status)
    actor = {"owner": _OWNER, "stranger": _STRANGER, "operator": _OPERATOR}[who]
    step = Step(_ID, actor, who == "operator", to)
    if who in _ALLOWED.get((kind, status.value, to.value), ()):
        assert take_step(standing, step, NOW).exchange.status is to
        assert (standing.refund is not None) == (to is _CANCELLED)
        return
    expected = NotFound if who == "stranger" else InvalidState
    with pytest.raises(expected):
        take_step(standing, step, NOW)
    assert standing == _standing(kind, status)


def test_nobody_can_move_what_is_not_there() -> None:
    """Not even an operator."""
    with pytest.raises(NotFound):
        take_step(None, Step(_ID, _OPERATOR, True, _CANCELLED), NOW)


@pytest.mark.parametrize(("runs_for_days", "left_days"), [(-29, 1), (-10, 20), (0, 30), (5, 30)])
def test_a_membership_loses_the_days_that_have_not_run(runs_for_days: int, left_days: int) -> None:
    """Begun before, now, or waiting for its turn; later ones move forward by as much."""
    begins = NOW + timedelta(days=runs_for_days)
    membership = Membership(_ID, 1, 30, begins + timedelta(days=30), 1)
    later = Membership(UUID(int=2), 1, 10, begins + timedelta(days=40), 2)
    standing = _standing("vip", ExchangeStatus.COMPLETED)
    standing.membership, standing.later_memberships = membership, [later]
    take_step(standing, Step(_ID, _OPERATOR, True, _CANCELLED), NOW)
    assert membership.expires_at == begins + timedelta(days=30 - left_days)
    assert later.expires_at == begins + timedelta(days=40 - left_days)
