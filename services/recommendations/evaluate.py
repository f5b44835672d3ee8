"""Measuring recommendations on data that they have not seen (`docs/recommendations.md`).

What is learnt, and how scores are made of it, is what training and serving do. What can be chosen
is chosen on a part of the training data held back for it, never on the test data.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from services.recommendations.blend import blend, scores
from services.recommendations.choose import Chosen, choose
from services.recommendations.cold_start import ColdStart, measure_cold_start
from services.recommendations.content import ItemTexts
from services.recommendations.dataset import Dataset, Split
from services.recommendations.interactions import HALF_LIFE_DAYS
from services.recommendations.metrics import Quality
from services.recommendations.model import Catalogue, Learnt, Parameters, learn
from services.recommendations.progress import Tell, tell_nobody
from services.recommendations.trial import Trial

FEW_INTERACTIONS = 5
"""Users of whom no more are known are also measured by themselves."""
_UNKNOWN = ItemTexts("")


class NothingToMeasure(Exception):
    """The data is too small to be split; the message says how."""


@dataclass(frozen=True, slots=True)
class Question:
    """How to split, how long lists are, and the seed of all that is left to chance."""

    split: Split = Split.RANDOM
    test_ratio: float = 0.2
    k: int = 10
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Report:
    """What came of it: the quality of each method, for all users and for those with few.

    `shipped` is the best of them with what a mall's training goes by, instead of what was chosen.
    """

    learnt_from: int
    held_back: int
    items: int
    chosen: Chosen
    methods: Mapping[str, Quality]
    few: Mapping[str, Quality]
    shipped: Quality
    cold_start: ColdStart | None

    def as_facts(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def evaluate(
    dataset: Dataset,
    texts: Mapping[str, ItemTexts] | None,
    question: Question,
    tell: Tell = tell_nobody,
    parameters: Parameters | None = None,
) -> Report:
    """Split, choose, learn, rank and measure; raises NothingToMeasure.

    Without texts there is no content to go by: the collaborative part is all that is measured
    against popularity.
    """
    how, ratio, k, seed = question.split, question.test_ratio, question.k, question.seed
    dataset = dataset.with_items(texts or ())
    train, test = dataset.split(how, ratio, seed)
    if not len(train) or not len(test):
        raise NothingToMeasure("too few interactions to hold back some and learn from the others")
    start = parameters or Parameters()
    parameters, chosen = choose(train, how, ratio, seed, k, start, tell)
    described = [(texts or {}).get(name, _UNKNOWN) for name in dataset.item_names]
    catalogue = Catalogue(described, np.ones(len(described), dtype=np.float32))

    def measured(
        by: Parameters, half_life_days: float | None
    ) -> Mapping[str, Mapping[str, Quality]]:
        interactions = train.interactions(half_life_days)
        learnt = learn(interactions, catalogue, by, tell)
        trial = Trial.of(train, test, interactions, np.unique(test.users), k)
        known = np.diff(trial.seen.indptr)
        slices = {"all": slice(None), "few": known <= FEW_INTERACTIONS}
        score_all = _score_all if texts is not None else _score_without_texts
        return trial.measure_slices(lambda rows: score_all(trial, learnt, rows), slices, tell)

    found = measured(parameters, chosen.half_life_days)
    shipped = measured(start, HALF_LIFE_DAYS)["all"]
    cold_start = None
    if texts is not None:
        cold_start = measure_cold_start(train, test, described, k, seed, tell)
    return Report(
        learnt_from=len(train),
        held_back=len(test),
        items=len(described),
        chosen=chosen,
        methods=found["all"],
        few=found["few"],
        shipped=shipped["collaborative" if texts is None else "hybrid"],
        cold_start=cold_start,
    )


def _score_all(trial: Trial, learnt: Learnt, rows: slice) -> dict[str, NDArray[Any]]:
    collaborative = scores(trial.history[rows], learnt.collaborative)
    content = scores(trial.history[rows], learnt.content)
    return {
        "hybrid": blend(collaborative, content),
        "collaborative": collaborative,
        "content": content,
        "popularity": _popularity(trial, rows),
    }


def _score_without_texts(trial: Trial, learnt: Learnt, rows: slice) -> dict[str, NDArray[Any]]:
    collaborative = scores(trial.history[rows], learnt.collaborative)
    return {"collaborative": collaborative, "popularity": _popularity(trial, rows)}


def _popularity(trial: Trial, rows: slice) -> NDArray[Any]:
    return np.tile(trial.interactions.users_per_item, (rows.stop - rows.start, 1))
