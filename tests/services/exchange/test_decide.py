"""Properties of deciding exchanges: what holds for any batch on anything it is decided on."""

from collections import Counter
from copy import deepcopy
from dataclasses import replace
from datetime import timedelta
from uuid import uuid4

import hypothesis.strategies as st
from hypothesis import given

from models.catalogue import ExchangeItemType
from models.exchange import ExchangeStatus
from services.catalogue.items import ItemUnavailable, OutOfStock
from services.errors import (
    IdempotencyConflict,
    InvalidInput,
    LimitReached,
    MemberSuspended,
    NotFound,
    Refusal,
    VerificationRequired,
)
from services.exchange.decide import ExchangeRequest, Placed, Settlement, decide
from services.exchange.rewards import Coupon, ManualDelivery, Shipment, VipMembership
from services.points.account import Account, Cause
from services.points.ledger import InsufficientPoints, grant, spendable
from tests.services.exchange.settlements import NOW, USERS, batches, request, settlements

Batch = list[ExchangeRequest]
Outcome = Placed | Refusal


def _made(outcomes: list[Outcome]) -> list[Placed]:
    return [outcome for outcome in outcomes if isinstance(outcome, Placed) and not outcome.replayed]


def _kinds(outcomes: list[Outcome]) -> list[str]:
    return [type(outcome).__name__ for outcome in outcomes]


@given(settlements(), batches())
def test_every_request_has_one_outcome(settlement: Settlement, batch: Batch) -> None:
    """In order; what was granted is what is written."""
    outcomes = decide(settlement, batch)
    assert len(outcomes) == len(batch)
    assert settlement.placed == _made(outcomes)
    for asked, outcome in zip(batch, outcomes, strict=True):
        if isinstance(outcome, Placed) and not outcome.replayed:
            assert outcome.exchange is not None
            bought = (outcome.exchange.id, outcome.exchange.user_id, outcome.exchange.item_id)
            assert bought == (asked.exchange_id, asked.user_id, asked.item_id)


@given(settlements(), batches())
def test_stock_goes_down_by_what_was_sold_and_never_below_zero(
    settlement: Settlement, batch: Batch
) -> None:
    """Two members never get the last unit."""
    sold = Counter(placed.exchange.item_id for placed in _made(decide(settlement, batch)))
    assert settlement.sold == sold
    for item_id, item in settlement.items.items():
        assert settlement.left(item) == item.stock - sold[item_id] >= 0


@given(settlements(), batches())
def test_no_more_codes_are_given_than_a_pool_has(settlement: Settlement, batch: Batch) -> None:
    """Though the stock may still count others, which have expired; a refusal takes none."""
    made = _made(decide(settlement, batch))
    for item_id, drawable in settlement.pooled.items():
        given = [placed for placed in made if placed.exchange.item_id == item_id]
        assert len(given) <= drawable
        assert settlement.codes[item_id].given == len(given)


@given(settlements(), batches())
def test_nobody_pays_more_than_they_have(settlement: Settlement, batch: Batch) -> None:
    """What was paid is what was spendable before less what is left, draw by draw."""
    before = {user_id: spendable(settlement.accounts[user_id], NOW) for user_id in USERS}
    for placed in _made(decide(settlement, batch)):
        assert sum(draw.points for draw in placed.paid_from) == placed.points_used
        before[placed.exchange.user_id] -= placed.points_used
        assert placed.remaining_points == before[placed.exchange.user_id] >= 0
    after = {user_id: spendable(settlement.accounts[user_id], NOW) for user_id in USERS}
    assert after == before


@given(settlements(), batches())
def test_nobody_takes_more_than_their_limit(settlement: Settlement, batch: Batch) -> None:
    """What was taken before counts; who is at the limit already gets nothing."""
    before = deepcopy(settlement.taken)
    made = Counter(
        (placed.exchange.user_id, placed.exchange.item_id)
        for placed in _made(decide(settlement, batch))
    )
    for (user_id, item_id), count in made.items():
        limit = settlement.items[item_id].per_user_limit
        if limit is not None:
            assert before.get((user_id, item_id), {}).get(limit.period, 0) + count <= limit.count


