"""Made-up malls whose members' tastes are known, so that it is known what should be found.

A member likes some kinds of items, which tags tell of, and some styles, which nothing tells of: who
shares a style can only be told by who took what. Some items are liked by everybody more.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from services.recommendations.content import ItemTexts
from services.recommendations.dataset import Dataset

KINDS = ("tea", "coffee", "books", "toys", "sports", "music", "garden", "travel")


@dataclass(frozen=True)
class Tastes:
    """How many there are, how many items a member took, and how steep popularity is."""

    users: int = 600
    items: int = 400
    taken: int = 14
    styles: int = 10
    steepness: float = 0.7
    by_kind: float = 2.0
    by_style: float = 2.0


def draw(seed: int, tastes: Tastes) -> tuple[Dataset, dict[str, ItemTexts]]:
    """A data set of that form, and what is said of its items."""
    random = np.random.default_rng(seed)
    kinds = random.integers(len(KINDS), size=tastes.items)
    styles = random.integers(tastes.styles, size=tastes.items)
    popularity = -tastes.steepness * np.log(random.permutation(tastes.items) + 5.0)
    rows: list[int] = []
    columns: list[int] = []
    for user in range(tastes.users):
        liked = popularity + random.gumbel(size=tastes.items)
        liked += tastes.by_kind * np.isin(kinds, random.choice(len(KINDS), 2, replace=False))
        liked += tastes.by_style * np.isin(styles, random.choice(tastes.styles, 2, replace=False))
        count = 2 + random.poisson(tastes.taken - 2)
        rows += [user] * count
        columns += np.argsort(-liked)[:count].tolist()
    texts = {
        f"item-{item:04}": ItemTexts(f"{KINDS[kinds[item]]} number {item}", (KINDS[kinds[item]],))
        for item in range(tastes.items)
    }
    at_s = random.uniform(0, 30 * 86_400, size=len(rows))
    names = [f"user-{user:04}" for user in range(tastes.users)], sorted(texts)
    numbers = np.array(rows), np.array(columns)
    return Dataset.of_names(*names, *numbers, at_s, np.ones(len(rows))), texts


def movie_lens_form(seed: int) -> Dataset:
    """A data set of the form of MovieLens-100k: so many users, items and interactions.

    As there, the most popular item was taken by six users in ten, half of the items by fewer than
    thirty, and no user took fewer than twenty. Tastes are vectors of six numbers.
    """
    random = np.random.default_rng(seed)
    users, items, factors = 943, 1_682, 6
    popularity = -1.9 * np.log(np.arange(items) + 61.0)
    of_items, of_users = (random.normal(size=(count, factors)) for count in (items, users))
    activity = np.clip(random.lognormal(4.1, 0.95, size=users), 20, 737)
    counts = np.maximum(activity * 100_000 / activity.sum(), 20).round().astype(int)
    rows: list[int] = []
    columns: list[int] = []
    for user, count in enumerate(counts.tolist()):
        liked = popularity + 1.1 * (of_items @ of_users[user]) / np.sqrt(factors)
        liked += 0.8 * random.gumbel(size=items)
        rows += [user] * count
        columns += np.argsort(-liked)[:count].tolist()
    names = [f"{user:04}" for user in range(users)], [f"{item:04}" for item in range(items)]
    at_s = random.uniform(0, 200 * 86_400, size=len(rows))
    return Dataset.of_names(*names, np.array(rows), np.array(columns), at_s, np.ones(len(rows)))


def as_csv(dataset: Dataset) -> Iterator[str]:
    """The lines of its file."""
    yield "user,item,timestamp"
    for user, item, at_s in zip(dataset.users, dataset.items, dataset.at_s, strict=True):
        yield f"{dataset.user_names[user]},{dataset.item_names[item]},{at_s:.0f}"
