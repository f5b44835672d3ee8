"""Estimates against scipy's own, published examples, and what cannot be told."""

import math
import warnings
from dataclasses import astuple
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from services.experiments.statistics import (
    ALPHA,
    SEQUENTIAL_USERS,
    Estimate,
    Moments,
    estimate_mean,
    estimate_share,
    moments,
    ratio_moments,
    share_moments,
)
from tests.services.experiments.samples import of_samples

VALUES = st.lists(st.integers(-(10**12), 10**12).map(lambda n: n / 1_000), min_size=2, max_size=30)
MOMENTS = st.builds(
    Moments, st.integers(1, 10**9), st.floats(-1e15, 1e15), st.just(0.0) | st.floats(0, 1e30)
)
SHARES = st.integers(1, 10**9).flatmap(
    lambda users: st.builds(share_moments, st.just(users), st.integers(0, users))
)


@given(VALUES, VALUES)
def test_with_one_sample_each_it_is_welch(first: list[float], second: list[float]) -> None:
    """Difference, interval and p-value, to the rounding."""
    baseline, measured = (of_samples([[value] for value in each]) for each in (first, second))
    found = estimate_mean(measured, baseline)
    if measured.variance + baseline.variance == 0:
        assert (found.p_value, found.difference_interval) == (None, None)
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # scipy's of a constant
        expected: Any = stats.ttest_ind(second, first, equal_var=False)
        interval = expected.confidence_interval(1 - ALPHA)
    assert found.p_value == pytest.approx(expected.pvalue, rel=1e-4, abs=1e-9)
    size = max(map(abs, first + second))
    assert found.difference_interval == pytest.approx(tuple(interval), rel=1e-6, abs=1e-6 * size)


def test_an_interval_of_a_mean_is_students() -> None:
    """The baseline's own; it is compared to nothing."""
    values = [3.0, 4.5, 9.0, 1.0]
    found = estimate_mean(of_samples([[value] for value in values]))
    expected = stats.t.interval(0.95, 3, np.mean(values), stats.sem(values))
    assert found.interval == pytest.approx(expected)
    assert astuple(found)[2:] == (None,) * 7


def test_users_with_many_samples_count_once() -> None:
    """The delta method agrees with resampling whole users; samples taken for users would not."""
    random = np.random.default_rng(6)
    users = [list(random.normal(mean, 1, size)) for mean, size in _people(random, 400)]
    measured = of_samples(users)
    resampled = []
    for _ in range(2_000):
        chosen = random.integers(0, len(users), len(users))
        picked = np.concatenate([users[index] for index in chosen])
        resampled.append(picked.mean())
    error = math.sqrt(measured.squared_error)
    assert error == pytest.approx(np.std(resampled), rel=0.06)
    flat = np.concatenate(users)
    assert measured.mean == pytest.approx(flat.mean())
    assert error > 1.5 * stats.sem(flat)


def _people(random: np.random.Generator, count: int) -> list[tuple[float, int]]:
    """Of different means, and the larger the mean the more samples."""
    means = random.normal(0, 1, count)
    return [(mean, 1 + random.poisson(3 + 2 * max(mean, 0))) for mean in means]


@given(st.integers(1, 400), st.data())
def test_shares_are_scipys(users: int, data: st.DataObject) -> None:
    """Wilson's interval, and the pooled z-test as the chi-square of the table."""
    other = data.draw(st.integers(1, 400))
    converted = data.draw(st.integers(0, users)), data.draw(st.integers(0, other))
    baseline, measured = share_moments(users, converted[0]), share_moments(other, converted[1])
    found = estimate_share(measured, baseline)
    wilson = stats.binomtest(converted[1], other).proportion_ci(0.95, "wilson")
    assert found.interval == pytest.approx((wilson.low, wilson.high), abs=1e-12)
    table = [
        [converted[0], users - converted[0]],
        [converted[1], other - converted[1]],
    ]
    if not all(map(sum, zip(*table, strict=True))):
        assert found.p_value is None
        return
    expected = stats.chi2_contingency(table, correction=False).pvalue
    assert found.p_value == pytest.approx(expected, rel=1e-6)


def test_newcombes_example() -> None:
    """Newcombe 1998, example (a), method 10: 56 of 70 against 48 of 80."""
    found = estimate_share(share_moments(70, 56), share_moments(80, 48))
    assert found.difference_interval == pytest.approx((0.0524, 0.3339), abs=5e-5)


def test_the_interval_of_a_lift_is_fiellers() -> None:
    """For means: with an end for the true lift the test is just significant; mirrored below 0."""
    baseline, measured = Moments(50, 10.0, 16.0), Moments(50, 12.0, 25.0)
    found = estimate_mean(measured, baseline)
    assert found.lift == pytest.approx(0.2)
    assert found.lift_interval is not None
    quantile = stats.t.ppf(1 - ALPHA / 2, 49)
    for end in found.lift_interval:
        ratio = 1 + end
        error = math.sqrt(25 / 50 + ratio**2 * 16 / 50)
        assert abs(12 - ratio * 10) / error == pytest.approx(quantile)
    mirrored = estimate_mean(Moments(50, -12.0, 25.0), Moments(50, -10.0, 16.0))
    assert mirrored.lift == pytest.approx(-0.2)
    low, high = found.lift_interval
    assert mirrored.lift_interval == pytest.approx((-high, -low))


