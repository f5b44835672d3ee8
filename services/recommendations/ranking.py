"""From scores to the best k of each user, the same whatever order the data came in."""

import numpy as np
from numpy.typing import NDArray

from services.recommendations.interactions import Floats, Matrix


def best(found: Floats, seen: Matrix, k: int) -> NDArray[np.int64]:
    """The columns of the k highest scores of each row, without those in the row of `seen`.

    Of equal scores the first column is first. -1 where a row has no more columns.
    """
    ranked = found.astype(np.float64)
    ranked[seen.nonzero()] = -np.inf
    k_there = min(k, ranked.shape[1])
    # The k-th score cuts; all that reach it are sorted, ties by column.
    order = np.argsort(-ranked, axis=1, kind="stable")[:, :k_there]
    chosen = np.take_along_axis(ranked, order, axis=1)
    order[np.isneginf(chosen)] = -1
    if k_there < k:
        order = np.pad(order, ((0, 0), (0, k - k_there)), constant_values=-1)
    return order


def hits(ranked: NDArray[np.int64], wanted: Matrix) -> NDArray[np.bool_]:
    """Which places of the lists hold a column that the same row of `wanted` has."""
    is_wanted = np.zeros((wanted.shape[0], wanted.shape[1] + 1), dtype=np.bool_)
    is_wanted[wanted.nonzero()] = True
    return np.take_along_axis(is_wanted, ranked, axis=1)  # -1 is the last column, never wanted
