"""What demo members like: by the interests they chose, and by a style that nothing tells of.

So there is something to recommend: a category that a member named, and things that people of one
style take together whatever their categories.
"""

from collections.abc import Mapping, Sequence
from random import Random

from services.catalogue.items import Item

STYLES = 8
_INTEREST = 4.0
"""How much likelier an item of a category is for whom it interests."""
_STYLED = 12
"""How many items of all each style is fond of, and how much."""
_FONDNESS = 9.0


class Tastes:
    """How likely each member is to take each item."""

    def __init__(self, items: Mapping[int, Item], random: Random) -> None:
        ids = sorted(items)
        self._popularity = {item_id: random.lognormvariate(0, 0.7) for item_id in ids}
        self._styles = [
            frozenset(random.sample(ids, min(_STYLED, len(ids)))) for _ in range(STYLES)
        ]

    def choose(
        self, style: int, interests: Sequence[str], among: Sequence[Item], random: Random
    ) -> Item:
        """One of the items, by the taste of a member of that style and with those interests."""
        weights = [self._weight(style, interests, item) for item in among]
        return random.choices(among, weights)[0]

    def _weight(self, style: int, interests: Sequence[str], item: Item) -> float:
        weight = self._popularity[item.id]
        if item.category in interests:
            weight *= _INTEREST
        return weight * (_FONDNESS if item.id in self._styles[style] else 1.0)
