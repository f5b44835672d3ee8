"""The metrics, by hand and by what they can never do."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse import csr_array

from services.recommendations.metrics import average_precision, measure, ndcg, novelty
from services.recommendations.ranking import best, hits


def test_by_hand() -> None:
    """Two users, four places. The first wants three items and gets the first and the third."""
    ranked = np.array([[0, 1, 2, 3], [3, 2, 1, 0]])
    is_hit = np.array([[True, False, True, False], [False, False, False, True]])
    relevant = np.array([3, 1])
    popularity = np.array([8, 4, 2, 1, 0])
    found = measure(ranked, is_hit, relevant, popularity, 8)
    assert found.users == 2
    assert found.precision == pytest.approx((2 / 4 + 1 / 4) / 2)
    assert found.recall == pytest.approx((2 / 3 + 1 / 1) / 2)
    first = (1 + 1 / math.log2(4)) / (1 + 1 / math.log2(3) + 1 / math.log2(4))
    assert found.ndcg == pytest.approx((first + 1 / math.log2(5)) / 2)
    assert found.map == pytest.approx(((1 / 1 + 2 / 3) / 3 + (1 / 4) / 1) / 2)
    assert found.coverage == pytest.approx(4 / 5)
    assert found.novelty == pytest.approx((0 + 1 + 2 + 3) / 4)


def test_ideal_lists_are_no_longer_than_k() -> None:
    """Who wants a hundred items and gets two that fit, in a list of two, could not do better."""
    is_hit = np.array([[True, True]])
    assert ndcg(is_hit, np.array([100]))[0] == pytest.approx(1)
    assert average_precision(is_hit, np.array([100]))[0] == pytest.approx(1)


def test_what_nobody_took_is_as_new_as_what_one_did() -> None:
    """Else it would be infinitely new; places that hold nothing are none."""
    assert novelty(np.array([[0, 1, -1]]), np.array([0, 1]), 16) == pytest.approx(4)
    assert novelty(np.array([[-1]]), np.array([3]), 16) == 0


def test_nobody_to_measure() -> None:
    """Zeros, and no division by them."""
    found = measure(np.empty((0, 5), int), np.empty((0, 5), bool), np.empty(0, int), np.ones(3), 1)
    assert (found.users, found.ndcg, found.coverage) == (0, 0.0, 0.0)


@st.composite
def lists(draw: Any) -> tuple[Any, Any, Any, int]:
    """Scores, what was seen and what is wanted of some users, and k."""
    users, items = draw(st.integers(1, 6)), draw(st.integers(2, 9))
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    seen = random.random((users, items)) < draw(st.floats(0, 0.8))
    wanted = ~seen & (random.random((users, items)) < 0.5)
    wanted[~wanted.any(axis=1), 0] = True
    scores = random.integers(0, 4, (users, items)).astype(float)  # many are equal
    return scores, seen & ~wanted, wanted, draw(st.integers(1, 12))


@given(lists())
def test_nothing_leaves_its_bounds(case: Any) -> None:
    """All between 0 and 1; nobody is shown what they have seen, or anything twice."""
    scores, seen, wanted, k = case
    ranked = best(scores, csr_array(seen), k)
    is_hit = hits(ranked, csr_array(wanted))
    found = measure(ranked, is_hit, wanted.sum(axis=1), wanted.sum(axis=0), len(scores))
    for value in (found.precision, found.recall, found.ndcg, found.map, found.coverage):
        assert 0 <= value <= 1 + 1e-12
    assert found.novelty >= 0
    for row, places in enumerate(ranked.tolist()):
        there = [place for place in places if place >= 0]
        assert len(set(there)) == len(there) == min(k, int((~seen[row]).sum()))
        assert not seen[row, there].any()
        assert [scores[row, place] for place in there] == sorted(scores[row, there], reverse=True)


@given(lists(), st.integers(0, 2**32))
def test_the_order_of_users_and_items_says_nothing(case: Any, seed: int) -> None:
    """Shuffled, with scores that tell all items apart, the same comes out."""
    scores, seen, wanted, k = case
    random = np.random.default_rng(seed)
    scores = scores + random.permutation(scores.size).reshape(scores.shape) / scores.size
    rows, columns = random.permutation(scores.shape[0]), random.permutation(scores.shape[1])

    def quality(*matrices: Any) -> tuple[float, ...]:
        found, were_seen, are_wanted = matrices
        ranked = best(found, csr_array(were_seen), k)
        is_hit = hits(ranked, csr_array(are_wanted))
        count = len(found)
        made = measure(ranked, is_hit, are_wanted.sum(axis=1), are_wanted.sum(axis=0), count)
        return tuple(made.as_facts().values())

    shuffled = [matrix[rows][:, columns] for matrix in (scores, seen, wanted)]
    assert quality(*shuffled) == pytest.approx(quality(scores, seen, wanted))
