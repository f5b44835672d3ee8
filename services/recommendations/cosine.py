"""Cosines between the rows or columns of a sparse matrix, the best of each, block by block."""

import numpy as np
from scipy.sparse import csr_array

from services.recommendations.interactions import FEWEST_SHARED, Floats, Matrix
from services.recommendations.neighbours import NeighbourRows, rows_a_block, shared
from services.recommendations.progress import Tell, in_blocks, tell_nobody

SHRINKAGE = 0.1
"""In multiples of the mean squared length of an item, unless a validation chose another."""
LEAST_LIKENESS = 0.01
"""Below, two texts share no more than a common word."""


def cosine_neighbours(
    matrix: Matrix,
    worth: Floats,
    *,
    shrinkage: float = SHRINKAGE,
    most: int,
    fewest_shared: int = FEWEST_SHARED,
    tell: Tell = tell_nobody,
) -> Matrix:
    """The `most` items that are wanted by the same users as each item (columns of the matrix).

    By `fewest_shared` of them at least. Cosines are multiplied by what the neighbour is worth: what
    is not offered is worth 0.

    The products of lengths are made larger by the shrinkage, so that two items which the same two
    users want are not thought alike.
    """
    transposed = matrix.T.tocsr()
    lengths, count_shared = lengths_of(transposed), shared(matrix)
    more = shrinkage * float(np.square(lengths[lengths > 0]).mean())
    rows = NeighbourRows(most)
    items = matrix.shape[1]
    for block in in_blocks(items, rows_a_block(items), "neighbours", tell):
        products = transposed[block] @ matrix
        across = lengths[block].repeat(np.diff(products.indptr))
        products.data /= across * lengths[products.indices] + np.float32(more)
        products.data *= worth[products.indices]
        enough = count_shared(block)
        enough.data = (enough.data >= fewest_shared).astype(np.float32)
        products = csr_array(products.multiply(enough))
        rows.add_sparse(_without_own(products, block.start))
    return rows.matrix(items)


def likeness(
    these: Matrix,
    others: Matrix,
    worth: Floats,
    *,
    most: int,
    what: str,
    tell: Tell = tell_nobody,
) -> Matrix:
    """The cosines of rows of length 1 with others, times what each other is worth; the best.

    What is not offered is worth 0. Given one matrix twice, no row is its own neighbour.
    """
    transposed = others.T.tocsr()
    rows = NeighbourRows(most)
    for block in in_blocks(these.shape[0], rows_a_block(others.shape[0]), what, tell):
        found = these[block] @ transposed
        found.data[found.data < LEAST_LIKENESS] = 0.0
        found.data *= worth[found.indices]
        rows.add_sparse(_without_own(found, block.start) if these is others else found)
    return rows.matrix(others.shape[0])


def lengths_of(rows: Matrix) -> Floats:
    """How long each row is."""
    return np.sqrt(np.asarray(rows.multiply(rows).sum(axis=1), dtype=np.float32))


def _without_own(block: Matrix, first: int) -> Matrix:
    """Set to nothing what each row, counted from `first`, is to itself."""
    own = np.arange(block.shape[0]).repeat(np.diff(block.indptr)) + first
    block.data[block.indices == own] = 0.0
    return block
