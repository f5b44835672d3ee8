"""Properties of the pure ledger: what holds for any account, any lots and any movements."""

from copy import deepcopy
from datetime import datetime, timedelta
from itertools import pairwise
from uuid import UUID, uuid4

import hypothesis.strategies as st
import pytest
from hypothesis import assume, given

from models.points import PointsAction, PointsRecordStatus
from services.errors import MemberSuspended
from services.points.account import Account, Cause, Lot, drawing_order, require_not_suspended
from services.points.ledger import (
    InsufficientPoints,
    LotsNotLoaded,
    expire_due,
    grant,
    redeem,
    spendable,
)
from tests.services.points.accounts import ENDS, LATER_ENDS, MOMENTS, NOW, accounts, is_due, lots

CAUSE = Cause("test", "reference", "tester", {"why": "because"})
PRICES = st.integers(1, 400)
MOVEMENTS = st.lists(
    st.tuples(st.sampled_from(["grant", "redeem", "expire"]), st.integers(1, 60), ENDS),
    max_size=12,
)


def _move(account: Account, kind: str, points: int, ends: datetime | None) -> None:
    """Do one movement; a refusal is fine."""
    if kind == "grant":
        grant(account, uuid4(), points, CAUSE, ends, NOW)
    elif kind == "expire":
        expire_due(account, NOW)
    else:
        try:
            redeem(account, points, CAUSE, NOW)
        except InsufficientPoints:
            return


def _everything(account: Account) -> dict[UUID, Lot]:
    """All lots that were loaded or made, by id, as they are now."""
    held = [*account.lots, *account.new_lots, *account.changed_lots.values()]
    return {lot.id: lot for lot in held}


@given(accounts())
def test_live_lots_are_spendable_and_due_ones_are_not(account: Account) -> None:
    """The spendable balance is the sum of the lots that are not past their expiry."""
    assert spendable(account, NOW) == sum(lot.points for lot in account.lots if not is_due(lot))


@given(st.lists(lots(1), min_size=2, max_size=8))
def test_lots_are_drawn_soonest_expiry_first(held: list[Lot]) -> None:
    """By expiry, then by age; lots that never expire come last."""
    ordered = sorted(held, key=drawing_order)
    for earlier, later in pairwise(ordered):
        if earlier.expires_at is None:
            assert later.expires_at is None
        elif later.expires_at is not None:
            assert earlier.expires_at <= later.expires_at
        if earlier.expires_at == later.expires_at:
            assert earlier.created_at <= later.created_at


@given(accounts(), PRICES)
def test_spending_empties_lots_in_their_order(account: Account, price: int) -> None:
    """Every lot before the last one drawn is empty, every lot behind it untouched."""
    live = [(lot, lot.points) for lot in account.lots if not is_due(lot)]
    assume(price <= spendable(account, NOW))
    _, draws = redeem(account, price, CAUSE, NOW)
    drawn = {draw.points_record_id: draw.points for draw in draws}
    assert [draw.points_record_id for draw in draws] == [lot.id for lot, _ in live[: len(draws)]]
    assert all(drawn[lot.id] == before for lot, before in live[: len(draws) - 1])
    assert all(lot.points == before - drawn.get(lot.id, 0) for lot, before in live)
    assert [draw.position for draw in draws] == list(range(len(draws)))
    assert all(draw.points > 0 for draw in draws)


@given(accounts(), PRICES)
def test_spending_takes_exactly_the_price(account: Account, price: int) -> None:
    """The draws sum up to the price, and so do the entry and the lifetime sum."""
    available, redeemed = spendable(account, NOW), account.lifetime_redeemed
    assume(price <= available)
    entry, draws = redeem(account, price, CAUSE, NOW)
    assert sum(draw.points for draw in draws) == price == -entry.amount
    assert (account.points, account.lifetime_redeemed) == (available - price, redeemed + price)
    assert {(draw.user_id, draw.sequence) for draw in draws} == {(1, entry.sequence)}


@given(accounts(), PRICES)
def test_a_price_too_high_changes_nothing(account: Account, price: int) -> None:
    """Refused with the facts, and even the due lots are left as they are."""
    available = spendable(account, NOW)
    assume(price > available)
    before = deepcopy(account)
    with pytest.raises(InsufficientPoints) as refused:
        redeem(account, price, CAUSE, NOW)
    assert (refused.value.required, refused.value.available) == (price, available)
    assert account == before


@given(accounts())
def test_the_whole_balance_can_be_spent(account: Account) -> None:
    """To the last point, and not one more."""
    available = spendable(account, NOW)
    assume(available > 0)
    redeem(account, available, CAUSE, NOW)
    assert (account.points, account.lots) == (0, [])
    with pytest.raises(InsufficientPoints):
        redeem(account, 1, CAUSE, NOW)


@given(accounts(ends=LATER_ENDS), PRICES)
def test_lots_that_were_not_loaded_are_a_mistake(account: Account, price: int) -> None:
    """Drawing from fewer lots than the balance promises raises before anything was drawn."""
    loaded = spendable(account, NOW)
    account.points += 400
    assume(loaded < price <= loaded + 400)
    before = deepcopy(account)
    with pytest.raises(LotsNotLoaded):
        redeem(account, price, CAUSE, NOW)
    assert account == before


