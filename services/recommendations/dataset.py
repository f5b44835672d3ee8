"""A data set to measure on, and how it is split: the same whatever order its lines came in."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from services.recommendations.interactions import Floats, Interactions, Matrix, decay, gather

Numbers = NDArray[np.int64]


class Split(StrEnum):
    """What is held back: any interactions, or the last ones of all."""

    RANDOM = "random"
    TEMPORAL = "temporal"


@dataclass(frozen=True, slots=True)
class Dataset:
    """Interactions by number of user and item, one for each pair, in the order of those numbers.

    Numbers are places in `user_names` and `item_names`, which are sorted. `at_s` is when a pair was
    last seen, in seconds since 1970; `weights` are added up.
    """

    user_names: Sequence[str]
    item_names: Sequence[str]
    users: Numbers
    items: Numbers
    at_s: NDArray[np.float64]
    weights: NDArray[np.float64]

    @classmethod
    def of_names(
        cls,
        user_names: Sequence[str],
        item_names: Sequence[str],
        users: Numbers,
        items: Numbers,
        at_s: NDArray[np.float64],
        weights: NDArray[np.float64],
    ) -> "Dataset":
        """With names in any order, and pairs that may come several times."""
        sorted_users, users = _sorted(user_names, users)
        sorted_items, items = _sorted(item_names, items)
        pairs, places = np.unique(users * len(item_names) + items, return_inverse=True)
        last_s = np.full(len(pairs), -np.inf)
        np.maximum.at(last_s, places, at_s)
        # Added up in the order of their sizes: else the order of the lines would show in the last
        # digits.
        order = np.argsort(weights, kind="stable")
        totals = np.zeros(len(pairs))
        np.add.at(totals, places[order], weights[order])
        rows, columns = pairs // len(item_names), pairs % len(item_names)
        return cls(sorted_users, sorted_items, rows, columns, last_s, totals)

    def with_items(self, names: Iterable[str]) -> "Dataset":
        """With items that nobody has shown interest in, yet could be recommended."""
        all_names = sorted({*self.item_names, *names})
        places = {name: place for place, name in enumerate(all_names)}
        moved = np.array([places[name] for name in self.item_names], dtype=np.int64)
        return replace(self, item_names=all_names, items=moved[self.items])

    def __len__(self) -> int:
        """How many interactions there are."""
        return len(self.users)

    def only(self, chosen: NDArray[np.bool_]) -> "Dataset":
        """Some of the interactions, with the same names."""
        return replace(
            self,
            users=self.users[chosen],
            items=self.items[chosen],
            at_s=self.at_s[chosen],
            weights=self.weights[chosen],
        )

    def split(self, how: Split, ratio: float, seed: int) -> tuple["Dataset", "Dataset"]:
        """(What to learn from, what is held back): of all interactions that share."""
        held_back = np.zeros(len(self), dtype=np.bool_)
        held_back[self._held_back(how, round(len(self) * ratio), seed)] = True
        return self.only(~held_back), self.only(held_back)

    def _held_back(self, how: Split, count: int, seed: int) -> Numbers:
        if how is Split.RANDOM:
            return np.random.default_rng(seed).permutation(len(self))[:count]
        return np.argsort(self.at_s, kind="stable")[len(self) - count :]

    def interactions(self, half_life_days: float | None) -> Interactions:
        """To learn from: weights in multiples of their mean, older ones decayed."""
        newest_s = self.at_s.max(initial=-np.inf)
        kept = decay(newest_s - self.at_s, half_life_days)
        mean = float(self.weights.mean()) if len(self) else 1.0
        strengths: Floats = (self.weights / mean).astype(np.float32) * kept
        all_items = np.arange(len(self.item_names))
        return gather(self.users, self.items.astype(np.int32), strengths, all_items)

    def matrix(self) -> Matrix:
        """Which user has which item: a row for each user that there is, of 1 and 0."""
        shape = (len(self.user_names), len(self.item_names))
        ones = np.ones(len(self), dtype=np.float32)
        return csr_array((ones, (self.users, self.items)), shape=shape)


def _sorted(names: Sequence[str], numbers: Numbers) -> tuple[list[str], Numbers]:
    order = sorted(range(len(names)), key=names.__getitem__)
    places = np.empty(len(names), dtype=np.int64)
    places[order] = np.arange(len(names))
    return [names[number] for number in order], places[numbers]


def history_of(interactions: Interactions, users: Numbers) -> Matrix:
    """The rows of those users, empty for whom nothing was learnt from."""
    matrix, known = interactions.matrix, interactions.user_ids
    rows = np.searchsorted(known, users)
    is_known = np.take(known, rows, mode="clip") == users if len(known) else users < 0
    ones = np.ones(int(is_known.sum()), dtype=np.float32)
    shape = (len(users), matrix.shape[0])
    chosen: Matrix = csr_array((ones, (np.flatnonzero(is_known), rows[is_known])), shape=shape)
    return chosen @ matrix
