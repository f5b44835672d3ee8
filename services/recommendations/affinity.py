"""What a member's own history speaks for, and why that is worth saying (`domain.md`).

Pure: everything that was read comes in as plain data, so that property tests can run it as often
as they like.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from models.recommendations import NeighbourKind
from services.catalogue.items import Item
from services.recommendations.blend import COLLABORATIVE_SHARE, CONTENT_SHARE, measured
from services.recommendations.interests import fold_interest
from services.recommendations.reasons import RecommendationReason

Floats: TypeAlias = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Shown:
    """How strongly a member showed interest in an item; `is_taken` when it was exchanged."""

    item_id: int
    strength: float
    is_taken: bool


@dataclass(frozen=True, slots=True)
class Neighbours:
    """The items that one item speaks for, and how loudly; below 0 it speaks against them."""

    item_id: int
    kind: NeighbourKind
    item_ids: Sequence[int]
    weights: Sequence[float]


@dataclass(frozen=True, slots=True)
class Wanted:
    """An item that a history speaks for: how much by what similar members took, and by its kind.

    Each is a share of the score, which is at most 1; below 0 is what speaks against it.
    """

    item_id: int
    by_taste: float
    by_kind: float

    @property
    def score(self) -> float:
        """Both together, above 0."""
        return self.by_taste + self.by_kind


@dataclass(frozen=True, slots=True)
class Leaning:
    """What else is known of a member, to tell why an item fits; the interests are folded."""

    last_category: str | None = None
    interests: frozenset[str] = field(default_factory=frozenset[str])


def wanted(history: Sequence[Shown], neighbours: Iterable[Neighbours], most: int) -> list[Wanted]:
    """The `most` items that the history speaks for, the best first, offered or not.

    What a member wants and has not taken speaks for itself, too: it is like itself.
    """
    strengths = {shown.item_id: shown.strength for shown in history}
    rows = list(neighbours)
    itself = [shown for shown in history if not shown.is_taken]
    collaborative = _spoken_for(rows, NeighbourKind.COLLABORATIVE, strengths)
    content = [
        *_spoken_for(rows, NeighbourKind.CONTENT, strengths),
        (
            np.array([s.item_id for s in itself], dtype=np.int64),
            np.array([s.strength for s in itself]),
        ),
    ]
    ids = np.unique(
        np.concatenate([np.empty(0, np.int64), *(of for of, _ in (*collaborative, *content))])
    )
    by_taste = COLLABORATIVE_SHARE * measured(_summed(ids, collaborative))
    by_kind = CONTENT_SHARE * measured(_summed(ids, content))
    order = np.argsort(-(by_taste + by_kind), kind="stable")[:most]
    found = zip(ids[order].tolist(), by_taste[order].tolist(), by_kind[order].tolist(), strict=True)
    return [each for each in (Wanted(*parts) for parts in found) if each.score > 0]


def _spoken_for(
    rows: Sequence[Neighbours], kind: NeighbourKind, strengths: Mapping[int, float]
) -> list[tuple[NDArray[np.int64], Floats]]:
    """The items that each row of a kind speaks for, and how much, given the strength of its own."""
    return [
        (
            np.array(row.item_ids, dtype=np.int64),
            np.array(row.weights) * strengths.get(row.item_id, 0.0),
        )
        for row in rows
        if row.kind is kind
    ]


def _summed(ids: NDArray[np.int64], spoken: Sequence[tuple[NDArray[np.int64], Floats]]) -> Floats:
    """What is said of each of the items, which are in rising order, added up."""
    if not spoken:
        return np.zeros(len(ids))
    places = np.searchsorted(ids, np.concatenate([of for of, _ in spoken]))
    weights = np.concatenate([how_much for _, how_much in spoken])
    return np.bincount(places, weights, minlength=len(ids)).astype(np.float64, copy=False)


def reason_for(item: Item, why: Wanted, leaning: Leaning) -> RecommendationReason:
    """By what speaks loudest for it; that it can be paid is true of all that is offered."""
    if why.by_taste >= why.by_kind:
        return RecommendationReason.SIMILAR_USERS
    if item.category is not None and item.category == leaning.last_category:
        return RecommendationReason.SAME_CATEGORY
    if matches(item, leaning.interests):
        return RecommendationReason.MATCHES_INTERESTS
    return RecommendationReason.FITS_BALANCE


def matches(item: Item, interests: Collection[str]) -> bool:
    """Whether a tag or the category of the item is one of the interests, which are folded."""
    named = item.tags if item.category is None else (*item.tags, item.category)
    return any(fold_interest(name) in interests for name in named)
