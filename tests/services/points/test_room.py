"""No sequence of movements takes any sum of an account out of what can be counted."""

from collections.abc import Callable
from copy import deepcopy
from datetime import timedelta
from uuid import uuid4
from zoneinfo import ZoneInfo

import hypothesis.strategies as st
import pytest
from hypothesis import example, given

from models.base import MAX_POINTS
from models.points import PointsRecordStatus
from services.errors import InvalidState
from services.points.account import Account, Cause, Lot
from services.points.activate import activate
from services.points.adjust import adjust
from services.points.extend import extend
from services.points.ledger import InsufficientPoints, expire_due, grant, redeem, spendable
from services.points.returns import Grant, Payment, refund, reverse
from services.points.room import BalanceFull, require_room
from tests.services.points.accounts import NOW

_CAUSE = Cause("test", "reference", "test")
_ZONE = ZoneInfo("Asia/Shanghai")
_KINDS = st.sampled_from(
    ["grant", "redeem", "refund", "reverse", "adjust", "correct", "activate", "extend", "wait"]
)
AMOUNTS = st.integers(1, 40) | st.sampled_from(
    [MAX_POINTS, MAX_POINTS - 1, MAX_POINTS - 20, MAX_POINTS // 2, MAX_POINTS // 2 + 1]
)
STEPS = st.lists(st.tuples(_KINDS, AMOUNTS), max_size=25)


class _Story:
    """An account, and what was done with it that can be undone."""

    def __init__(self) -> None:
        self.account, self.now = Account(1), NOW
        self.grants: list[Grant] = []
        self.payments: list[Payment] = []

    def take(self, kind: str, points: int) -> None:
        """One step; refused, it must not have changed anything."""
        before = deepcopy(self.account)
        act: Callable[[int], None] = getattr(self, kind)
        try:
            act(points)
        except (BalanceFull, InsufficientPoints, InvalidState):
            assert self.account == before
            assert kind != "refund"

    def grant(self, points: int) -> None:
        ends = self.now + timedelta(days=2)
        lot = grant(self.account, uuid4(), points, _CAUSE, ends, self.now)
        self.grants.append(Grant("test", "reference", lot, points))

    def redeem(self, points: int) -> None:
        lots = {lot.id: lot for lot in self.account.lots}
        _, draws = redeem(self.account, points, _CAUSE, self.now)
        shares = [(lots[draw.points_record_id], draw.points) for draw in draws]
        self.payments.append(Payment(shares, self.now))

    def refund(self, _points: int) -> None:
        if self.payments:
            refund(self.account, self.payments.pop(), _CAUSE, self.now)

    def reverse(self, points: int) -> None:
        if self.grants:
            last = self.grants[-1]
            if left := last.points - last.reversed_points:
                reverse(self.account, last, uuid4(), min(points, left), _CAUSE, self.now)

    def adjust(self, points: int) -> None:
        adjust(self.account, uuid4(), points, _CAUSE, None, self.now)

    def correct(self, points: int) -> None:
        if available := spendable(self.account, self.now):
            adjust(self.account, uuid4(), -min(points, available), _CAUSE, None, self.now)

    def activate(self, points: int) -> None:
        held = _held(points)
        activate(self.account, held, self.now)

    def extend(self, _points: int) -> None:
        if self.account.lots:
            extend(self.account, self.account.lots[0], self.now, _ZONE)

    def wait(self, points: int) -> None:
        self.now += timedelta(hours=min(points, 40))
        expire_due(self.account, self.now)


def _held(points: int) -> Lot:
    return Lot(
        id=uuid4(),
        user_id=1,
        points=points,
        original_points=points,
        source="test",
        source_reference=None,
        status=PointsRecordStatus.PENDING,
        expires_at=None,
        created_at=NOW,
        available_at=NOW,
    )


@given(STEPS)
@example([("adjust", MAX_POINTS), ("redeem", MAX_POINTS), ("grant", 1), ("refund", 1)])
@example([("grant", MAX_POINTS), ("correct", 20), ("grant", 20), ("adjust", 20), ("adjust", 1)])
@example([("grant", MAX_POINTS), ("redeem", MAX_POINTS), ("reverse", MAX_POINTS), ("grant", 9)])
def test_no_sequence_leaves_the_range(steps: list[tuple[str, int]]) -> None:
    """Neither the balance nor a lifetime sum nor what is owed; and a refund always fits."""
    story = _Story()
    for kind, points in steps:
        story.take(kind, points)
        account = story.account
        sums = (account.lifetime_earned, account.lifetime_redeemed, account.lifetime_expired)
        for each in (account.points, account.owed_points, account.ranked_points, *sums):
            assert 0 <= each <= MAX_POINTS
        assert -MAX_POINTS <= account.lifetime_adjusted <= MAX_POINTS
        assert account.points == sums[0] - sums[1] - sums[2] + account.lifetime_adjusted
        assert account.points == sum(lot.points for lot in account.lots)


@given(st.integers(0, MAX_POINTS), st.integers(-MAX_POINTS, MAX_POINTS), AMOUNTS)
def test_there_is_room_to_the_last_point(earned: int, adjusted: int, points: int) -> None:
    """What fits is let in, one more is not."""
    room = MAX_POINTS - max(earned, earned + adjusted)
    if points <= room:
        require_room(earned, adjusted, points)
        return
    with pytest.raises(BalanceFull):
        require_room(earned, adjusted, points)


def test_a_full_account_spends_and_gets_back() -> None:
    """All of it, and there is no room in between for what would keep the refund out."""
    story = _Story()
    story.grant(MAX_POINTS)
    story.redeem(100)
    with pytest.raises(BalanceFull):
        story.grant(1)
    story.refund(0)
    assert story.account.points == MAX_POINTS
