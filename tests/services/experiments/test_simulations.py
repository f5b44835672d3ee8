"""Thousands of experiments whose truth is known: how often each kind of answer is wrong.

Vectorised: the samples are numpy's, the answers those of the mall. Seeds are fixed, so that a
failure is a change; bounds are binomial, so that it is not chance either.
"""

from collections.abc import Iterable
from math import sqrt

import numpy as np
from scipy import stats

from services.experiments.buckets import VARIANT, bucket_of
from services.experiments.sample_ratio import is_sample_ratio_off
from services.experiments.statistics import (
    ALPHA,
    Estimate,
    Moments,
    estimate_mean,
    estimate_share,
    moments,
    ratio_moments,
    share_moments,
)

EXPERIMENTS = 1_000
_ODDS = 0.999
Array = np.ndarray


def bounds(share: float, experiments: int = EXPERIMENTS) -> tuple[float, float]:
    """So many of the experiments may be wrong, if a share of them is."""
    low, high = stats.binom.interval(_ODDS, experiments, share)
    return float(low), float(high)


def _ratios(samples: Array, totals: Array) -> list[Moments]:
    """The mean over samples of each experiment (row) from its users (columns)."""
    users = samples.shape[1]
    spread = (samples - samples.mean(1, keepdims=True)) * (totals - totals.mean(1, keepdims=True))
    return [
        ratio_moments(
            moments(users, float(row_samples.mean()), float(row_samples.var(ddof=1))),
            moments(users, float(row_totals.mean()), float(row_totals.var(ddof=1))),
            float(row_spread.sum() / (users - 1)),
            0.0,
        )
        for row_samples, row_totals, row_spread in zip(samples, totals, spread, strict=True)
    ]


def _people(random: np.random.Generator, users: int) -> tuple[Array, Array]:
    """Samples and totals of users who differ: who comes more often also spends more each time."""
    taste = random.normal(0, 1, (EXPERIMENTS, users))
    samples = 1.0 + random.poisson(np.exp(0.5 + 0.5 * taste))
    return samples, samples * (5 + taste) + np.sqrt(samples) * random.normal(0, 1, taste.shape)


def _alarms(estimates: Iterable[Estimate]) -> int:
    p_values = [each.p_value for each in estimates]
    return sum(p_value is not None and p_value < ALPHA for p_value in p_values)


def test_false_alarms_of_means_are_five_percent() -> None:
    """1,000 A/A experiments, of one skewed sample each, and of many by users who differ."""
    random = np.random.default_rng(1)
    low, high = bounds(ALPHA)
    spent = random.exponential(20, (2, EXPERIMENTS, 400))
    sides = [
        [Moments(400, float(row.mean()), float(row.var(ddof=1))) for row in side] for side in spent
    ]
    assert low <= _alarms(map(estimate_mean, *sides)) <= high
    sides = [_ratios(*_people(random, 400)) for _ in range(2)]
    assert low <= _alarms(map(estimate_mean, *sides)) <= high


def test_samples_taken_for_users_would_cry_wolf() -> None:
    """The same experiments with every sample its own unit: far beyond the bound."""
    random = np.random.default_rng(1)
    alarms = 0
    taste = random.normal(0, 1, (2, EXPERIMENTS, 100))
    for one, other in zip(*taste, strict=True):
        sides = (np.repeat(side, 10) + random.normal(0, 0.5, 1_000) for side in (one, other))
        naive = [Moments(1_000, float(side.mean()), float(side.var(ddof=1))) for side in sides]
        alarms += _alarms([estimate_mean(*naive)])
    assert alarms > 4 * bounds(ALPHA)[1]


def test_false_alarms_of_conversions_are_five_percent() -> None:
    """1,000 A/A experiments of 2,000 users a side."""
    random = np.random.default_rng(2)
    counts = random.binomial(2_000, 0.1, (EXPERIMENTS, 2)).tolist()
    found = [
        estimate_share(share_moments(2_000, one), share_moments(2_000, other))
        for one, other in counts
    ]
    low, high = bounds(ALPHA)
    assert low <= _alarms(found) <= high


def test_looking_every_day_does_no_harm_to_what_is_always_valid() -> None:
    """1,000 A/A experiments, looked at on each of 40 days: 5 % of them at the most ever alarm.

    Of the fixed ones far more do: that is why there are others.
    """
    random, days, a_day = np.random.default_rng(3), 40, 250
    arrivals = random.binomial(a_day, 0.2, (EXPERIMENTS, 2, days)).cumsum(2)
    spent = random.gamma(2, 3, (EXPERIMENTS, 2, days * a_day)).astype(np.float32)
    ever = {"fixed share": 0, "share": 0, "fixed mean": 0, "mean": 0}
    for counts, values in zip(arrivals.tolist(), spent, strict=True):
        seen = set()
        for day, users in enumerate(range(a_day, days * a_day + 1, a_day)):
            one, other = (share_moments(users, counts[side][day]) for side in (0, 1))
            own, others = (_moments_until(values[side], users) for side in (0, 1))
            for kind, found in (
                ("share", estimate_share(one, other)),
                ("mean", estimate_mean(own, others)),
            ):
                seen |= {f"fixed {kind}"} if _alarms([found]) else set()
                seen |= {kind} if _is_sequential_alarm(found) else set()
        for kind in seen:
            ever[kind] += 1
    for kind in ("share", "mean"):
        assert ever[kind] <= ALPHA * EXPERIMENTS, ever
        assert ever[f"fixed {kind}"] > 3 * ALPHA * EXPERIMENTS, ever