def test_the_interval_of_a_lift_covers_it() -> None:
    """Of shares, small ones too: in 95 % of 2,000 experiments, within the binomial bound."""
    random = np.random.default_rng(7)
    for baseline, treated in ((0.01, 0.012), (0.3, 0.3)):
        covered = 0
        counts = random.binomial(3_000, [[baseline, treated]] * 2_000)
        for one, other in counts.tolist():
            found = estimate_share(share_moments(3_000, other), share_moments(3_000, one))
            assert found.lift_interval is not None
            covered += found.lift_interval[0] <= treated / baseline - 1 <= found.lift_interval[1]
        assert stats.binom.interval(0.999, 2_000, 0.95)[0] <= covered


def test_an_always_valid_interval_is_wider() -> None:
    """Than one for a single look, least so where it is tuned; p-value and interval agree."""
    widths = []
    for users in (100, SEQUENTIAL_USERS // 2, 100 * SEQUENTIAL_USERS):
        found = estimate_mean(Moments(users, 1.1, 4.0), Moments(users, 1.0, 4.0))
        assert found.sequential_interval is not None
        assert found.difference_interval is not None
        low, high = found.sequential_interval
        widths.append((high - low) / (found.difference_interval[1] - found.difference_interval[0]))
        assert found.sequential_p_value is not None
        assert (found.sequential_p_value < ALPHA) == (not low <= 0 <= high)
    assert min(widths) == widths[1]
    assert 1.3 < widths[1] < 2


@given(SHARES, SHARES)
def test_always_valid_p_values_and_intervals_agree(measured: Moments, baseline: Moments) -> None:
    """Of shares too, whatever the split: one is below 5 % exactly where the other leaves out 0."""
    for found in (estimate_share(measured, baseline), estimate_mean(measured, baseline)):
        if found.sequential_interval is None:
            assert found.sequential_p_value is None
            continue
        low, high = found.sequential_interval
        assert found.sequential_p_value is not None
        if abs(found.sequential_p_value - ALPHA) > 1e-9:
            assert (found.sequential_p_value < ALPHA) == (not low <= 0 <= high)


def test_a_small_side_that_saw_nobody_convert_is_not_sure_of_it() -> None:
    """150 users of 15,000 where 2 of 100 convert: none by chance once in twenty times."""
    shares = estimate_share(share_moments(150, 0), share_moments(14_850, 297))
    means = estimate_mean(share_moments(150, 0), share_moments(14_850, 297))
    for found in (shares, means):
        assert found.sequential_interval is not None
        assert found.sequential_interval[0] < 0 < found.sequential_interval[1]
        assert found.sequential_p_value is not None
        assert found.sequential_p_value > 0.5


def test_what_cannot_be_told_is_none() -> None:
    """No samples, one user, no variance, a baseline of 0; never NaN, never an exception."""
    some, one = Moments(10, 2.0, 3.0), Moments(1, 2.0, 0.0)
    constant, zero = Moments(10, 2.0, 0.0), Moments(10, 0.0, 3.0)
    assert estimate_mean(None, some) == estimate_share(None, some) == Estimate()
    assert estimate_mean(some, None).difference is None
    for measured, baseline in ((one, some), (some, one), (constant, constant), (one, one)):
        found = estimate_mean(measured, baseline)
        assert found.difference == 0
        assert (found.p_value, found.difference_interval) == (None, None)
        assert (found.sequential_p_value, found.sequential_interval) == (None, None)
    assert estimate_mean(one).interval is None
    assert estimate_mean(constant).interval is None
    against_zero = estimate_mean(some, zero)
    assert (against_zero.lift, against_zero.lift_interval) == (None, None)
    assert against_zero.p_value is not None
    nobody, everybody = share_moments(10, 0), share_moments(10, 10)
    assert estimate_share(nobody, nobody).p_value is None
    assert estimate_share(nobody, nobody).lift is None
    assert estimate_share(everybody, everybody).p_value is None
    assert estimate_share(share_moments(1, 1), share_moments(1, 0)).lift is None


@given(st.tuples(MOMENTS, MOMENTS), st.tuples(SHARES, SHARES))
def test_everything_told_is_a_number(
    means: tuple[Moments, Moments], shares: tuple[Moments, Moments]
) -> None:
    """Whatever was measured; intervals begin below their end and hold their figure."""
    for found in (estimate_mean(*means), estimate_share(*shares)):
        for figure, interval in (
            (found.average, found.interval),
            (found.difference, found.difference_interval),
            (found.difference, found.sequential_interval),
            (found.lift, found.lift_interval),
        ):
            assert figure is None or math.isfinite(figure)
            if interval is not None:
                assert figure is not None
                slack = 1e-6 * max(1.0, *map(abs, interval))
                assert interval[0] - slack <= figure <= interval[1] + slack
        for p_value in (found.p_value, found.sequential_p_value):
            assert p_value is None or 0 <= p_value <= 1


def test_what_rounding_leaves_is_no_variance() -> None:
    """A mean of 0.1 whose variance is 10^-33 is a constant."""
    assert moments(10, 0.1, 1e-33).variance == 0
    assert moments(10, 0.1, None).variance == 0
    assert moments(10, 0.1, 1e-9).variance == 1e-9
    samples, totals = Moments(3, 2.0, 1.0), Moments(3, 0.0, 0.0)
    assert ratio_moments(samples, totals, 0.0, 5.0) == Moments(3, 5.0, 0.0)
