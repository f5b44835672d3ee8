"""Samples of users added up as naively as can be."""

from collections.abc import Sequence

import numpy as np

from services.experiments.statistics import Moments, moments, ratio_moments


def of_samples(users: Sequence[Sequence[float]]) -> Moments:
    """The mean over all samples, user by user."""
    shift = users[0][0]
    samples = np.array([float(len(own)) for own in users])
    shifted = np.array([sum(value - shift for value in own) for own in users])
    spread = np.cov(samples, shifted) if len(users) > 1 else np.zeros((2, 2))
    return ratio_moments(
        moments(len(users), float(samples.mean()), float(spread[0, 0])),
        moments(len(users), float(shifted.mean()), float(spread[1, 1])),
        float(spread[0, 1]),
        shift,
    )
