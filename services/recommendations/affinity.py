"""What a member's own history speaks for, and why that is worth saying (`domain.md`).

Pure: everything that was read comes in as plain data, so that property tests can run it as often
as they like.
"""

from collections import defaultdict
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

Shares: TypeAlias = NDArray[np.float64]


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


@dataclass(slots=True)
class Affinity:
    """How much a history speaks for an item, by each kind of likeness; not comparable as such."""

    collaborative: float = 0.0
    content: float = 0.0


@dataclass(frozen=True, slots=True)
class Leaning:
    """What else is known of a member, to tell why an item fits; the interests are folded."""

    last_category: str | None = None
    interests: frozenset[str] = field(default_factory=frozenset[str])


@dataclass(frozen=True, slots=True)
class Liked:
    """An offered item that the history speaks for: how much (at most 1), and truly why."""

    item: Item
    score: float
    reason: RecommendationReason


def affinities(history: Iterable[Shown], neighbours: Iterable[Neighbours]) -> dict[int, Affinity]:
    """What the history speaks for. What a member wants and has not taken speaks for itself, too."""
    found: defaultdict[int, Affinity] = defaultdict(Affinity)
    strengths: dict[int, float] = {}
    for shown in history:
        strengths[shown.item_id] = shown.strength
        if not shown.is_taken:
            found[shown.item_id].content += shown.strength
    for row in neighbours:
        strength = strengths.get(row.item_id, 0.0)
        for item_id, weight in zip(row.item_ids, row.weights, strict=True):
            if row.kind is NeighbourKind.COLLABORATIVE:
                found[item_id].collaborative += strength * weight
            else:
                found[item_id].content += strength * weight
    return dict(found)


def loudest(found: Mapping[int, Affinity], most: int) -> list[int]:
    """The ids of the `most` items that a history speaks for, before it is known what is offered."""
    ids = sorted(found)
    by_taste, by_kind = _shares(found, ids)
    scores = by_taste + by_kind
    order = np.argsort(-scores, kind="stable")[:most]
    return [ids[place] for place in order if scores[place] > 0]


def liked(
    found: Mapping[int, Affinity], offered: Mapping[int, Item], leaning: Leaning
) -> list[Liked]:
    """The offered items that the history speaks for, the best first."""
    ids = sorted(found.keys() & offered.keys())
    by_taste, by_kind = (shares.tolist() for shares in _shares(found, ids))
    choices = [
        Liked(offered[item_id], taste + kind, _reason(offered[item_id], taste, kind, leaning))
        for item_id, taste, kind in zip(ids, by_taste, by_kind, strict=True)
        if taste + kind > 0
    ]
    return sorted(choices, key=lambda choice: (-choice.score, choice.item.id))


def _shares(found: Mapping[int, Affinity], ids: Sequence[int]) -> tuple[Shares, Shares]:
    """What each kind of likeness adds to the scores of the items."""
    collaborative = np.array([found[item_id].collaborative for item_id in ids])
    content = np.array([found[item_id].content for item_id in ids])
    return COLLABORATIVE_SHARE * measured(collaborative), CONTENT_SHARE * measured(content)


def _reason(item: Item, by_taste: float, by_kind: float, leaning: Leaning) -> RecommendationReason:
    """By what speaks loudest for it; that it can be paid is true of all that is offered."""
    if by_taste >= by_kind:
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
