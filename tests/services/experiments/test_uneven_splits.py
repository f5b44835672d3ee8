"""Always valid, though nine of ten or 99 of 100 users see the same: the careful way to begin.

Experiments whose truth is known, looked at each evening. Rare conversions and skewed amounts: there
the small side's own variance is a bad guess for weeks. Seeds are fixed.
"""

from collections.abc import Callable, Iterator

import numpy as np
import pytest

from services.experiments.statistics import (
    ALPHA,
    Estimate,
    Moments,
    estimate_mean,
    estimate_share,
    share_moments,
)

_EXPERIMENTS, _EVENINGS = 400, 40
Array = np.ndarray
Amounts = Callable[[np.random.Generator, int], Array]


def _shares(
    random: np.random.Generator, rates: tuple[float, float], share: float, users_a_day: int
) -> Iterator[list[Estimate]]:
    """What each experiment says evening by evening; rates are the variant's and the baseline's."""
    size = (_EXPERIMENTS, _EVENINGS)
    shown = random.binomial(users_a_day, share, size)
    sides = np.stack([shown, users_a_day - shown])
    converted = random.binomial(sides, np.reshape(rates, (2, 1, 1)))
    sums = np.stack([sides.cumsum(2), converted.cumsum(2)], 3).transpose(1, 2, 0, 3)
    for experiment in sums.tolist():
        yield [
            estimate_share(share_moments(*one), share_moments(*other))
            for one, other in experiment
            if min(one[0], other[0]) > 0
        ]


def _means(
    random: np.random.Generator, amounts: Amounts, share: float, users_a_day: int
) -> Iterator[list[Estimate]]:
    """The same of amounts that are alike on both sides."""
    users = users_a_day * _EVENINGS
    evenings = np.arange(users_a_day, users + 1, users_a_day) - 1
    for _ in range(_EXPERIMENTS):
        shown, values = random.random(users) < share, amounts(random, users)
        sides = [_moments_of(values * mask, mask, evenings) for mask in (shown, ~shown)]
        yield [
            estimate_mean(one, other)
            for one, other in zip(*sides, strict=True)
            if min(one.users, other.users) > 1
        ]


def _moments_of(values: Array, mask: Array, evenings: Array) -> list[Moments]:
    counts, sums, squares = (
        each.cumsum()[evenings] for each in (mask, values, values.astype(float) ** 2)
    )
    means = sums / np.maximum(counts, 1)
    variances = np.maximum(squares - counts * means**2, 0) / np.maximum(counts - 1, 1)
    return [
        Moments(*each)
        for each in zip(counts.tolist(), means.tolist(), variances.tolist(), strict=True)
    ]


def _ever_misses(evenings: list[Estimate], truth: float) -> bool:
    """Whether an interval leaves out the true difference on any evening."""
    intervals = [each.sequential_interval for each in evenings]
    return any(each is not None and not each[0] <= truth <= each[1] for each in intervals)


def _ever_alarms(evenings: list[Estimate]) -> bool:
    p_values = [each.sequential_p_value for each in evenings]
    return any(each is not None and each < ALPHA for each in p_values)


@pytest.mark.parametrize(
    ("rate", "share", "users_a_day"),
    [
        (0.01, 0.1, 200),
        (0.01, 0.1, 1_000),
        (0.1, 0.05, 200),
        (0.2, 0.01, 200),
        (0.02, 0.01, 500),
        (0.9, 0.01, 500),
        (0.001, 0.01, 5_000),
        (0.01, 0.9, 500),
        (0.02, 0.99, 500),
    ],
)
def test_rare_conversions_raise_no_alarm(rate: float, share: float, users_a_day: int) -> None:
    """5 % of A/A experiments at the most ever do, by the p-value and by the interval alike."""
    found = list(_shares(np.random.default_rng(11), (rate, rate), share, users_a_day))
    alarms = [_ever_alarms(each) for each in found]
    assert sum(alarms) <= ALPHA * _EXPERIMENTS
    assert alarms == [_ever_misses(each, 0) for each in found]


@pytest.mark.parametrize(
    ("rates", "share"),
    [
        ((0.12, 0.1), 0.01),
        ((0.1, 0.2), 0.01),
        ((0.02, 0.01), 0.1),
        ((0.01, 0.001), 0.01),
        ((0.001, 0.01), 0.99),
    ],
)
def test_intervals_hold_a_difference_that_there_is(
    rates: tuple[float, float], share: float
) -> None:
    """On every evening at once, in 95 % of the experiments at the least."""
    found = _shares(np.random.default_rng(12), rates, share, 2_000)
    missed = sum(_ever_misses(each, rates[0] - rates[1]) for each in found)
    assert missed <= ALPHA * _EXPERIMENTS


def _long_tailed(random: np.random.Generator, users: int) -> Array:
    return random.lognormal(0, 1.5, users)


def _seldom_any(random: np.random.Generator, users: int) -> Array:
    """Two of a hundred spend, and then very differently."""
    return (random.random(users) < 0.02) * random.lognormal(0, 1, users)


@pytest.mark.parametrize("share", [0.1, 0.02, 0.01])
@pytest.mark.parametrize("amounts", [_long_tailed, _seldom_any])
def test_skewed_amounts_raise_no_alarm(amounts: Amounts, share: float) -> None:
    """Nor do means: 5 % of A/A experiments at the most ever do."""
    found = _means(np.random.default_rng(13), amounts, share, 300)
    assert sum(map(_ever_alarms, found)) <= ALPHA * _EXPERIMENTS


def test_a_lift_is_still_found() -> None:
    """15 % instead of 10 %, shown to one in ten of 40,000: caution does not make it blind."""
    found = _shares(np.random.default_rng(14), (0.15, 0.1), 0.1, 1_000)
    assert sum(map(_ever_alarms, found)) > 0.95 * _EXPERIMENTS
