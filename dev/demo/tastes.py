"""What demo members like, so that there is something to recommend.

A member likes some categories (those that interest them, else some they told nobody of), in them
the things of a few tags, and whatever their style is fond of: people of one style take the same
things together, whatever these are called.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from random import Random

from services.catalogue.items import Item

STYLES = 8
_STYLED_ITEMS = 10
"""How many items each style is fond of."""
_LIKED_CATEGORIES, _LIKED_TAGS = 2, 3
_CATEGORY, _TAG, _STYLE = 5.0, 8.0, 5.0
"""How much likelier an item is by each."""
_SPREAD_OF_POPULARITY = 0.3


@dataclass(frozen=True, slots=True)
class Taste:
    """What one member likes."""

    style: int
    categories: frozenset[str]
    tags: frozenset[str]


class Tastes:
    """How likely each member is to want each item."""

    def __init__(self, items: Mapping[int, Item], random: Random) -> None:
        ids = sorted(items)
        self._items = [items[item_id] for item_id in ids]
        self._categories = sorted({item.category or "" for item in self._items})
        self._popularity = {i: random.lognormvariate(0, _SPREAD_OF_POPULARITY) for i in ids}
        styled = min(_STYLED_ITEMS, len(ids))
        self._styles = [frozenset(random.sample(ids, styled)) for _ in range(STYLES)]

    def draw(self, interests: Sequence[str], random: Random) -> Taste:
        """The taste of a member who chose those interests."""
        liked = interests or random.sample(
            self._categories, min(_LIKED_CATEGORIES, len(self._categories))
        )
        tags = sorted({tag for item in self._items if item.category in liked for tag in item.tags})
        favourites = random.sample(tags, min(_LIKED_TAGS, len(tags)))
        return Taste(random.randrange(STYLES), frozenset(liked), frozenset(favourites))

    def choose(self, taste: Taste, among: Sequence[Item], random: Random) -> Item:
        """One of the items, the likelier the more it is to that taste."""
        return random.choices(among, [self._weight(taste, item) for item in among])[0]

    def _weight(self, taste: Taste, item: Item) -> float:
        weight = self._popularity[item.id]
        if item.category in taste.categories:
            weight *= _CATEGORY
        weight *= _TAG ** len(taste.tags.intersection(item.tags))
        return weight * (_STYLE if item.id in self._styles[taste.style] else 1.0)
