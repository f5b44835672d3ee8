"""Properties of deciding check-ins: once a local day, streaks, bonuses."""

from datetime import UTC, date, datetime, timedelta
from uuid import uuid4

import hypothesis.strategies as st
import pytest
from hypothesis import example, given

from services.errors import NotFound
from services.points.account import Account
from services.tasks.check_in import (
    CheckedIn,
    CheckInRequest,
    LastCheckIn,
    bonus_on,
    decide,
    next_bonus,
    running_streak,
)
from services.tasks.rules import TaskNotCompletable
from tests.services.points.accounts import NOW
from tests.services.tasks.settlements import ZONE

MIDNIGHT = datetime(2026, 11, 20, 16, tzinfo=UTC)  # in Shanghai
REQUEST = CheckInRequest(1, is_verified=False, lot_id=uuid4())
BONUSES = {3: 5, 7: 20, 14: 50, 30: 100, 60: 100, 90: 100, 120: 100, 150: 100, 180: 100}
GAPS = st.lists(st.sampled_from([1] * 12 + [0, 2, 3]), max_size=150)


def _check_in(account: Account, last: dict[int, LastCheckIn], now: datetime) -> CheckedIn | None:
    try:
        return decide(account, last, REQUEST, now, ZONE)
    except TaskNotCompletable:
        return None


@given(GAPS)
@example([1] * 200)
def test_a_streak_counts_consecutive_days(gaps: list[int]) -> None:
    """A missed day starts it anew; a second time on a day is refused and changes nothing."""
    account, last = Account(1), dict[int, LastCheckIn]()
    now, streak, points = NOW, 0, 0
    for gap in [1, *gaps]:
        now += timedelta(days=gap)
        done = _check_in(account, last, now)
        assert (done is None) == (gap == 0)
        if done is not None:
            streak = streak + 1 if gap == 1 else 1
            points += 5 + BONUSES.get(streak, 0)
            assert (done.streak, done.points) == (streak, 5 + BONUSES.get(streak, 0))
            assert done.bonus_points == BONUSES.get(streak, 0)
        assert account.points == points
    assert len(account.new_lots) == len({entry.sequence for entry in account.entries})


@given(st.integers(0, 400))
def test_the_next_bonus_is_the_nearest_day_that_has_one(streak: int) -> None:
    """Ahead of the streak, worth something, and nothing in between is."""
    ahead = next_bonus(streak)
    assert ahead.streak > streak
    assert ahead.points == bonus_on(ahead.streak) > 0
    assert all(bonus_on(day) == 0 for day in range(streak + 1, ahead.streak))


@given(st.integers(1, 2_000))
def test_a_bonus_falls_on_the_days_that_are_promised(streak: int) -> None:
    """Days 3, 7, 14, 30 and every 30th after."""
    promised = BONUSES.get(streak, 100 if streak > 30 and streak % 30 == 0 else 0)
    assert bonus_on(streak) == promised


def test_a_day_ends_at_midnight_of_the_mall() -> None:
    """A second before and at midnight are two days, and consecutive ones."""
    account, last = Account(1), dict[int, LastCheckIn]()
    before = decide(account, last, REQUEST, MIDNIGHT - timedelta(seconds=1), ZONE)
    after = decide(account, last, REQUEST, MIDNIGHT, ZONE)
    assert (before.day, before.streak) == (date(2026, 11, 20), 1)
    assert (after.day, after.streak) == (date(2026, 11, 21), 2)
    with pytest.raises(TaskNotCompletable) as refused:
        decide(account, last, REQUEST, MIDNIGHT + timedelta(hours=23, minutes=59), ZONE)
    assert refused.value.available_again_at == MIDNIGHT + timedelta(days=1)


@given(st.integers(1, 3))
def test_a_clock_that_goes_back_gives_no_second_day(days: int) -> None:
    """Another process may be a little behind: a day before the last one is refused."""
    account, last = Account(1), dict[int, LastCheckIn]()
    decide(account, last, REQUEST, NOW, ZONE)
    assert _check_in(account, last, NOW - timedelta(days=days)) is None
    assert (account.points, len(account.entries)) == (5, 1)


@given(st.integers(0, 5), st.integers(1, 40))
def test_a_streak_runs_until_a_whole_day_was_missed(days: int, streak: int) -> None:
    """Yesterday's still stands today; the day before yesterday's is over."""
    today = date(2026, 11, 20)
    last = LastCheckIn(today - timedelta(days=days), streak)
    assert running_streak(last, today) == (streak if days <= 1 else 0)
    assert running_streak(None, today) == 0


def test_nobody_unknown_checks_in() -> None:
    """A user without an account is refused."""
    with pytest.raises(NotFound):
        decide(None, {}, REQUEST, NOW, ZONE)
