"""Learning from interactions and texts what goes with what: the same for a mall and for a file."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from scipy.sparse import csr_array

from models.recommendations import MOST_NEIGHBOURS
from services.recommendations import cosine, ease
from services.recommendations.content import Content, ItemTexts
from services.recommendations.cosine import cosine_neighbours
from services.recommendations.ease import ease_neighbours
from services.recommendations.interactions import Floats, Interactions, Matrix
from services.recommendations.progress import Tell, tell_nobody


class Algorithm(StrEnum):
    """How the collaborative part is learnt."""

    EASE = "ease"
    COSINE = "cosine"


@dataclass(frozen=True, slots=True)
class Parameters:
    """What a validation may choose; see `ease.py` and `cosine.py`.

    Without an `algorithm` the data decides: with interactions on more items than `most_for_ease`
    the collaborative part is the shrunk cosine.
    """

    ridge: float = ease.RIDGE
    shrinkage: float = cosine.SHRINKAGE
    most_for_ease: int = ease.MOST_ITEMS
    algorithm: Algorithm | None = None


@dataclass(frozen=True, slots=True)
class Catalogue:
    """The items that there are to learn about, in the order of the columns of interactions.

    `worth` is 1 for what may be offered, and 0 for what may not but can still be learnt from.
    """

    texts: Sequence[ItemTexts]
    worth: Floats


@dataclass(frozen=True, slots=True)
class Learnt:
    """What a training found: in each row of a matrix the neighbours of an item, or an interest."""

    collaborative: Matrix
    content: Matrix
    interests: Sequence[str]
    interest_items: Matrix


def algorithm_for(interactions: Interactions, parameters: Parameters) -> Algorithm:
    """The one that was decided on; else EASE, if few enough items are wanted by anybody."""
    if parameters.algorithm is not None:
        return parameters.algorithm
    wanted = int(np.count_nonzero(interactions.users_per_item))
    return Algorithm.EASE if wanted <= parameters.most_for_ease else Algorithm.COSINE


def learn_collaborative(
    interactions: Interactions,
    worth: Floats,
    parameters: Parameters,
    tell: Tell = tell_nobody,
) -> Matrix:
    """Neighbours by who wants what: EASE, or in a large catalogue the shrunk cosine."""
    matrix, most = interactions.matrix, MOST_NEIGHBOURS
    if not matrix.nnz:
        return csr_array((len(worth), len(worth)), dtype=np.float32)
    if algorithm_for(interactions, parameters) is Algorithm.EASE:
        return ease_neighbours(matrix, worth, ridge=parameters.ridge, most=most, tell=tell)
    return cosine_neighbours(matrix, worth, shrinkage=parameters.shrinkage, most=most, tell=tell)


def learn(
    interactions: Interactions,
    catalogue: Catalogue,
    parameters: Parameters,
    tell: Tell = tell_nobody,
) -> Learnt:
    """Everything that the texts and interactions of a catalogue say."""
    worth, most = catalogue.worth, MOST_NEIGHBOURS
    collaborative = learn_collaborative(interactions, worth, parameters, tell)
    content = Content(catalogue.texts)
    interests = content.interests()
    users = interactions.users_per_item
    return Learnt(
        collaborative=collaborative,
        content=content.neighbours(worth, most=most, tell=tell),
        interests=interests,
        interest_items=content.fitting(interests, worth, users, most=most, tell=tell),
    )
