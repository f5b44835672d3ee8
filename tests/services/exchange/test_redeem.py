"""Deciding who uses a coupon, whatever is asked in whatever order."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from uuid import UUID

import hypothesis.strategies as st
from hypothesis import given

from models.exchange import CouponStatus
from services.errors import InvalidState, NotFound
from services.exchange.redeem import HeldCoupon, Redeemed, redemption, use_coupon
from services.exchange.rewards import Coupon
from tests.services.points.accounts import NOW

_ID = UUID("00000000-0000-7000-8000-000000000001")
_COUPON = Coupon(_ID, 1, _ID, "CODE", CouponStatus.ACTIVE, NOW, NOW)
_REQUESTS = st.builds(
    lambda actor_id, reference, item_id: redemption(
        actor_id, "CODE", reference, by_operator=False, item_id=item_id
    ),
    st.sampled_from([5, 6]),
    st.sampled_from(["a", "b", "c"]),
    st.sampled_from([None, 7, 8]),
)


def _outcome(held: HeldCoupon, request: object, days: int) -> Redeemed | str:
    try:
        return use_coupon(held, request, NOW + timedelta(days=days))
    except InvalidState as refusal:
        return refusal.state
    except NotFound:
        return "not found"


@given(st.lists(st.tuples(_REQUESTS, st.integers(-2, 1))), st.sampled_from(CouponStatus))
def test_at_most_one_actor_uses_a_coupon_for_one_reference(
    requests: Sequence[tuple[object, int]], status: CouponStatus
) -> None:
    """The first good one, before its end, from where it can be used; each later one knows."""
    used = (5, "a") if status is CouponStatus.USED else (None, None)
    held = HeldCoupon(replace(_COUPON, status=status), 7, *used)
    for request, days in requests:
        before = held.coupon.status
        outcome = _outcome(held, request, days)
        if request.item_id == 8:
            assert outcome == "not found"
        elif before is CouponStatus.USED and (request.actor_id, request.reference) == used:
            assert outcome == Redeemed(held.coupon, 7, replayed=True)
        elif before is CouponStatus.ACTIVE and days < 0:
            used = (request.actor_id, request.reference)
            assert outcome == Redeemed(held.coupon, 7, replayed=False)
            assert held.coupon == replace(_COUPON, status=CouponStatus.USED)
            assert held.redemption is request
            continue
        else:
            ended = before is CouponStatus.ACTIVE
            assert outcome == (CouponStatus.EXPIRED if ended else before).name
        assert held.coupon.status is before
