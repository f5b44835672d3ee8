"""The breaker, by a table and against a model that knows only what happened."""

from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.notifications.breaker import Attempt, Breaker, Open
from tests.services.notifications.providers.conftest import UnixClock

FAILURES, OPEN_S = 3, 30.0


def breaker_at(clock: UnixClock) -> Breaker:
    return Breaker("test", FAILURES, OPEN_S, clock)


def try_once(breaker: Breaker, *, fails: bool, after_s: float | None = None) -> bool:
    """Ask and settle; tell whether there was leave."""
    leave = breaker.admit()
    if isinstance(leave, Attempt):
        breaker.settle(leave, failed=fails, after_s=after_s)
    return isinstance(leave, Attempt)


@pytest.mark.parametrize(
    ("fails", "is_open"),
    [
        ([True] * 2, False),
        ([True] * 3, True),
        ([True, True, False, True, True], False),
        ([True, False, True, True, True], True),
    ],
)
def test_it_opens_after_so_many_failures_in_a_row(fails: list[bool], is_open: bool) -> None:
    """One success between them, and counting begins anew."""
    breaker = breaker_at(UnixClock(0.0))
    for one in fails:
        assert try_once(breaker, fails=one)
    assert isinstance(breaker.admit(), Open) == is_open


def test_what_was_under_way_together_fails_as_one() -> None:
    """Also what ends after others have begun."""
    breaker = breaker_at(UnixClock(0.0))
    together = [breaker.admit() for _ in range(100)]
    for attempt in together[:50]:
        breaker.settle(attempt, failed=True)
    assert try_once(breaker, fails=True)
    for attempt in together[50:]:
        breaker.settle(attempt, failed=True)
    assert try_once(breaker, fails=True)
    assert breaker.admit() == Open(OPEN_S)


def test_somebody_hears_how_long_it_has_been_down() -> None:
    """From when it opened, with every probe that fails; not of a provider that only rests."""
    clock, heard = UnixClock(0.0), list[tuple[str, float]]()
    breaker = Breaker("test", FAILURES, OPEN_S, clock, lambda *each: heard.append(each))
    for _ in range(FAILURES):
        try_once(breaker, fails=True)
    for _ in range(2):
        clock.now += OPEN_S
        try_once(breaker, fails=True)
    assert heard == [("test", 0.0), ("test", OPEN_S), ("test", 2 * OPEN_S)]
    clock.now += OPEN_S
    try_once(breaker, fails=False)
    leave = breaker.admit()
    assert isinstance(leave, Attempt)
    breaker.rest(leave, OPEN_S)
    clock.now += OPEN_S
    for _ in range(FAILURES - 1):
        try_once(breaker, fails=True)
    assert len(heard) == 3
    try_once(breaker, fails=True)
    assert heard[3:] == [("test", 0.0)]


def test_one_probe_decides() -> None:
    """Nobody else gets leave meanwhile, and what began before it opened has no say."""
    clock = UnixClock(0.0)
    breaker = breaker_at(clock)
    straggler = breaker.admit()
    for _ in range(FAILURES):
        try_once(breaker, fails=True)
    clock.advance(12)
    assert breaker.admit() == Open(18)
    breaker.settle(straggler, failed=False)
    assert breaker.admit() == Open(18)
    clock.advance(18)
    probe = breaker.admit()
    assert isinstance(probe, Attempt)
    assert breaker.admit() == Open(2.0)
    breaker.settle(probe, failed=True)
    assert breaker.admit() == Open(OPEN_S)
    clock.advance(OPEN_S)
    assert try_once(breaker, fails=False)
    assert try_once(breaker, fails=True)


def test_a_probe_that_comes_to_no_end_leaves_room_for_another() -> None:
    """Its worker was stopped."""
    clock = UnixClock(0.0)
    breaker = breaker_at(clock)
    for _ in range(FAILURES):
        try_once(breaker, fails=True)
    clock.advance(OPEN_S)
    breaker.settle(breaker.admit(), failed=None)
    assert try_once(breaker, fails=False)


@pytest.mark.parametrize(("asked_s", "open_s"), [(120, 120), (5, 30), (None, 30)])
def test_it_stays_open_as_long_as_the_provider_asks(asked_s: float | None, open_s: float) -> None:
    """But not for less than its own time."""
    breaker = breaker_at(UnixClock(0.0))
    for _ in range(FAILURES):
        try_once(breaker, fails=True, after_s=asked_s)
    assert breaker.admit() == Open(open_s)


def test_a_provider_that_wants_a_rest_has_it() -> None:
    """As long as it asks, then one probe; and that was no failure."""
    clock = UnixClock(0.0)
    breaker = breaker_at(clock)
    for rest_s in (20.0, 40.0):
        leave = breaker.admit()
        assert isinstance(leave, Attempt)
        breaker.rest(leave, rest_s)
        assert breaker.admit() == Open(rest_s)
        clock.advance(rest_s)
    assert try_once(breaker, fails=False)
    assert [try_once(breaker, fails=True) for _ in range(FAILURES)] == [True] * FAILURES


@dataclass
class Naive:
    """What a breaker must do, when attempts come one after the other."""

    results: list[bool] = field(default_factory=list)
    opened_at: float | None = None

    def gives_leave(self, now: float) -> bool:
        return self.opened_at is None or now >= self.opened_at + OPEN_S

    def note(self, fails: bool, now: float) -> None:
        self.results.append(fails)
        if not fails:
            self.opened_at = None
        elif self.opened_at is not None or self.results[-FAILURES:] == [True] * FAILURES:
            self.opened_at = now


@given(st.lists(st.tuples(st.booleans(), st.sampled_from([0.0, 1.0, 29.0, 30.0, 31.0]))))
def test_it_does_what_the_rule_says(steps: list[tuple[bool, float]]) -> None:
    """Whatever comes, one after the other, with whatever time between."""
    clock, naive = UnixClock(0.0), Naive()
    breaker = breaker_at(clock)
    for fails, pause_s in steps:
        clock.advance(pause_s)
        expected = naive.gives_leave(clock.now)
        assert try_once(breaker, fails=fails) == expected
        if expected:
            naive.note(fails, clock.now)


@given(st.lists(st.tuples(st.sampled_from("asfu"), st.floats(0, 40)), max_size=60))
def test_it_never_stays_shut_for_ever(steps: list[tuple[str, float]]) -> None:
    """After any interleaving: with nothing under way and its time over, there is leave again."""
    clock = UnixClock(0.0)
    breaker = breaker_at(clock)
    under_way: list[Attempt] = []
    for step, pause_s in steps:
        clock.advance(pause_s)
        if step == "a":
            leave = breaker.admit()
            under_way += [leave] if isinstance(leave, Attempt) else []
            assert sum(attempt.is_probe for attempt in under_way) <= 1
        elif under_way:
            failed = {"s": False, "f": True, "u": None}[step]
            breaker.settle(under_way.pop(len(steps) % len(under_way)), failed=failed)
    for attempt in under_way:
        breaker.settle(attempt, failed=None)
    clock.advance(OPEN_S)
    assert isinstance(breaker.admit(), Attempt)
