"""What comes back: properties of refunds and reversals, on accounts of any shape."""

from copy import deepcopy
from datetime import timedelta
from uuid import uuid4
from zoneinfo import ZoneInfo

import hypothesis.strategies as st
from hypothesis import given

from models.points import PointsRecordStatus
from services.points.account import OPENING_BALANCE, Account, Cause, Lot, ranked_changes
from services.points.activate import activate
from services.points.extend import extend
from services.points.ledger import (
    InsufficientPoints,
    expire_due,
    grant,
    open_lot,
    redeem,
    spendable,
)
from services.points.returns import Grant, Payment, refund, reverse
from tests.services.points.accounts import NOW, accounts

_CAUSE = Cause("test", "reference", "test")


def _granted(account: Account, points: int) -> Grant:
    lot = grant(account, uuid4(), points, _CAUSE, NOW + timedelta(days=1), NOW)
    return Grant("test", "reference", lot, points)


@given(accounts(1), st.integers(1, 300), st.integers(0, 3))
def test_a_refund_undoes_the_payment(account: Account, price: int, days: int) -> None:
    """Lots that have not ended are as before; the others keep what they have, and it is said."""
    if price > spendable(account, NOW):
        return
    before = deepcopy(account)
    lots = {lot.id: lot for lot in account.lots}
    _, draws = redeem(account, price, _CAUSE, NOW)
    later = NOW + timedelta(days=days)
    payment = Payment([(lots[draw.points_record_id], draw.points) for draw in draws], NOW)
    done = refund(account, payment, _CAUSE, later)
    ended = [points for lot, points in payment.shares if lot.expires_at and lot.expires_at <= later]
    assert (done.lapsed, done.points) == (sum(ended), price - sum(ended))
    assert account.points == sum(lot.points for lot in account.lots)
    assert all(lot.status is PointsRecordStatus.ACTIVE for lot in account.lots)
    if not days:
        spent_nothing = {lot.id: lot.points for lot in before.lots if not _is_due(lot)}
        assert {lot.id: lot.points for lot in account.lots} == spent_nothing


