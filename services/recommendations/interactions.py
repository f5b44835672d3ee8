"""Who wants what, and how much: what there is to learn from, as one sparse matrix."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

Matrix: TypeAlias = Any
"""A `scipy.sparse.csr_array` of float32: the library has no types."""
Ids: TypeAlias = NDArray[np.int64]
Floats: TypeAlias = NDArray[np.float32]

SECONDS_A_DAY = 86_400.0
HALF_LIFE_DAYS = 90.0
"""After so long an interaction counts half: tastes change, and seasons."""
MOST_STRENGTH = 6.0
"""What a user shows for an item counts no more than an exchange, a wish and a view together: who
exchanges for the same coupon every week says little new."""
MOST_ITEMS_A_USER = 500
"""Of whoever showed interest in more items, the strongest count: the work grows with the square of
it, and who looks at everything tells nothing apart."""

FEWEST_SHARED = 3
"""Members who want two items before the one speaks for the other: what one or two did is a chance
rather than a taste, and of so few one could be known."""


class Signal(StrEnum):
    """By what a member shows interest."""

    EXCHANGE = "exchange"
    WISH = "wish"
    VIEW = "view"


STRENGTHS: Mapping[Signal, float] = {Signal.EXCHANGE: 3.0, Signal.WISH: 2.0, Signal.VIEW: 1.0}
"""What each says while it is new: what somebody paid for says more than what they looked at."""


@dataclass(frozen=True, slots=True)
class Interactions:
    """How much each user wants each item: rows are users, columns the items of `item_ids`.

    `item_ids` is in rising order and may hold items that nobody wants; `user_ids` likewise.
    """

    matrix: Matrix
    user_ids: Ids
    item_ids: Ids

    @property
    def users_per_item(self) -> NDArray[np.int64]:
        """How many users want each item."""
        return np.bincount(self.matrix.indices, minlength=len(self.item_ids))


def decay(age_s: NDArray[np.float64], half_life_days: float | None) -> Floats:
    """What is left of interactions of that age; all of it without a half-life.

    What lies in the future, by another system's clock, counts as new.
    """
    if half_life_days is None:
        return np.ones(len(age_s), dtype=np.float32)
    halvings = np.maximum(age_s, 0.0) / (half_life_days * SECONDS_A_DAY)
    return np.exp2(-halvings).astype(np.float32)


def gather(
    user_ids: Ids, columns: NDArray[np.int32], strengths: Floats, item_ids: Ids
) -> Interactions:
    """The matrix of interactions, in any order; those of one user with one item are added up."""
    users, rows = np.unique(user_ids, return_inverse=True)
    shape = (len(users), len(item_ids))
    matrix: Matrix = csr_array((strengths, (rows.astype(np.int32), columns)), shape=shape)
    matrix.sum_duplicates()
    np.minimum(matrix.data, MOST_STRENGTH, out=matrix.data)
    _keep_strongest(matrix, MOST_ITEMS_A_USER)
    return Interactions(matrix, users, item_ids)


def _keep_strongest(matrix: Matrix, most: int) -> None:
    """Leave each row its `most` largest values at most."""
    for row in np.flatnonzero(np.diff(matrix.indptr) > most):
        values = matrix.data[matrix.indptr[row] : matrix.indptr[row + 1]]
        values[np.argsort(-values, kind="stable")[most:]] = 0
    matrix.eliminate_zeros()
