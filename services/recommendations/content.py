"""What items are like by what is said of them: TF-IDF over words, tags and categories.

Chinese is read as the words that a dictionary finds and as every two neighbouring characters, as
the search does; everything else as words. A tag and a category also count as a whole.
"""

from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array
from sklearn.feature_extraction.text import TfidfVectorizer

from services.catalogue.search import document_words
from services.recommendations.cosine import LEAST_LIKENESS, lengths_of, likeness
from services.recommendations.interactions import Floats, Matrix
from services.recommendations.interests import fold_interest
from services.recommendations.neighbours import NeighbourRows
from services.recommendations.progress import Tell, in_blocks, tell_nobody

_make_vectorizer: Any = TfidfVectorizer  # its types deny what it documents

_TAG, _CATEGORY = "#", "/"  # part of no word
_EVERY_ITEM = ""
"""Without a single word the vectorizer would refuse the catalogue. It counts for nothing."""
_NAME_TIMES = 2
_EXACT_TIMES = 3
_FEW_ITEMS = 100
_MOST_COMMON = 10_000
"""A word in more items tells too little for what multiplying it out costs, and so does one in half
of all; among few items every word counts."""
MOST_INTERESTS = 5_000
"""Interests for which items are kept: the tags and categories that most items bear."""
_FIT_SHARE = 0.2
"""The rest of an item's weight for an interest is how popular it is among what fits."""
_PAIRS_A_BLOCK = 100_000
"""Of an interest and an item that bears it: some tens of MB at once."""


@dataclass(frozen=True, slots=True)
class ItemTexts:
    """What is said of an item."""

    name: str
    tags: Sequence[str] = ()
    category: str | None = None
    description: str | None = None


class Content:
    """A catalogue as vectors of length 1, a row per item."""

    def __init__(self, texts: Sequence[ItemTexts]) -> None:
        """Read the texts."""
        self._texts = texts
        self._vectorizer = _make_vectorizer(analyzer=_features, sublinear_tf=True, norm=None)
        found = self._vectorizer.fit_transform(texts or [ItemTexts("")])
        vectors: Matrix = csr_array(found, dtype=np.float32)[: len(texts)]
        items = np.bincount(vectors.indices, minlength=vectors.shape[1])
        most = len(texts) if len(texts) < _FEW_ITEMS else min(len(texts) // 2, _MOST_COMMON)
        self._is_telling = items <= most
        self._is_telling[self._vectorizer.vocabulary_[_EVERY_ITEM]] = False
        self._vectors = self._of_length_1(vectors)

    def _of_length_1(self, vectors: Matrix) -> Matrix:
        """Only what tells something, and each row of length 1, if anything is left of it."""
        vectors.data *= self._is_telling[vectors.indices]
        vectors.eliminate_zeros()
        vectors.data /= lengths_of(vectors).repeat(np.diff(vectors.indptr))
        return vectors

    def neighbours(self, worth: Floats, *, most: int, tell: Tell = tell_nobody) -> Matrix:
        """The `most` items that are most like each item; what is not offered is worth 0."""
        return likeness(self._vectors, self._vectors, worth, most=most, what="content", tell=tell)

    def interests(self) -> list[str]:
        """All tags and categories, folded, those of most items first, as many as are kept."""
        counts: dict[str, int] = {}
        for text in self._texts:
            for interest in _interests_of(text):
                counts[interest] = counts.get(interest, 0) + 1
        return sorted(counts, key=lambda interest: (-counts[interest], interest))[:MOST_INTERESTS]

    def fitting(
        self,
        interests: Sequence[str],
        worth: Floats,
        users_per_item: NDArray[np.int64],
        *,
        most: int,
        tell: Tell = tell_nobody,
    ) -> Matrix:
        """The items that bear each interest as a tag or category, weights between 0 and 1.

        The more an item is about it, and the more popular it is, the greater its weight. What is
        merely told in like words does not fit.
        """
        items = self._bearing(interests)
        rows = np.arange(len(interests)).repeat(np.diff(items.indptr))
        popularity = np.log1p(users_per_item.astype(np.float32))
        popularity /= max(float(popularity.max(initial=0.0)), 1.0)
        popular = (worth * (_FIT_SHARE + (1 - _FIT_SHARE) * popularity)).astype(np.float32)
        asked = [ItemTexts("", tags=(interest,)) for interest in interests] or [ItemTexts("")]
        vectors = self._of_length_1(csr_array(self._vectorizer.transform(asked), dtype=np.float32))
        for pairs in in_blocks(len(rows), _PAIRS_A_BLOCK, "interests", tell):
            columns = items.indices[pairs]
            alike = (vectors[rows[pairs]].multiply(self._vectors[columns])).sum(axis=1)
            items.data[pairs] = np.maximum(alike, LEAST_LIKENESS) * popular[columns]
        found = NeighbourRows(most)
        found.add_sparse(items)
        return found.matrix(len(self._texts))

    def _bearing(self, interests: Sequence[str]) -> Matrix:
        """Of each interest, the items that bear it."""
        places = {interest: place for place, interest in enumerate(interests)}
        rows, columns = array("q"), array("q")
        for item, text in enumerate(self._texts):
            for interest in _interests_of(text) & places.keys():
                rows.append(places[interest])
                columns.append(item)
        ones = np.ones(len(rows), dtype=np.float32)
        shape = (len(interests), len(self._texts))
        return csr_array((ones, (np.array(rows), np.array(columns))), shape=shape)


def _interests_of(text: ItemTexts) -> set[str]:
    named = [*text.tags, *([text.category] if text.category else [])]
    return {folded for name in named if (folded := fold_interest(name))}


def _features(text: ItemTexts) -> Iterator[str]:
    """Everything that an item is told by, as often as it counts."""
    yield _EVERY_ITEM
    for _ in range(_NAME_TIMES):
        yield from document_words(text.name)
    yield from document_words(text.description or "")
    for tag in text.tags:
        yield from [_TAG + fold_interest(tag)] * _EXACT_TIMES
        yield from document_words(tag)
    if text.category:
        # Also as a tag: whoever is interested in a category means its items.
        yield from [_CATEGORY + fold_interest(text.category)] * _EXACT_TIMES
        yield _TAG + fold_interest(text.category)
        yield from document_words(text.category)
