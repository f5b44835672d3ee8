"""Ranking what users have not seen by several methods at once, and measuring each."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from services.recommendations.blend import measured
from services.recommendations.dataset import Dataset, Numbers, history_of
from services.recommendations.interactions import Interactions, Matrix
from services.recommendations.metrics import Quality, measure
from services.recommendations.neighbours import rows_a_block
from services.recommendations.progress import Tell, in_blocks, tell_nobody
from services.recommendations.ranking import best, hits

ScoreAll = Callable[[slice], Mapping[str, NDArray[Any]]]
"""The scores of all items by each method, for some users of a trial."""
_TIE_SHARE = 1e-6
"""What popularity adds to the best score of a user: it orders what a method says nothing about, as
serving fills up what it has too few of, and hardly anything else."""


@dataclass(frozen=True, slots=True)
class Trial:
    """Some users: what was learnt of them, and what of the rest they turned out to want."""

    users: Numbers
    history: Matrix
    seen: Matrix
    wanted: Matrix
    interactions: Interactions
    k: int

    @classmethod
    def of(
        cls, train: Dataset, test: Dataset, interactions: Interactions, users: Numbers, k: int
    ) -> "Trial":
        """Of those users, who all have something in the test data."""
        history = history_of(interactions, users)
        return cls(users, history, train.matrix()[users], test.matrix()[users], interactions, k)

    def measure(self, score_all: ScoreAll, tell: Tell = tell_nobody) -> Mapping[str, Quality]:
        """The quality of each method."""
        return self.measure_slices(score_all, {"": slice(None)}, tell)[""]

    def measure_slices(
        self, score_all: ScoreAll, slices: Mapping[str, Any], tell: Tell = tell_nobody
    ) -> Mapping[str, Mapping[str, Quality]]:
        """The same for several choices among the users, who are ranked for once."""
        ranked, is_hit = self._rank(score_all, tell)
        relevant = np.diff(self.wanted.indptr).astype(np.int64)
        popularity, users = self.interactions.users_per_item, len(self.interactions.user_ids)
        return {
            name: {
                method: measure(
                    ranked[method][chosen],
                    is_hit[method][chosen],
                    relevant[chosen],
                    popularity,
                    users,
                )
                for method in ranked
            }
            for name, chosen in slices.items()
        }

    def _rank(
        self, score_all: ScoreAll, tell: Tell
    ) -> tuple[dict[str, NDArray[np.int64]], dict[str, NDArray[np.bool_]]]:
        ranked: dict[str, list[NDArray[np.int64]]] = {}
        is_hit: dict[str, list[NDArray[np.bool_]]] = {}
        items = self.seen.shape[1]
        popularity = measured(self.interactions.users_per_item.astype(np.float64))
        for block in in_blocks(len(self.users), rows_a_block(items), "ranking", tell):
            for method, found in score_all(block).items():
                filled = measured(found.astype(np.float64)) + _TIE_SHARE * popularity
                places = best(filled, self.seen[block], self.k)
                ranked.setdefault(method, []).append(places)
                is_hit.setdefault(method, []).append(hits(places, self.wanted[block]))
        return (
            {method: np.concatenate(blocks) for method, blocks in ranked.items()},
            {method: np.concatenate(blocks) for method, blocks in is_hit.items()},
        )
