"""What items say about each other: the same as the plain formulas, however it is cut up."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_array

from services.recommendations import ease, neighbours
from services.recommendations.cosine import cosine_neighbours, lengths_of, likeness
from services.recommendations.ease import ease_neighbours, gram, invert
from services.recommendations.interactions import MOST_ITEMS_A_USER, decay, gather

ALL = 10_000


def interactions(seed: int, users: int, items: int, density: float = 0.3) -> Any:
    """A made-up matrix of users by items."""
    random = np.random.default_rng(seed)
    dense = random.random((users, items)) * (random.random((users, items)) < density)
    return csr_array(dense.astype(np.float32))


def naive_ease(dense: Any, ridge: float) -> Any:
    """The closed form, as it is printed."""
    used = np.flatnonzero(dense.any(axis=0))
    matrix = dense[:, used].astype(np.float64)
    product = matrix.T @ matrix
    inverse = np.linalg.inv(product + ridge * np.diag(product).mean() * np.eye(len(used)))
    weights = -inverse / np.diag(inverse)
    np.fill_diagonal(weights, 0)
    whole = np.zeros((dense.shape[1], dense.shape[1]))
    whole[np.ix_(used, used)] = weights
    return whole


@pytest.fixture(params=[1, 64, 8_000_000])
def cut(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks of a row, of a few, of everything."""
    monkeypatch.setattr(neighbours, "BLOCK_ENTRIES", request.param)
    monkeypatch.setattr(ease, "_PIVOT_ROWS", max(1, request.param // 16))


@pytest.mark.usefixtures("cut")
@pytest.mark.parametrize("ridge", [0.1, 2, 50])
def test_ease_is_the_closed_form(ridge: float) -> None:
    """To five digits, with an item that nobody wants among them."""
    matrix = interactions(1, 60, 23)
    dense = matrix.toarray()
    dense[:, 7] = 0
    worth = np.ones(23, dtype=np.float32)
    found = ease_neighbours(
        csr_array(dense), worth, ridge=ridge, most=ALL, fewest_shared=0
    ).toarray()
    assert found == pytest.approx(naive_ease(dense, ridge), abs=1e-5)
    assert not found[7].any()
    assert not found[:, 7].any()


@pytest.mark.usefixtures("cut")
@pytest.mark.parametrize("shrinkage", [0.0, 0.5, 10.0])
def test_cosine_by_blocks_is_the_dense_one(shrinkage: float) -> None:
    """With the shrinkage in the denominator, and nothing for an item with itself."""
    matrix = interactions(2, 40, 19)
    dense = matrix.toarray().astype(np.float64)
    lengths = np.linalg.norm(dense, axis=0)
    more = shrinkage * np.square(lengths[lengths > 0]).mean()
    wanted = dense.T @ dense / (np.outer(lengths, lengths) + more)
    np.fill_diagonal(wanted, 0)
    worth = np.ones(19, dtype=np.float32)
    found = cosine_neighbours(
        matrix, worth, shrinkage=shrinkage, most=ALL, fewest_shared=1
    ).toarray()
    assert found == pytest.approx(np.nan_to_num(wanted), abs=1e-5)


@pytest.mark.usefixtures("cut")
def test_only_the_best_are_kept_and_what_is_not_offered_never() -> None:
    """Three a row; an item that is worth nothing speaks for others, and none for it."""
    matrix = interactions(3, 80, 17, density=0.5)
    worth = np.ones(17, dtype=np.float32)
    whole = cosine_neighbours(matrix, worth, most=ALL).toarray()
    whole[:, 4] = 0
    worth[4] = 0
    for learn in (cosine_neighbours, ease_neighbours):
        found = learn(matrix, worth, most=3)
        assert not found.toarray()[:, 4].any()
        assert found.toarray()[4].any()
        assert np.diff(found.indptr).max() == 3
        for start, end in zip(found.indptr[:-1], found.indptr[1:], strict=True):
            assert (np.diff(found.data[start:end]) <= 0).all()
    kept = cosine_neighbours(matrix, worth, most=3).toarray()
    expected = np.sort(whole, axis=1)[:, -3:].sum(axis=1)
    assert kept.sum(axis=1) == pytest.approx(expected, abs=1e-5)


@pytest.mark.usefixtures("cut")
@pytest.mark.parametrize("fewest", [1, 2, 9])
def test_items_that_too_few_share_speak_for_each_other_no_more(fewest: int) -> None:
    """The others say what they said; against an item anything may speak."""
    matrix = interactions(5, 40, 19)
    wants = (matrix.toarray() > 0).astype(int)
    is_shared = wants.T @ wants >= fewest
    worth = np.ones(19, dtype=np.float32)
    for learn in (cosine_neighbours, ease_neighbours):
        whole = learn(matrix, worth, most=ALL, fewest_shared=0).toarray()
        found = learn(matrix, worth, most=ALL, fewest_shared=fewest).toarray()
        assert found == pytest.approx(np.where(is_shared | (whole < 0), whole, 0), abs=1e-6)


@pytest.mark.usefixtures("cut")
def test_likeness_is_the_cosine() -> None:
    """Of rows of length 1; a row is not its own neighbour, but may be another matrix's."""
    rows = interactions(4, 12, 30)
    rows.data /= lengths_of(rows).repeat(np.diff(rows.indptr))
    wanted = (rows @ rows.T).toarray()
    wanted[wanted < 0.01] = 0
    worth = np.ones(12, dtype=np.float32)
    others = likeness(rows.copy(), rows, worth, most=ALL, what="")
    assert others.toarray() == pytest.approx(wanted, abs=1e-6)
    np.fill_diagonal(wanted, 0)
    own = likeness(rows, rows, worth, most=ALL, what="")
    assert own.toarray() == pytest.approx(wanted, abs=1e-6)


@given(st.integers(0, 2**32), st.integers(1, 40), st.integers(1, 40))
@settings(max_examples=40)
def test_the_inverse_times_the_matrix_is_one(seed: int, users: int, items: int) -> None:
    """In place, for any positive definite matrix."""
    matrix = interactions(seed, users, items)
    product = gram(matrix)
    np.fill_diagonal(product, np.diagonal(product) + 1)
    inverse = product.copy()
    invert(inverse)
    assert inverse @ product == pytest.approx(np.eye(items), abs=1e-3)


def test_interactions_are_added_up_and_capped() -> None:
    """Those of one user with one item are one; nothing counts for more than the cap."""
    users = np.array([70, 5, 70, 5, 5])
    columns = np.array([0, 1, 0, 1, 2], dtype=np.int32)
    strengths = np.array([1, 3, 2, 4, 1], dtype=np.float32)
    found = gather(users, columns, strengths, np.array([11, 12, 13, 14]))
    assert found.user_ids.tolist() == [5, 70]
    assert found.matrix.toarray().tolist() == [[0, 6, 1, 0], [3, 0, 0, 0]]
    assert found.users_per_item.tolist() == [1, 1, 1, 0]


def test_of_whoever_wants_everything_the_strongest_count() -> None:
    """As many as are allowed; another user is left alone."""
    many = MOST_ITEMS_A_USER + 100
    columns = np.array([*range(many), 3], dtype=np.int32)
    strengths = np.array([*np.linspace(1, 2, many), 1], dtype=np.float32)
    found = gather(np.array([1] * many + [2]), columns, strengths, np.arange(many))
    assert np.diff(found.matrix.indptr).tolist() == [MOST_ITEMS_A_USER, 1]
    assert found.matrix.indices[0] == 100


def test_what_is_old_counts_less() -> None:
    """Half after each half-life; what comes from the future is new; without one all is."""
    day_s = 86_400.0
    ages = np.array([0.0, 90 * day_s, 180 * day_s, -5.0])
    assert decay(ages, 90).tolist() == [1.0, 0.5, 0.25, 1.0]
    assert decay(ages, None).tolist() == [1.0] * 4
