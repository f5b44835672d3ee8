"""Properties of points that are held: released, rejected and taken back in any order."""

from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from uuid import uuid4

import hypothesis.strategies as st
from hypothesis import given

from models.points import HoldReason, PointsRecordStatus
from services.errors import InvalidState
from services.points.account import Account, Cause, Lot
from services.points.holds import Decision, settle
from services.points.ledger import (
    InsufficientPoints,
    expire_due,
    grant,
    hold_lot,
    open_lot,
    redeem,
)
from services.points.returns import Grant, reverse
from tests.services.points.accounts import NOW

CAUSE = Cause("campaign", "reference", "tester", {})
MOVES = st.lists(
    st.tuples(
        st.sampled_from(
            ["grant", "hold", "hold later", "release", "reject", "reverse", "reverse", "redeem"]
        ),
        st.integers(1, 60),
        st.integers(0, 6),
        st.sampled_from([0, 0, 1, 20]),
    ),
    max_size=16,
)


@dataclass
class Books:
    """An account, all grants it ever had, and which of them ever counted."""

    account: Account = field(default_factory=lambda: Account(user_id=1))
    grants: list[Grant] = field(default_factory=list)
    counted: set[int] = field(default_factory=set)
    now: datetime = NOW

    def move(self, kind: str, points: int, which: int, hours: int) -> None:
        """Do one movement, some hours later; a refusal is fine."""
        self.now += timedelta(hours=hours)
        if kind in {"grant", "hold", "hold later"}:
            self._give(kind, points, self.now + timedelta(hours=which * 8 + 1))
        elif kind == "redeem":
            with suppress(InsufficientPoints):
                redeem(self.account, points, CAUSE, self.now)
        elif self.grants:
            chosen = self.grants[which % len(self.grants)]
            if kind == "reverse":
                self._take_back(chosen, min(points, chosen.points - chosen.reversed_points))
            else:
                self._decide(chosen.lot, releases=kind == "release")

    def _give(self, kind: str, points: int, ends: datetime) -> None:
        hold = HoldReason.GAINS if kind == "hold" else None
        if kind == "hold later":  # granted for a later day, and held on it
            lot = open_lot(self.account, uuid4(), points, CAUSE, ends, self.now, self.now)
            hold_lot(self.account, lot, HoldReason.GAINS, self.now)
        else:
            lot = grant(self.account, uuid4(), points, CAUSE, ends, self.now, hold=hold)
        if kind == "grant":
            self.counted.add(len(self.grants))
        self.grants.append(Grant("campaign", str(lot.id), lot, points))

    def _decide(self, lot: Lot, *, releases: bool) -> None:
        was_held, expected = lot.is_held, lot.points
        decision = Decision(2, releases, "a reason", "key")
        try:
            assert settle(self.account, lot, decision, self.now) == expected
        except InvalidState:
            assert not was_held
            return
        assert was_held
        if releases:
            self.counted.add(next(n for n, each in enumerate(self.grants) if each.lot is lot))

    def _take_back(self, given: Grant, points: int) -> None:
        if not points:
            return
        never_counted = self.grants.index(given) not in self.counted
        done = reverse(self.account, given, uuid4(), points, CAUSE, self.now)
        if never_counted:
            assert (done.withheld_points, done.owed_points) == (points, 0)

    def drawn(self, lot: Lot) -> int:
        """What the draws of the account took from that lot."""
        draws = self.account.draws
        return sum(draw.points for draw in draws if draw.points_record_id == lot.id)


@given(MOVES)
def test_every_point_of_a_lot_is_somewhere_once(moves: list[tuple[str, int, int, int]]) -> None:
    """Left, withheld, rejected or drawn; and what the table's CHECKs say of it."""
    books = Books()
    for move in moves:
        books.move(*move)
        for lot in (each.lot for each in books.grants):
            gone = lot.withheld_points + lot.rejected_points + books.drawn(lot)
            assert lot.original_points == lot.points + gone
            assert min(lot.points, lot.withheld_points, lot.rejected_points) >= 0
            if lot.status is PointsRecordStatus.PENDING:
                assert lot.points > 0
                assert (lot.available_at is None) == (lot.hold_reason is not None)
            if lot.rejected_points:
                assert lot.status is PointsRecordStatus.REVERSED
                assert lot.hold_reason is not None


@given(MOVES)
def test_what_is_held_or_rejected_is_in_no_balance(
    moves: list[tuple[str, int, int, int]],
) -> None:
    """The balance is the active lots and what the log says; boards count what was earned."""
    books = Books()
    account = books.account
    for move in moves:
        books.move(*move)
        active = [each.lot for each in books.grants if each.lot.status is PointsRecordStatus.ACTIVE]
        assert {lot.id for lot in account.lots} == {lot.id for lot in active}
        assert account.points == sum(lot.points for lot in active)
        spent = account.lifetime_redeemed + account.lifetime_expired
        assert account.points == account.lifetime_earned - spent
        assert account.points == sum(entry.amount for entry in account.entries)
        counted = sum(books.grants[number].points for number in books.counted)
        assert 0 <= account.ranked_points <= counted


@given(MOVES, st.booleans())
def test_a_held_lot_is_decided_once(moves: list[tuple[str, int, int, int]], releases: bool) -> None:
    """Whatever was done before: of each what is left, and then none is left to decide on."""
    books = Books()
    for move in moves:
        books.move(*move)
    before, held = books.account.points, [each.lot for each in books.grants if each.lot.is_held]
    expire_due(books.account, books.now)
    for lot in held:
        settle(books.account, lot, Decision(2, releases, "r", "k"), books.now)
    assert not any(each.lot.is_held for each in books.grants)
    assert releases or books.account.points <= before
