"""Whether users are split as the weights say: every variant is looked at, however rare."""

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from models.experiments import BUCKETS
from services.experiments.sample_ratio import (
    RATIO_ALPHA,
    is_sample_ratio_off,
    sample_ratio_p_value,
)

_SPLITS = 20_000


def test_the_split_is_checked_by_chi_square() -> None:
    """As scipy's, against the buckets of the weights; nothing to check without a split."""
    users, shares = [4_600, 5_400], [5_000, 5_000]
    assert sample_ratio_p_value(users, shares) == pytest.approx(stats.chisquare(users).pvalue)
    assert is_sample_ratio_off(users, shares)
    assert not is_sample_ratio_off([4_950, 5_050], shares)
    three = [1_000, 2_000, 7_000]
    expected = stats.chisquare([110, 190, 700], [100, 200, 700]).pvalue
    assert sample_ratio_p_value([110, 190, 700], three) == pytest.approx(expected)
    assert sample_ratio_p_value([10], [10_000]) is None
    assert sample_ratio_p_value([0, 0], shares) is None
    assert not is_sample_ratio_off([0, 0], shares)
    assert not is_sample_ratio_off([10], [10_000])


@pytest.mark.parametrize(
    ("users", "shares"),
    [
        ([9_200, 10_800, 4], [4_999, 4_999, 2]),  # the common ones are off, the rare one is not
        ([10_000, 10_000, 200], [4_999, 4_999, 2]),  # the rare one is off
        ([10_000, 10_000, 30, 30], [4_998, 4_998, 2, 2]),  # both rare ones together
        ([200, 200], [9_900, 100]),  # the rare one of two expects 4
        ([60, 0], [9_000, 1_000][::-1]),  # and the common one has nobody
        ([0, 12], [5_000, 5_000]),
        ([14, 0, 0], [3_334, 3_333, 3_333]),  # nobody expects five
    ],
)
def test_a_rare_variant_hides_nothing(users: list[int], shares: list[int]) -> None:
    """Nor does it take the others' check away."""
    assert is_sample_ratio_off(users, shares)
    assert is_sample_ratio_off(users[::-1], shares[::-1])


@pytest.mark.parametrize(
    ("users", "shares"),
    [
        ([10_000, 10_000, 4], [4_999, 4_999, 2]),
        ([10_000, 10_000, 0], [4_999, 4_999, 2]),
        ([396, 4], [9_900, 100]),
        ([396, 12], [9_900, 100]),
        ([0, 1], [9_900, 100]),  # one user of a rare variant: chi-square says p = 10^-23
        ([0, 5], [5_000, 5_000]),
        ([1, 0, 2], [3_334, 3_333, 3_333]),
    ],
)
def test_what_chance_does_is_not_flagged(users: list[int], shares: list[int]) -> None:
    """However far off chi-square would find a handful of users."""
    assert not is_sample_ratio_off(users, shares)


def test_two_variants_of_which_one_is_rare_are_checked_exactly() -> None:
    """Twice the smaller tail of scipy's binomial distribution."""
    for seen in (0, 1, 4, 12, 15, 400):
        tails = stats.binom.cdf(seen, 400, 0.01), stats.binom.sf(seen - 1, 400, 0.01)
        found = sample_ratio_p_value([400 - seen, seen], [9_900, 100])
        assert found == pytest.approx(min(2 * min(tails), 1))


@pytest.mark.parametrize(
    ("users", "weights"),
    [(400, [9_900, 100]), (20_000, [4_999, 4_999, 2]), (60, [2_500] * 4), (12, [2_500] * 4)],
)
def test_chance_flags_one_in_a_thousand(users: int, weights: Sequence[int]) -> None:
    """At the most, of 20,000 splits by chance."""
    random, chances = np.random.default_rng(8), [weight / BUCKETS for weight in weights]
    splits = random.multinomial(users, chances, _SPLITS).tolist()
    flagged = sum(is_sample_ratio_off(split, weights) for split in splits)
    assert flagged <= stats.binom.ppf(0.999, _SPLITS, RATIO_ALPHA)


@given(st.lists(st.tuples(st.integers(0, 10**9), st.integers(1, BUCKETS)), max_size=50))
def test_it_is_a_probability(cells: list[tuple[int, int]]) -> None:
    """Whatever the users and the weights."""
    users, shares = ([each[of] for each in cells] for of in (0, 1))
    found = sample_ratio_p_value(users, shares)
    assert (found is None) == (sum(users) == 0 or len(cells) < 2)
    assert found is None or 0 <= found <= 1
