"""Choosing what can be chosen, on a part of the training data that is held back for it."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace

import numpy as np

from services.recommendations.blend import scores
from services.recommendations.dataset import Dataset, Split
from services.recommendations.model import Algorithm, Parameters, algorithm_for, learn_collaborative
from services.recommendations.progress import Tell, tell_nobody
from services.recommendations.trial import Trial

RIDGES: Sequence[float] = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0)
SHRINKAGES: Sequence[float] = (0.0, 0.02, 0.1, 0.5, 2.0)
HALF_LIVES_DAYS: Sequence[float | None] = (None, 365.0, 90.0)


@dataclass(frozen=True, slots=True)
class Chosen:
    """What the validation chose, and the NDCG of the collaborative part there."""

    algorithm: str
    ridge: float | None
    shrinkage: float | None
    half_life_days: float | None
    validation_ndcg: float

    def as_facts(self) -> dict[str, object]:
        """For JSON."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class _Candidate:
    parameters: Parameters
    half_life_days: float | None = None


def choose(
    train: Dataset,
    how: Split,
    ratio: float,
    seed: int,
    k: int,
    start: Parameters,
    tell: Tell = tell_nobody,
) -> tuple[Parameters, Chosen]:
    """The parameters with the best NDCG at k on interactions held back from the training data.

    They are split as the test data was. First the ridge (or shrinkage) is chosen, then with it the
    half-life. Of equal ones the first is taken. Which algorithm they are for, all of the training
    data decides: a part of it has fewer items.
    """
    learn_from, held_back = train.split(how, ratio, seed + 1)
    algorithm = algorithm_for(train.interactions(None), start)
    has_ease = algorithm is Algorithm.EASE
    start = replace(start, algorithm=algorithm)
    candidates = [
        _Candidate(replace(start, ridge=each) if has_ease else replace(start, shrinkage=each))
        for each in (RIDGES if has_ease else SHRINKAGES)
    ]
    tried = len(candidates) + len(HALF_LIVES_DAYS) - 1
    found: list[tuple[float, _Candidate]] = []
    for candidate in candidates:
        tell("choosing", len(found), tried)
        found.append((_ndcg(learn_from, held_back, candidate, k), candidate))
    first = _best(found)
    for half_life_days in HALF_LIVES_DAYS[1:]:
        tell("choosing", len(found), tried)
        candidate = replace(first[1], half_life_days=half_life_days)
        found.append((_ndcg(learn_from, held_back, candidate, k), candidate))
    tell("choosing", tried, tried)
    value, winner = _best(found)
    parameters = winner.parameters
    return parameters, Chosen(
        algorithm=algorithm,
        ridge=parameters.ridge if has_ease else None,
        shrinkage=None if has_ease else parameters.shrinkage,
        half_life_days=winner.half_life_days,
        validation_ndcg=value,
    )


def _best(found: Sequence[tuple[float, _Candidate]]) -> tuple[float, _Candidate]:
    return max(found, key=lambda each: each[0])


def _ndcg(learn_from: Dataset, held_back: Dataset, candidate: _Candidate, k: int) -> float:
    if not len(learn_from) or not len(held_back):
        return 0.0
    interactions = learn_from.interactions(candidate.half_life_days)
    worth = np.ones(len(learn_from.item_names), dtype=np.float32)
    neighbours = learn_collaborative(interactions, worth, candidate.parameters)
    users = np.unique(held_back.users)
    trial = Trial.of(learn_from, held_back, interactions, users, k)
    quality = trial.measure(lambda rows: {"": scores(trial.history[rows], neighbours)})
    return quality[""].ndcg
