"""Figures against their goals: reached is met, both ways; what is not known is not judged."""

import math

import pytest

from services.kpis.rates import exchange_rate, expiry_rate, share
from services.kpis.targets import GOALS, Goal, judge


@pytest.mark.parametrize("goal", GOALS, ids=lambda goal: goal.metric)
def test_a_goal_that_is_just_reached_is_met(goal: Goal) -> None:
    """And missed by the least there is."""
    ceiling = {"average_exchange_cycle_days", "api_latency_p95_ms", "expiry_rate"}
    worse = math.nextafter(goal.target, math.inf if goal.metric in ceiling else -math.inf)
    for actual, is_met in ((goal.target, True), (worse, False), (None, None)):
        judged = judge({each.metric: actual for each in GOALS})
        (found,) = [each for each in judged if each.metric == goal.metric]
        assert (found.target, found.actual, found.is_met) == (goal.target, actual, is_met)


def test_rates() -> None:
    """Null where there is nothing to divide by; what was put back is not spent."""
    assert share(1, 4) == 0.25
    assert share(0, 0) is None
    assert exchange_rate(1, 5) == 0.2
    assert exchange_rate(0, 0) is None
    assert expiry_rate(30, 70) == 0.3
    assert expiry_rate(30, -70) == 1
    assert expiry_rate(0, -70) is None
    assert expiry_rate(0, 70) == 0
