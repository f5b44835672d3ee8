"""What an account unlocks: never twice, all that can be reached, in whatever order it is read."""

from dataclasses import replace
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import hypothesis.strategies as st
from hypothesis import given

from models.achievements import AchievementMeasure
from models.base import MAX_POINTS
from services.achievements.measures import Definition
from services.achievements.milestones import Milestones
from services.achievements.unlock import Unlocked, tell_unlocked, unlock
from services.errors import InvalidState
from services.exchange.decide import Placed
from services.points.account import Account
from services.tasks.complete import CompletionRequest
from tests.services.points.accounts import NOW, accounts

ZONE = ZoneInfo("Asia/Shanghai")


def definition(number: int, measure: str, target: int, points: int = 0) -> Definition:
    """One that nobody has."""
    kind = AchievementMeasure(measure)
    return Definition(number, f"achievement_{number}", kind, target, points, frozenset())


@st.composite
def definitions(draw: st.DrawFn) -> list[Definition]:
    """Up to eight, small enough to be reached, some of them held by the member already."""
    made: list[Definition] = []
    for number in range(draw(st.integers(0, 8))):
        measure = draw(st.sampled_from(AchievementMeasure))
        is_points = measure is AchievementMeasure.POINTS_EARNED
        target = draw(st.integers(1, 1_500 if is_points else 6))
        held_by = frozenset({1} if draw(st.integers(0, 3)) == 0 else ())
        points = draw(st.integers(0, 400))
        made.append(Definition(number, f"a_{number}", measure, target, points, held_by))
    return made


@st.composite
def counted_accounts(draw: st.DrawFn) -> Account:
    """A member who has done a little of everything."""
    account = draw(accounts())
    account.exchanges_made = draw(st.integers(0, 6))
    account.tasks_completed = draw(st.integers(0, 6))
    account.best_streak = draw(st.integers(0, 6))
    account.best_weekly_rank = draw(st.none() | st.integers(1, 6))
    account.ranked_points = draw(st.integers(0, account.lifetime_earned))
    account.owed_points = draw(st.integers(0, 200))
    account.ahead = Milestones(checked=draw(st.integers(0, 3)), current=3)
    return account


def copy_of(account: Account) -> Account:
    """The same account once more; lots are shared in value, not in place."""
    lots = [replace(lot) for lot in account.lots]
    return replace(account, lots=lots, new_lots=[], changed_lots={}, entries=[], draws=[])


def run(account: Account, defined: list[Definition]) -> list[Unlocked]:
    """Unlock, with ids in their order."""
    numbers = iter(range(1, 100))
    return unlock(account, defined, NOW, ZONE, lambda: UUID(int=next(numbers)))


@given(counted_accounts(), definitions())
def test_all_that_is_reached_is_held_afterwards_and_nothing_twice(
    account: Account, defined: list[Definition]
) -> None:
    """A fixed point: what the points of one reach is unlocked too. Looking again finds nothing."""
    unlocked = run(account, defined)
    ids = [each.achievement_id for each in unlocked]
    assert len(ids) == len(set(ids))
    held = {each.id for each in defined if 1 in each.held_by}
    assert not held & set(ids)
    reached = {each.id for each in defined if each.is_reached_by(account)}
    assert reached - held == set(ids)
    again = [
        replace(each, held_by=frozenset({1} if each.id in ids else each.held_by))
        for each in defined
    ]
    entries = list(account.entries)
    assert run(account, again) == []
    assert account.entries == entries
    assert (account.achievements_version, account.is_at_milestone) == (3, False)


@given(counted_accounts(), definitions(), st.randoms(use_true_random=False))
def test_the_order_of_definitions_does_not_matter(
    account: Account, defined: list[Definition], chance: Any
) -> None:
    """Neither to what is unlocked nor to what it grants."""
    other, shuffled = copy_of(account), list(defined)
    chance.shuffle(shuffled)
    assert run(account, defined) == run(other, shuffled)
    assert (account.points, account.entries) == (other.points, other.entries)


@given(counted_accounts(), definitions())
def test_points_are_booked_as_they_are_said(account: Account, defined: list[Definition]) -> None:
    """Each achievement with points has one lot and one row named by its key; debts are paid."""
    before, owed = account.lifetime_earned, account.owed_points
    unlocked = run(account, defined)
    granted = {each.points_record_id: each.points for each in unlocked if each.points}
    lots = {lot.id: lot.original_points for lot in account.new_lots}
    assert lots == granted
    keys = {each.id: each.key for each in defined}
    earned = [e for e in account.entries if e.source == "achievement"]
    assert [e.reference for e in earned] == [keys[u.achievement_id] for u in unlocked if u.points]
    paid = owed - account.owed_points
    assert account.lifetime_earned == before + sum(granted.values()) - paid


def test_points_reach_the_next_and_so_on() -> None:
    """Three, each by the points of the one before; the fourth is out of reach."""
    account = Account(1, tasks_completed=1, lifetime_earned=10, points=10, ranked_points=10)
    defined = [
        definition(1, "points_earned", 300, 50),
        definition(2, "points_earned", 110, 200),
        definition(3, "tasks_completed", 1, 100),
        definition(4, "points_earned", 361, 5),
    ]
    assert [each.achievement_id for each in run(account, defined)] == [3, 2, 1]
    assert account.points == 360


def test_an_account_without_room_gets_it_without_the_points() -> None:
    """And those that still fit are granted."""
    full = MAX_POINTS - 10
    account = Account(1, best_streak=7, lifetime_earned=full, points=full)
    defined = [definition(1, "best_streak", 7, 11), definition(2, "best_streak", 7, 10)]
    assert [(e.achievement_id, e.points) for e in run(account, defined)] == [(1, 0), (2, 10)]
    assert account.points == MAX_POINTS


def test_a_rank_is_reached_from_below() -> None:
    """Tenth is among the ten, eleventh is not, and who never stood anywhere is not."""
    top_ten = definition(1, "weekly_rank", 10)
    for rank, is_reached in ((1, True), (10, True), (11, False), (None, False)):
        assert top_ten.is_reached_by(Account(1, best_weekly_rank=rank)) is is_reached


def test_an_opening_balance_was_not_earned() -> None:
    """What counts on boards does here; and never below nothing."""
    assert Account(1, lifetime_earned=500, ranked_points=100).points_earned == 100
    assert Account(1, lifetime_earned=300, ranked_points=-100).points_earned == 0


@given(st.integers(0, 5), st.integers(1, 5))
def test_a_target_that_is_passed_without_a_look_is_not_forgotten(count: int, target: int) -> None:
    """The version noted with the movement is 0, so that the next one looks."""
    ahead = Milestones(checked=2, current=2, exchanges_made=target)
    account = Account(1, exchanges_made=count, ahead=ahead)
    assert account.achievements_version == (0 if count >= target else 2)


def test_the_last_granted_request_of_a_member_tells() -> None:
    """Not a refused one, and not an earlier answer that is given again."""
    requests = [
        CompletionRequest(user_id, 1, is_verified=False, lot_id=UUID(int=1))
        for user_id in (1, 2, 1, 1, 1)
    ]
    done = Placed(UUID(int=1), points_used=1, remaining_points=1, replayed=False)
    again = replace(done, replayed=True)
    outcomes: list[Any] = [done, done, done, InvalidState("x"), again]
    assert tell_unlocked(requests, outcomes, {1: [7, 8]}) == [2]
    assert outcomes[2].unlocked == (7, 8)
    assert [outcomes[place].unlocked for place in (0, 1, 4)] == [()] * 3
