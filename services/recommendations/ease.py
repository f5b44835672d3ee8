"""EASE: what each item says about each other one, in closed form.

Steck, Embarrassingly Shallow Autoencoders for Sparse Data (WWW 2019): with P the inverse of
XᵀX + λI, item i speaks for item j by −P[i, j] / P[j, j]. λ is given as a multiple of the mean of
the diagonal of XᵀX, so that it means the same for a hundred users and for a million.

One dense matrix of items by items is held, as float32, and inverted where it stands.
"""

import numpy as np

from services.recommendations.interactions import FEWEST_SHARED, Floats, Matrix
from services.recommendations.neighbours import NeighbourRows, rows_a_block, shared, spread
from services.recommendations.progress import Tell, in_blocks, tell_nobody

MOST_ITEMS = 20_000
"""Above, the dense matrix would be larger than 1.6 GB (`domain.md`, Recommendations)."""
RIDGE = 8.0
"""λ in multiples of the mean diagonal, unless a validation chose another."""

_PIVOT_ROWS = 512


def ease_neighbours(
    matrix: Matrix,
    worth: Floats,
    *,
    ridge: float = RIDGE,
    most: int,
    fewest_shared: int = FEWEST_SHARED,
    tell: Tell = tell_nobody,
) -> Matrix:
    """The `most` items that each item speaks for or against most.

    It speaks for those that at least `fewest_shared` users want as well. Multiplied by what the
    neighbour is worth: what is not offered is worth 0. Items without users have no neighbours, and
    are nobody's.
    """
    items = matrix.shape[1]
    used = np.flatnonzero(np.bincount(matrix.indices, minlength=items))
    wanted = matrix[:, used]
    inverse, count_shared = gram(wanted, tell), shared(wanted)
    diagonal = np.diagonal(inverse).copy()
    np.fill_diagonal(inverse, diagonal + ridge * diagonal.mean())
    invert(inverse, tell)
    scale = (-worth[used] / np.diagonal(inverse)).astype(np.float32)
    np.fill_diagonal(inverse, 0.0)
    rows = NeighbourRows(most)
    for block in in_blocks(len(used), rows_a_block(len(used)), "neighbours", tell):
        weights = inverse[block] * scale
        weights[(weights > 0) & (count_shared(block).toarray() < fewest_shared)] = 0.0
        rows.add_dense(weights)
    return spread(rows.matrix(len(used)), used, items)


def gram(matrix: Matrix, tell: Tell = tell_nobody) -> Floats:
    """XᵀX, dense, filled block by block from the sparse matrix."""
    items = matrix.shape[1]
    transposed = matrix.T.tocsr()
    found = np.empty((items, items), dtype=np.float32)
    for block in in_blocks(items, rows_a_block(items), "co-occurrences", tell):
        found[block] = (transposed[block] @ matrix).toarray()
    return found


def invert(matrix: Floats, tell: Tell = tell_nobody) -> None:
    """Invert a symmetric, positive definite matrix where it stands (Gauss-Jordan by blocks).

    LAPACK's Cholesky does half of the work, but holds Python's lock for all of it, which would
    stop a worker's other jobs for minutes; here nothing takes long, and it can be ended between
    blocks. No pivots are looked for: those of a positive definite matrix are.
    """
    size = len(matrix)
    for pivots in in_blocks(size, _PIVOT_ROWS, "inverse", tell):
        corner = np.linalg.inv(matrix[pivots, pivots].astype(np.float64)).astype(np.float32)
        across = matrix[pivots].copy()
        down = matrix[:, pivots] @ corner
        down[pivots] = 0.0
        for start in range(0, size, rows_a_block(size)):
            rows = slice(start, start + rows_a_block(size))
            matrix[rows] -= down[rows] @ across
        matrix[pivots] = corner @ across
        matrix[:, pivots] = -down
        matrix[pivots, pivots] = corner