def _moments_until(values: Array, users: int) -> Moments:
    some = values[:users]
    return Moments(users, float(some.mean()), float(some.var(ddof=1)))


def _is_sequential_alarm(found: Estimate) -> bool:
    return found.sequential_p_value is not None and found.sequential_p_value < ALPHA


def test_looking_early_does_no_harm_either() -> None:
    """After every user from the second on, where variances are hardly known: 5 % at the most."""
    random, users = np.random.default_rng(4), 200
    values = random.normal(0, 1, (EXPERIMENTS, 2, users))
    counts = np.arange(1, users + 1)
    means = values.cumsum(2) / counts
    squares = (values**2).cumsum(2) - counts * means**2
    alarms = 0
    for experiment in range(EXPERIMENTS):
        for user in range(1, users):
            sides = [
                Moments(user + 1, float(mean[user]), max(float(square[user]) / user, 0.0))
                for mean, square in zip(means[experiment], squares[experiment], strict=True)
            ]
            if _is_sequential_alarm(estimate_mean(*sides)):
                alarms += 1
                break
    assert alarms <= ALPHA * EXPERIMENTS


def _users_for_power(variances: float, difference: float, power: float) -> int:
    """The textbook's number of users a side, `variances` of both together."""
    quantiles = stats.norm.ppf(1 - ALPHA / 2) + stats.norm.ppf(power)
    return int(np.ceil(quantiles**2 * variances / difference**2))


def test_a_lift_of_ten_percent_is_found_with_the_power_promised() -> None:
    """80 % of 1,000 experiments, of conversions (20 % to 22 %) and of means."""
    random, (low, high) = np.random.default_rng(5), bounds(0.8)
    users = _users_for_power(0.2 * 0.8 + 0.22 * 0.78, 0.02, 0.8)
    counts = random.binomial(users, [0.22, 0.2], (EXPERIMENTS, 2)).tolist()
    shares = [
        estimate_share(share_moments(users, one), share_moments(users, other))
        for one, other in counts
    ]
    assert low <= _alarms(shares) <= high
    users = _users_for_power(2 * 0.25, 0.1, 0.8)
    values = random.normal([[[1.1], [1.0]]], 0.5, (EXPERIMENTS, 2, users))
    means = [
        estimate_mean(_moments_until(one, users), _moments_until(other, users))
        for one, other in values
    ]
    assert low <= _alarms(means) <= high
    lifts = [each.lift for each in means if each.lift is not None]
    spread = 0.5 * sqrt(2 / users)
    assert abs(np.mean(lifts) - 0.1) < 5 * spread / sqrt(EXPERIMENTS)


def test_intervals_hold_the_truth() -> None:
    """Of difference and lift, in 95 % of 1,000 experiments; always valid ones in no fewer."""
    random, users = np.random.default_rng(6), 300
    values = random.gamma(4, [[[1.1 / 4], [1.0 / 4]]], (EXPERIMENTS, 2, users))
    found = [
        estimate_mean(_moments_until(one, users), _moments_until(other, users))
        for one, other in values
    ]
    low, high = bounds(1 - ALPHA)
    for truth, name in ((0.1, "difference_interval"), (0.1, "lift_interval")):
        intervals = [getattr(each, name) for each in found]
        assert low <= sum(begin <= truth <= end for begin, end in intervals) <= high, name
    sequential = [each.sequential_interval or (1, 0) for each in found]
    assert sum(begin <= 0.1 <= end for begin, end in sequential) >= low


def test_a_split_of_46_to_54_is_flagged_and_chance_is_not() -> None:
    """Of 10,000 users every time; of 1,000 splits by our own hash no more than chance flags."""
    random, shares = np.random.default_rng(7), [5_000, 5_000]
    for first in random.binomial(10_000, 0.46, EXPERIMENTS).tolist():
        assert is_sample_ratio_off([first, 10_000 - first], shares)
    flagged = 0
    for number in range(EXPERIMENTS):
        first = sum(bucket_of(f"salt {number}", VARIANT, user) < 5_000 for user in range(300))
        flagged += is_sample_ratio_off([first, 300 - first], shares)
    assert flagged <= bounds(0.001)[1]