@given(st.integers(2, 500), st.integers(1, 500))
def test_spending_before_an_extension_saves_no_fee(points: int, price: int) -> None:
    """Whatever part of a lot an exchange held while it was extended: the fee is not below 5 %.

    But for what rounding leaves: both parts pay whole points, at least one each.
    """
    account, price = Account(1), min(price, points - 1)
    lot = grant(account, uuid4(), points, _CAUSE, NOW + timedelta(days=9), NOW)
    redeem(account, price, _CAUSE, NOW)
    try:
        extended = extend(account, lot, NOW + timedelta(hours=1), ZoneInfo("Asia/Shanghai"))
    except InsufficientPoints:
        return
    payment = Payment([(lot, price)], NOW)
    refund(account, payment, _CAUSE, NOW + timedelta(hours=2))
    fees = points - account.points
    assert fees == extended + max(1, price * 5 // 100) >= max(1, points * 5 // 100 - 1)
    assert account.points == lot.points == account.lifetime_earned - account.lifetime_redeemed


@given(
    st.integers(1, 200),
    st.integers(1, 200),
    st.lists(st.integers(1, 200), min_size=1, max_size=3),
    st.permutations(["cancel", "reverse", "expire"]),
)
def test_the_order_in_which_things_come_back_does_not_matter(
    points: int, price: int, parts: list[int], order: list[str]
) -> None:
    """A grant is spent in part, the exchange cancelled, the grant reversed, its lot ends.

    Nothing is left at last and nothing owed, however little or much was spent and taken back.
    """
    account, now = Account(1), NOW
    taken_back, price = _granted(account, points), min(price, points)
    redeem(account, price, _CAUSE, NOW)
    for step in order:
        if step == "expire":
            now += timedelta(days=1)
            expire_due(account, now)
        elif step == "cancel":
            lots = {taken_back.lot.id: taken_back}
            payment = Payment([(taken_back.lot, price)], NOW, lots)
            taken_back.lapsed_payments += refund(account, payment, _CAUSE, now).lapsed
        else:
            for part in parts:
                left = taken_back.points - taken_back.reversed_points
                if left:
                    reverse(account, taken_back, uuid4(), min(part, left), _CAUSE, now)
    assert (account.points, account.owed_points) == (0, 0)
    assert taken_back.lapsed_points + taken_back.own_points <= taken_back.reversed_points


@given(st.integers(1, 100), st.integers(1, 100), st.integers(1, 100))
def test_what_lapses_pays_no_debt_of_another_grant(price: int, part: int, debt: int) -> None:
    """What its own lot gave of a grant was taken for good; only what was missing is forgiven."""
    account = Account(1)
    other = _granted(account, debt)
    redeem(account, debt, _CAUSE, NOW)
    reverse(account, other, uuid4(), debt, _CAUSE, NOW)
    account.owed_points, owed = 0, account.owed_points  # set aside, or the next grant would pay it
    taken_back = _granted(account, 100)
    redeem(account, price, _CAUSE, NOW)
    account.owed_points = owed
    missing = reverse(account, taken_back, uuid4(), part, _CAUSE, NOW).owed_points
    payment = Payment([(taken_back.lot, price)], NOW, {taken_back.lot.id: taken_back})
    refund(account, payment, _CAUSE, NOW + timedelta(days=1))
    assert missing == max(0, part - (100 - price))
    assert account.owed_points == debt


def _is_due(lot: Lot) -> bool:
    return lot.expires_at is not None and lot.expires_at <= NOW


@given(
    accounts(1),
    st.integers(1, 200),
    st.lists(st.tuples(st.sampled_from(["spend", "reverse", "earn", "wait"]), st.integers(1, 150))),
)
def test_reversals_never_exceed_the_grant(
    account: Account, points: int, steps: list[tuple[str, int]]
) -> None:
    """In any number and order, between earning, spending and waiting for lots to end.

    What is gone of a grant is accounted for: taken, or owed, or lapsed before.
    """
    reversed_grant = _granted(account, points)
    now, taken, owed = NOW, 0, 0
    for step, amount in steps:
        if step == "wait":
            now += timedelta(hours=amount)
        elif step == "earn":
            grant(account, uuid4(), amount, _CAUSE, now + timedelta(days=3), now)
        elif step == "spend" and amount <= spendable(account, now):
            redeem(account, amount, _CAUSE, now)
        elif step == "reverse":
            left = reversed_grant.points - reversed_grant.reversed_points
            if left:
                done = reverse(account, reversed_grant, uuid4(), min(amount, left), _CAUSE, now)
                taken, owed = taken + done.taken_points, owed + done.owed_points
        assert account.points >= 0
        assert all(lot.points > 0 for lot in account.lots)
    assert reversed_grant.reversed_points <= points
    assert taken + owed + reversed_grant.lapsed_points == reversed_grant.reversed_points
    assert 0 <= account.owed_points <= owed
    assert account.points == sum(lot.points for lot in account.lots)


_AMOUNTS = st.integers(1, 150) | st.sampled_from([10**12, 10**12 - 1, 5 * 10**11])


@given(
    st.lists(_AMOUNTS, min_size=1, max_size=3),
    st.lists(st.tuples(st.sampled_from(["spend", "cancel", "reverse", "earn", "wait"]), _AMOUNTS)),
)
def test_what_ranks_is_what_was_earned_and_never_taken_back(
    granted: list[int], steps: list[tuple[str, int]]
) -> None:
    """Whatever was spent, owed, paid back or lapsed meanwhile; a step that takes back moves it."""
    account, now = Account(1), NOW
    grants = [_granted(account, points) for points in granted]
    payments: list[Payment] = []
    expected = sum(granted)
    for step, amount in steps:
        if step == "wait":
            now += timedelta(hours=min(amount, 40))
            expire_due(account, now)
        elif step == "earn":
            grant(account, uuid4(), amount, _CAUSE, now + timedelta(days=3), now)
            expected += amount
        elif step == "spend" and spendable(account, now):
            lots = {lot.id: lot for lot in account.lots}
            _, draws = redeem(account, min(amount, spendable(account, now)), _CAUSE, now)
            shares = [(lots[draw.points_record_id], draw.points) for draw in draws]
            payments.append(Payment(shares, now, {each.lot.id: each for each in grants}))
        elif step == "cancel" and payments:
            refund(account, payments.pop(), _CAUSE, now)
        elif step == "reverse" and grants[0].reversed_points < grants[0].points:
            part = min(amount, grants[0].points - grants[0].reversed_points)
            reverse(account, grants[0], uuid4(), part, _CAUSE, now)
            expected -= part
            assert account.ranked_at == now
        assert account.ranked_points == expected == account.points_earned
        assert sum(points for _, points in ranked_changes(account)) == expected
    assert account.ranking_changes == len(account.reversals)
    assert sum(each.points for each in account.reversals) == grants[0].reversed_points


@given(st.integers(1, 10**12), st.lists(st.integers(1, 10**12), min_size=1, max_size=4))
def test_what_is_held_back_never_ranked_and_leaves_nothing(points: int, parts: list[int]) -> None:
    """Taken back before it counts; what is left of it counts later, and can be taken back too."""
    account = Account(1)
    ends = NOW + timedelta(days=9)
    held = open_lot(account, uuid4(), points, _CAUSE, ends, NOW, held_until=NOW)
    taken_back = Grant("test", "reference", held, points)
    for number, part in enumerate(parts):
        left = points - taken_back.reversed_points
        if number == len(parts) // 2 and held.points:
            activate(account, held, NOW)
            assert account.ranked_points == left
        if left:
            reverse(account, taken_back, uuid4(), min(part, left), _CAUSE, NOW)
        is_counted = number >= len(parts) // 2
        assert account.ranked_points == (points - taken_back.reversed_points) * is_counted


@given(st.integers(1, 100), st.integers(1, 100), st.integers(1, 100))
def test_an_opening_balance_ranks_nothing_whatever_becomes_of_it(
    points: int, price: int, later: int
) -> None:
    """Neither granted, nor taken back, nor paid for by what is earned here."""
    account, opening = Account(1), Cause(OPENING_BALANCE, "reference", "test")
    lot = grant(account, uuid4(), points, opening, None, NOW)
    redeem(account, min(price, points), _CAUSE, NOW)
    reverse(
        account, Grant(OPENING_BALANCE, "reference", lot, points), uuid4(), points, opening, NOW
    )
    assert (account.ranked_points, account.ranked_at) == (0, None)
    grant(account, uuid4(), later, _CAUSE, None, NOW)
    assert account.ranked_points == later


@given(accounts(1), st.integers(1, 200), st.integers(1, 200))
def test_the_grants_own_lot_pays_first(account: Account, points: int, wanted: int) -> None:
    """Other lots are touched only when its own is empty."""
    others = {lot.id: lot.points for lot in account.lots if not _is_due(lot)}
    reversed_grant = _granted(account, points)
    reverse(account, reversed_grant, uuid4(), min(wanted, points), _CAUSE, NOW)
    assert reversed_grant.lot.points == points - min(wanted, points)
    assert {lot.id: lot.points for lot in account.lots if lot is not reversed_grant.lot} == others
    if wanted >= points:
        assert reversed_grant.lot.status is PointsRecordStatus.REVERSED
