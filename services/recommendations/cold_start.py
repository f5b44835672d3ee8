"""How good recommendations are for whom nothing is known of but a few interests."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_array

from models.recommendations import MOST_NEIGHBOURS
from services.recommendations.blend import scores
from services.recommendations.content import Content, ItemTexts
from services.recommendations.dataset import Dataset, Numbers
from services.recommendations.interactions import Matrix
from services.recommendations.interests import fold_interest
from services.recommendations.metrics import Quality
from services.recommendations.progress import Tell, tell_nobody
from services.recommendations.trial import Trial

COLD_SHARE = 0.2
"""Of the users with something in both halves: they are left out of what is learnt from."""
INTERESTS_A_USER = 3


@dataclass(frozen=True, slots=True)
class ColdStart:
    """By the interests alone, and by popularity alone, for the same users."""

    interests: Quality
    popularity: Quality


def measure_cold_start(
    train: Dataset,
    test: Dataset,
    texts: Sequence[ItemTexts],
    k: int,
    seed: int,
    tell: Tell = tell_nobody,
) -> ColdStart | None:
    """Take some users as if they were new; None when no user has an item with a tag.

    Their interests are the tags that most of their own training items bear, which is all that the
    ranking is told of them. Nothing else of theirs is learnt from.
    """
    asked = _interests(train, texts)
    candidates = np.intersect1d(np.unique(test.users), np.array(sorted(asked), dtype=np.int64))
    if not len(candidates):
        return None
    count = max(1, round(len(candidates) * COLD_SHARE))
    users = np.sort(np.random.default_rng(seed).permutation(candidates)[:count])
    interactions = train.only(~np.isin(train.users, users)).interactions(None)
    trial = Trial.of(train, test, interactions, users, k)
    interests = sorted({interest for user in users for interest in asked[int(user)]})
    worth = np.ones(len(texts), dtype=np.float32)
    popularity = interactions.users_per_item
    found = Content(texts).fitting(interests, worth, popularity, most=MOST_NEIGHBOURS, tell=tell)
    wanted = _asked_matrix(users, asked, interests)
    quality = trial.measure(
        lambda rows: {
            "interests": scores(wanted[rows], found),
            "popularity": np.tile(popularity, (rows.stop - rows.start, 1)),
        }
    )
    return ColdStart(quality["interests"], quality["popularity"])


def _interests(train: Dataset, texts: Sequence[ItemTexts]) -> dict[int, list[str]]:
    """The commonest tags of each user's items; of equally common ones the first by name."""
    counted: dict[int, Counter[str]] = {}
    for user, item in zip(train.users.tolist(), train.items.tolist(), strict=True):
        tags = {fold_interest(tag) for tag in texts[item].tags}
        if tags:
            counted.setdefault(user, Counter()).update(tags)
    return {
        user: sorted(tags, key=lambda tag: (-tags[tag], tag))[:INTERESTS_A_USER]
        for user, tags in counted.items()
    }


def _asked_matrix(users: Numbers, asked: dict[int, list[str]], interests: list[str]) -> Matrix:
    places = {interest: place for place, interest in enumerate(interests)}
    rows, columns = zip(
        *(
            (row, places[interest])
            for row, user in enumerate(users.tolist())
            for interest in asked[user]
        ),
        strict=True,
    )
    ones = np.ones(len(rows), dtype=np.float32)
    return csr_array((ones, (rows, columns)), shape=(len(users), len(interests)))
