"""The few items that each item speaks for, out of all: picked block by block of rows.

A matrix of all items by all items is never kept; what is, is a sparse one with `most` in a row.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from services.recommendations.interactions import Floats, Matrix

BLOCK_ENTRIES = 8_000_000
"""Entries of a block of rows: 32 MB of float32, a few times that while they are sorted."""


def rows_a_block(columns: int) -> int:
    """How many rows of that many columns are worked on at once."""
    return max(1, BLOCK_ENTRIES // max(1, columns))


def shared(matrix: Matrix) -> Callable[[slice], Matrix]:
    """Counts, block by block of items, which users each has in common with every item."""
    wants = matrix.copy()
    wants.data = np.ones_like(matrix.data)
    transposed = wants.T.tocsr()
    return lambda block: transposed[block] @ wants


@dataclass(slots=True)
class NeighbourRows:
    """Collects the neighbours of item after item, the largest weight first."""

    most: int
    columns: list[NDArray[np.int32]] = field(default_factory=list[Any])
    weights: list[Floats] = field(default_factory=list[Any])

    def add_dense(self, block: Floats) -> None:
        """Add rows, of each the `most` strongest, whether they speak for an item or against it."""
        kept = min(self.most, block.shape[1])
        chosen = np.argpartition(-np.abs(block), kept - 1, axis=1)[:, :kept]
        for columns, row in zip(chosen, block, strict=True):
            self._add(columns, row[columns])

    def add_sparse(self, block: Matrix) -> None:
        """Add the rows of a sparse matrix likewise."""
        for start, end in zip(block.indptr[:-1], block.indptr[1:], strict=True):
            columns, weights = block.indices[start:end], block.data[start:end]
            if len(weights) > self.most:
                chosen = np.argpartition(-np.abs(weights), self.most - 1)[: self.most]
                columns, weights = columns[chosen], weights[chosen]
            self._add(columns, weights)

    def _add(self, columns: NDArray[Any], weights: Floats) -> None:
        is_there = weights != 0
        columns, weights = columns[is_there].astype(np.int32), weights[is_there]
        order = np.lexsort((columns, -weights))
        self.columns.append(columns[order])
        self.weights.append(weights[order].astype(np.float32, copy=False))

    def matrix(self, items: int) -> Matrix:
        """All rows as a sparse matrix with that many columns, each in the order of its weights."""
        pointers = np.cumsum([0, *map(len, self.columns)])
        weights = np.concatenate([np.empty(0, dtype=np.float32), *self.weights])
        columns = np.concatenate([np.empty(0, dtype=np.int32), *self.columns])
        return csr_array((weights, columns, pointers), shape=(len(self.columns), items))


def spread(neighbours: Matrix, used: NDArray[np.int64], items: int) -> Matrix:
    """The same among all `items`, of which the neighbours so far know only the `used` ones."""
    lengths = np.zeros(items, dtype=np.int64)
    lengths[used] = np.diff(neighbours.indptr)
    pointers = np.concatenate(([0], np.cumsum(lengths)))
    columns = used[neighbours.indices].astype(np.int32)
    return csr_array((neighbours.data, columns, pointers), shape=(items, items))
