"""From what a member has shown interest in to how much they may want everything else.

Training stores neighbours, evaluation measures them and serving reads them by these same rules.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from services.recommendations.interactions import Floats, Matrix

COLLABORATIVE_SHARE, CONTENT_SHARE = 0.6, 0.4
"""`domain.md`, Recommendations."""


def scores(history: Matrix, neighbours: Matrix) -> Floats:
    """What the items of histories (rows: users) say about all items: Σ strength x weight."""
    return (history @ neighbours).toarray()


def blend(collaborative: NDArray[Any], content: NDArray[Any]) -> NDArray[Any]:
    """Both kinds of scores as one, along the last axis: 1 is what both say is best.

    Each is measured by the best of its own, for they are not of one size. Below 0 is what speaks
    against an item.
    """
    return COLLABORATIVE_SHARE * measured(collaborative) + CONTENT_SHARE * measured(content)


def measured(found: NDArray[Any]) -> NDArray[Any]:
    """Scores in multiples of the largest along the last axis; where none is above 0, nothing."""
    best = found.max(axis=-1, keepdims=True, initial=0.0)
    return np.divide(found, best, out=np.zeros_like(found), where=best > 0)
