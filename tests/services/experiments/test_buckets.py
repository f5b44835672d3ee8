"""Buckets: the hash that must never change, shares of weights, independence, and traffic."""

from itertools import accumulate

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from models.experiments import BUCKETS
from services.experiments.buckets import (
    ENROLMENT,
    VARIANT,
    bucket_of,
    buckets_of_weights,
    is_enrolled,
    variant_index,
)

_SALT, _OTHER = "0123456789abcdef", "fedcba9876543210"
_USERS = 100_000
WEIGHTS = st.lists(st.floats(1e-6, 1e12), min_size=1, max_size=50)
SALTS = st.text(max_size=40)
USERS = st.integers(1, 2**63 - 1)


@pytest.mark.parametrize(
    ("salt", "purpose", "user_id", "bucket"),
    [
        (_SALT, ENROLMENT, 1, 7_149),
        (_SALT, VARIANT, 1, 5_349),
        (_SALT, ENROLMENT, 2, 7_521),
        (_SALT, VARIANT, 10**12, 1_543),
        ("盐", VARIANT, 42, 1_453),
        ("", ENROLMENT, 7, 3_296),
    ],
)
def test_the_hash_is_what_it_was(salt: str, purpose: str, user_id: int, bucket: int) -> None:
    """Golden vectors: another hash would show members another variant than they have seen.

    The first: `printf 0123456789abcdef:enrolment:1 | sha256sum` begins with `d1fa02641fed0e3d`.
    """
    assert bucket_of(salt, purpose, user_id) == bucket


def test_the_variants_are_what_they_were() -> None:
    """Of weights 1, 1 and 2."""
    seen = [variant_index(_SALT, user_id, [1, 1, 2]) for user_id in range(1, 13)]
    assert seen == [2, 2, 2, 0, 0, 0, 2, 2, 1, 0, 1, 1]


@given(WEIGHTS)
def test_buckets_are_shared_by_weight(weights: list[float]) -> None:
    """All of them, and none is off by more than one."""
    buckets = buckets_of_weights(weights)
    assert sum(buckets) == BUCKETS
    total = sum(weights)
    for weight, count in zip(weights, buckets, strict=True):
        assert abs(count - weight / total * BUCKETS) <= 1 + 1e-6


@given(WEIGHTS, SALTS, USERS)
def test_a_variant_has_its_buckets(weights: list[float], salt: str, user_id: int) -> None:
    """The first variants the lowest; nobody gets one that has none."""
    bounds = list(accumulate(buckets_of_weights(weights)))
    index = variant_index(salt, user_id, weights)
    bucket = bucket_of(salt, VARIANT, user_id)
    assert ([0, *bounds])[index] <= bucket < bounds[index]


@given(SALTS, USERS, st.integers(0, BUCKETS), st.integers(0, BUCKETS))
def test_raising_traffic_moves_nobody(salt: str, user_id: int, one: int, other: int) -> None:
    """Who takes part with less takes part with more; the variant does not ask for the traffic."""
    less, more = sorted((one, other))
    assert is_enrolled(salt, user_id, more) or not is_enrolled(salt, user_id, less)
    assert not is_enrolled(salt, user_id, 0)
    assert is_enrolled(salt, user_id, BUCKETS)


def _buckets(salt: str, purpose: str) -> np.ndarray:
    return np.array([bucket_of(salt, purpose, user_id) for user_id in range(1, _USERS + 1)])


def _independent(one: np.ndarray, other: np.ndarray, classes: int = 20) -> float:
    """The p-value of chi-square that one bucket tells nothing of the other."""
    width = BUCKETS // classes
    table = np.zeros((classes, classes))
    np.add.at(table, (one // width, other // width), 1)
    return stats.chi2_contingency(table).pvalue


def test_two_experiments_are_independent() -> None:
    """Over 100,000 users; and so are enrolment and variant of one; each bucket is as likely."""
    variant, other = _buckets(_SALT, VARIANT), _buckets(_OTHER, VARIANT)
    enrolment = _buckets(_SALT, ENROLMENT)
    assert _independent(variant, other) > 0.001
    assert _independent(variant, enrolment) > 0.001
    assert _independent(enrolment, _buckets(_OTHER, ENROLMENT)) > 0.001
    assert _independent(variant, variant) == 0  # the test can tell
    for buckets in (variant, other, enrolment):
        counted = np.bincount(buckets, minlength=BUCKETS)
        assert stats.chisquare(counted).pvalue > 0.001
