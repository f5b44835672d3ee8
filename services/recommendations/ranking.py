"""From scores to the best k of each user, the same whatever order the data came in."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from services.recommendations.interactions import Matrix


def best(found: NDArray[Any], seen: Matrix, k: int) -> NDArray[np.int64]:
    """The columns of the k highest scores of each row, without those in the row of `seen`.

    Of equal scores the first column is first. -1 where a row has no more columns.
    """
    ranked = found.astype(np.float64)
    ranked[seen.nonzero()] = -np.inf
    k_there = min(k, ranked.shape[1])
    order = np.full((len(ranked), k), -1, dtype=np.int64)
    if not k_there:
        return order
    # The k-th score cuts; all that reach it are sorted, ties by column.
    cuts = np.partition(ranked, -k_there, axis=1)[:, -k_there]
    for row, (values, cut) in enumerate(zip(ranked, cuts, strict=True)):
        columns = np.flatnonzero((values >= cut) & (values > -np.inf))
        chosen = columns[np.argsort(-values[columns], kind="stable")[:k_there]]
        order[row, : len(chosen)] = chosen
    return order


def hits(ranked: NDArray[np.int64], wanted: Matrix) -> NDArray[np.bool_]:
    """Which places of the lists hold a column that the same row of `wanted` has."""
    is_wanted = np.zeros((wanted.shape[0], wanted.shape[1] + 1), dtype=np.bool_)
    is_wanted[wanted.nonzero()] = True
    return np.take_along_axis(is_wanted, ranked, axis=1)  # -1 is the last column, never wanted
