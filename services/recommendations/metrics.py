"""How good ranked lists are, by the standard definitions, with binary relevance.

Järvelin and Kekäläinen (2002) for NDCG; Vargas and Castells (2011) for novelty. A user without
relevant items is not counted: there would be nothing to find.
"""

from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Quality:
    """Means over users at k; all but `novelty` (in bits) lie between 0 and 1."""

    users: int
    precision: float
    recall: float
    ndcg: float
    map: float
    coverage: float
    novelty: float

    def as_facts(self) -> dict[str, float]:
        """For JSON."""
        return asdict(self)


def measure(
    ranked: NDArray[np.int64],
    is_hit: NDArray[np.bool_],
    relevant: NDArray[np.int64],
    users_per_item: NDArray[np.int64],
    users: int,
) -> Quality:
    """The quality of lists of k items, a row per user with something relevant.

    `is_hit` says which places hold a relevant item, `relevant` how many there are for each user.
    An item is -1 where a list ends early. `users_per_item` and `users` are those of the training.
    """
    if not len(ranked):
        return Quality(0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
    hits = is_hit.sum(axis=1)
    return Quality(
        users=len(ranked),
        precision=float((hits / ranked.shape[1]).mean()),
        recall=float((hits / relevant).mean()),
        ndcg=float(ndcg(is_hit, relevant).mean()),
        map=float(average_precision(is_hit, relevant).mean()),
        coverage=len(np.unique(ranked[ranked >= 0])) / max(len(users_per_item), 1),
        novelty=novelty(ranked, users_per_item, users),
    )


def ndcg(is_hit: NDArray[np.bool_], relevant: NDArray[np.int64]) -> NDArray[np.float64]:
    """DCG at k over that of the best list: its first min(k, relevant) places are hits."""
    gains = 1.0 / np.log2(np.arange(2, is_hit.shape[1] + 2))
    ideal = np.cumsum(gains)[np.minimum(relevant, is_hit.shape[1]) - 1]
    return (is_hit * gains).sum(axis=1) / ideal


def average_precision(
    is_hit: NDArray[np.bool_], relevant: NDArray[np.int64]
) -> NDArray[np.float64]:
    """The mean, over the places that could be hits, of the precision at each hit."""
    places = np.arange(1, is_hit.shape[1] + 1)
    precisions = np.cumsum(is_hit, axis=1) / places
    return (precisions * is_hit).sum(axis=1) / np.minimum(relevant, is_hit.shape[1])


def novelty(ranked: NDArray[np.int64], users_per_item: NDArray[np.int64], users: int) -> float:
    """The mean self-information in bits of what was recommended: -log2 of who took it already.

    An item that nobody took counts as one that a single user did.
    """
    taken = np.maximum(users_per_item[ranked[ranked >= 0]], 1)
    return float(-np.log2(taken / max(users, 1)).mean()) if len(taken) else 0.0