@given(settlements(), batches())
def test_a_key_settles_once(settlement: Settlement, batch: Batch) -> None:
    """After the first success: the first answer again, or a conflict when the input differs."""
    first: dict[tuple[int, str], tuple[ExchangeRequest, Placed]] = {}
    for asked, outcome in zip(batch, decide(settlement, batch), strict=True):
        known = first.get((asked.user_id, asked.key))
        if known is None:
            assert not isinstance(outcome, IdempotencyConflict)
            if isinstance(outcome, Placed):
                assert not outcome.replayed
                first[asked.user_id, asked.key] = (asked, outcome)
        elif (asked.item_id, asked.shipping) == (known[0].item_id, known[0].shipping):
            assert isinstance(outcome, Placed)
            again = (outcome.exchange_id, outcome.points_used, outcome.remaining_points)
            made = known[1]
            assert again == (made.exchange_id, made.points_used, made.remaining_points)
            assert outcome.replayed
        else:
            assert isinstance(outcome, IdempotencyConflict)
    assert settlement.newly_settled.keys() == first.keys()


@given(settlements(), batches())
def test_a_refusal_changes_nothing(settlement: Settlement, batch: Batch) -> None:
    """Request by request: whoever is refused leaves everything as it was."""
    for asked in batch:
        before = deepcopy(settlement)
        (outcome,) = decide(settlement, [asked])
        if isinstance(outcome, Refusal) or outcome.replayed:
            assert settlement == before


@given(settlements(), batches())
def test_a_batch_is_its_requests_one_after_another(settlement: Settlement, batch: Batch) -> None:
    """Together or each in a batch of its own: the same answers, the same accounts."""
    alone = deepcopy(settlement)
    one_by_one = [outcome for asked in batch for outcome in decide(alone, [asked])]
    together = decide(settlement, batch)
    assert _kinds(together) == _kinds(one_by_one)
    assert _made(together) == _made(one_by_one)
    assert settlement.accounts == alone.accounts


def _is_justified(settlement: Settlement, asked: ExchangeRequest, outcome: Outcome) -> bool:
    """Whether the facts bear the outcome out; `settlement` is as it was before."""
    item, account = settlement.items.get(asked.item_id), settlement.accounts.get(asked.user_id)
    if item is None or account is None:
        return isinstance(outcome, NotFound)
    taken = settlement.taken.get((asked.user_id, item.id), {})
    limit = item.per_user_limit
    checks = {
        ItemUnavailable: not item.is_on_sale(NOW),
        VerificationRequired: "verification" in item.config and not asked.is_verified,
        InvalidInput: item.type == "physical" and asked.shipping is None,
        OutOfStock: settlement.sold[item.id]
        >= min(item.stock, settlement.pooled.get(item.id, item.stock)),
        LimitReached: limit is not None and taken.get(limit.period, 0) >= limit.count,
        InsufficientPoints: item.points > spendable(account, NOW),
    }
    expected = next((kind for kind, applies in checks.items() if applies), Placed)
    return isinstance(outcome, expected)


@given(settlements(), batches())
def test_every_outcome_has_its_reason(settlement: Settlement, batch: Batch) -> None:
    """Granted when nothing stands against it; otherwise told the first thing that does."""
    for asked in batch:
        if (asked.user_id, asked.key) in settlement.settled:
            continue
        before = deepcopy(settlement)
        (outcome,) = decide(settlement, [asked])
        assert _is_justified(before, asked, outcome), outcome


def _make_plentiful(settlement: Settlement) -> None:
    """Enough of everything for six requests, each member with just the points for two."""
    for item_id, item in settlement.items.items():
        settlement.items[item_id] = replace(
            item,
            stock=9,
            points=5,
            per_user_limit=None,
            is_active=True,
            available_from=None,
            available_until=None,
        )
    settlement.pooled = {}
    settlement.accounts = {user_id: Account(user_id) for user_id in USERS}
    for account in settlement.accounts.values():
        for points in (7, 3):
            grant(account, uuid4(), points, Cause("test", None, "test"), None, NOW)