@given(accounts(), st.integers(1, 50), ENDS)
def test_a_grant_is_one_lot(account: Account, points: int, ends: datetime | None) -> None:
    """The balance grows by it, the lot stands at its place in the order."""
    lot_id, available = uuid4(), spendable(account, NOW)
    lot = grant(account, lot_id, points, CAUSE, ends, NOW)
    assert (lot.points, lot.original_points, lot.status) == (points, points, "active")
    assert (lot.source, lot.source_reference, lot.created_at) == ("test", "reference", NOW)
    assert account.points == available + points
    assert lot in account.lots
    assert account.lots == sorted(account.lots, key=drawing_order)
    assert account.new_lots == [lot]


@given(accounts(), st.integers(1, 50), LATER_ENDS, st.booleans())
def test_due_lots_are_settled_before_anything_else(
    account: Account, points: int, ends: datetime | None, spend: bool
) -> None:
    """A movement's own entry comes after the one that books what expired."""
    due = [lot for lot in account.lots if is_due(lot)]
    lost = sum(lot.points for lot in due)
    grant(account, uuid4(), points, CAUSE, ends, NOW)
    if spend:
        redeem(account, points, CAUSE, NOW)
    assert all(lot.status is PointsRecordStatus.EXPIRED for lot in due)
    actions = [entry.action for entry in account.entries]
    assert actions == ["expire"] * bool(due) + ["earn"] + ["redeem"] * spend
    assert not due or account.entries[0].amount == -lost
    assert not any(is_due(lot) for lot in account.lots)


@given(accounts(), MOMENTS)
def test_expiry_ends_what_is_due_and_nothing_else(account: Account, now: datetime) -> None:
    """A lot ends at the very instant of its expiry and keeps the points that were lost with it."""
    held = [(lot, lot.points) for lot in account.lots]
    before = account.points
    ended = expire_due(account, now)
    assert {lot.id for lot in ended} == {lot.id for lot, _ in held if is_due(lot, now)}
    assert all(lot.points == points for lot, points in held)
    assert account.points == before - sum(lot.points for lot in ended)
    assert [entry.action for entry in account.entries] == [PointsAction.EXPIRE] * bool(ended)


@given(accounts(), MOMENTS)
def test_expiry_is_idempotent(account: Account, now: datetime) -> None:
    """Settling again at the same instant finds nothing and writes nothing."""
    expire_due(account, now)
    before = deepcopy(account)
    assert expire_due(account, now) == []
    assert account == before


@given(accounts(), MOVEMENTS)
def test_the_balance_is_always_the_sum_of_the_lots(account: Account, movements: list) -> None:
    """After any movements: balance = active lots = lifetime sums, no lot negative or grown."""
    for movement in movements:
        _move(account, *movement)
        assert account.points == sum(lot.points for lot in account.lots) >= 0
        explained = account.lifetime_earned - account.lifetime_redeemed - account.lifetime_expired
        assert account.points == explained + account.lifetime_adjusted
    for lot in _everything(account).values():
        assert 0 <= lot.points <= lot.original_points
        assert (lot.status is PointsRecordStatus.USED) == (lot.points == 0)


@given(accounts(), MOVEMENTS)
def test_no_point_appears_or_vanishes(account: Account, movements: list) -> None:
    """For every lot: what it had = what it has + what was drawn from it."""
    had = {lot.id: lot.points for lot in account.lots}
    for movement in movements:
        _move(account, *movement)
    had |= {lot.id: lot.original_points for lot in account.new_lots}
    drawn = dict.fromkeys(had, 0)
    for draw in account.draws:
        drawn[draw.points_record_id] += draw.points
    everything = _everything(account)
    assert all(everything[lot_id].points == had[lot_id] - drawn[lot_id] for lot_id in had)


@given(accounts(), MOVEMENTS)
def test_the_entries_form_a_chain(account: Account, movements: list) -> None:
    """Numbered without gaps; each begins where the one before ended; the last is the balance."""
    sequence, points = account.audit_sequence, account.points
    for movement in movements:
        _move(account, *movement)
    for entry in account.entries:
        sequence += 1
        assert (entry.sequence, entry.points_before) == (sequence, points)
        points += entry.amount
        assert entry.points_after == points >= 0
    assert (account.audit_sequence, account.points) == (sequence, points)


@given(accounts(), MOVEMENTS)
def test_everything_that_changed_is_written(account: Account, movements: list) -> None:
    """A lot whose points or status moved is among the new or the changed ones."""
    before = {lot.id: (lot.points, lot.status, lot) for lot in account.lots}
    for movement in movements:
        _move(account, *movement)
    moved = {
        lot_id
        for lot_id, (points, status, lot) in before.items()
        if (lot.points, lot.status) != (points, status)
    }
    assert (
        moved <= account.changed_lots.keys() <= before.keys() | {lot.id for lot in account.new_lots}
    )


@given(MOMENTS)
def test_a_suspension_ends_at_its_instant(now: datetime) -> None:
    """Before it the member is refused, with the instant; from then on not."""
    account = Account(user_id=1, suspended_until=NOW)
    if now >= NOW:
        require_not_suspended(account, now)
        return
    with pytest.raises(MemberSuspended) as refused:
        require_not_suspended(account, now)
    assert refused.value.until == NOW


def test_a_lot_never_counts_at_the_instant_of_its_expiry() -> None:
    """Valid until, not including."""
    account = Account(user_id=1)
    grant(account, uuid4(), 10, CAUSE, NOW + timedelta(hours=1), NOW)
    assert spendable(account, NOW + timedelta(hours=1, microseconds=-1)) == 10
    assert spendable(account, NOW + timedelta(hours=1)) == 0