@given(settlements(), st.permutations(range(6)))
def test_when_there_is_enough_for_all_the_order_does_not_matter(
    settlement: Settlement, order: list[int]
) -> None:
    """Everybody gets everything, and the balances, stocks and memberships are the same."""
    _make_plentiful(settlement)
    other = deepcopy(settlement)
    batch = [request(n, USERS[n % 3], n % 2 + 1, f"key-{n}") for n in range(6)]
    outcomes = decide(settlement, batch) + decide(other, [batch[n] for n in order])
    assert _kinds(outcomes) == ["Placed"] * 12
    for some in (settlement, other):
        assert [account.points for account in some.accounts.values()] == [0, 0, 0]
    assert settlement.sold == other.sold
    assert settlement.memberships == other.memberships


@given(settlements(), st.integers(0, 5), st.permutations(USERS))
def test_the_last_units_go_to_whoever_asks_first(
    settlement: Settlement, stock: int, order: list[int]
) -> None:
    """Of members who can all pay, the first ones in the batch get what there is."""
    _make_plentiful(settlement)
    settlement.items[1] = replace(settlement.items[1], stock=stock)
    batch = [request(n, user_id, 1, f"key-{n}") for n, user_id in enumerate(order * 2)]
    outcomes = decide(settlement, batch)
    assert _kinds(outcomes) == ["Placed"] * stock + ["OutOfStock"] * (6 - stock)
    assert all(refused.item.stock == 0 for refused in outcomes[stock:])


@given(settlements(), batches())
def test_a_reward_is_what_the_item_says(settlement: Settlement, batch: Batch) -> None:
    """Of the item's type; only what is shipped starts pending."""
    made = _made(decide(settlement, batch))
    codes = [placed.reward.code for placed in made if isinstance(placed.reward, Coupon)]
    assert len(codes) == len(set(codes))
    for placed in made:
        match placed.item.type:
            case ExchangeItemType.COUPON:
                assert isinstance(placed.reward, Coupon)
                assert placed.reward.code.startswith(f"CODE{placed.item.id}-")
                assert placed.reward.expires_at == NOW + timedelta(days=3)
            case ExchangeItemType.VIP:
                assert isinstance(placed.reward, VipMembership)
            case ExchangeItemType.PHYSICAL:
                assert isinstance(placed.reward, Shipment)
            case ExchangeItemType.VIRTUAL:
                assert placed.reward == ManualDelivery(placed.item.config.get("note", ""))
        is_shipped = placed.item.type is ExchangeItemType.PHYSICAL
        expected = ExchangeStatus.PENDING if is_shipped else ExchangeStatus.COMPLETED
        assert placed.exchange.status is expected


@given(settlements(), batches())
def test_memberships_add_up(settlement: Settlement, batch: Batch) -> None:
    """Each exchange makes the running membership, or one from now, longer by its days."""
    ends = dict(settlement.memberships)
    for placed in _made(decide(settlement, batch)):
        if isinstance(placed.reward, VipMembership):
            key = (placed.exchange.user_id, placed.reward.level)
            days = timedelta(days=placed.item.config["days"])
            ends[key] = max(ends.get(key, NOW), NOW) + days
            assert placed.reward.expires_at == ends[key]
    assert settlement.memberships == ends
    assert settlement.changed_memberships.items() <= ends.items()


@given(settlements(), batches(), st.integers(-2, 2))
def test_the_suspended_get_nothing_but_their_earlier_answers(
    settlement: Settlement, batch: Batch, hours: int
) -> None:
    """Until the very end of the suspension; a key settled before is answered as before."""
    until = NOW + timedelta(hours=hours)
    decide(settlement, batch)
    known = set(settlement.settled)
    settlement.accounts[1].suspended_until = until
    for asked, outcome in zip(batch, decide(settlement, batch), strict=True):
        if asked.user_id == 1 and (1, asked.key) not in known:
            assert isinstance(outcome, MemberSuspended) == (hours > 0)
