"""What samples say of two variants: estimates, intervals, tests (`domain.md`, Experiments). Pure.

The randomised unit is the user. `docs/experiments.md` tells an operator what each number means,
`docs/decisions/0025` why it is computed so. What cannot be told (no samples, one user, no variance,
a baseline of 0) is None, never NaN.
"""

import math
from dataclasses import dataclass, replace

from scipy.special import ndtr, ndtri, stdtr, stdtrit

ALPHA = 0.05
"""Intervals hold the truth in 95 % of experiments."""
SEQUENTIAL_USERS = 10_000
"""Of two variants alike in size: where an always-valid interval is narrowest beside a fixed one."""

_Z = float(ndtri(1 - ALPHA / 2))
_NOTHING = 1e-100  # a baseline nearer to 0 is 0: a ratio to it would leave all numbers
_NOISE = 1e-12  # beside a mean, a standard deviation below it is the rounding of sums
_SEQUENTIAL_RHO_SQUARED = (
    -2 * math.log(ALPHA) + math.log(1 - 2 * math.log(ALPHA))
) / SEQUENTIAL_USERS

Interval = tuple[float, float]
_Sequential = tuple[Interval | None, float | None]  # of the difference, and its p-value


@dataclass(frozen=True, slots=True)
class Moments:
    """So many independent users, their mean, and the variance (n − 1) of one of them."""

    users: int
    mean: float
    variance: float

    @property
    def squared_error(self) -> float:
        """The variance of the mean."""
        return self.variance / self.users


@dataclass(frozen=True, slots=True)
class Estimate:
    """One figure of a variant, and how it compares to the baseline's; None where it cannot be told.

    `difference` is absolute, `lift` relative to the baseline's distance from 0. `interval` is of
    `average`. `sequential_interval`, of the difference, and `sequential_p_value` hold however
    often they are looked at; the others for one look, at an end that was decided beforehand.
    """

    average: float | None = None
    interval: Interval | None = None
    difference: float | None = None
    difference_interval: Interval | None = None
    lift: float | None = None
    lift_interval: Interval | None = None
    p_value: float | None = None
    sequential_interval: Interval | None = None
    sequential_p_value: float | None = None


def moments(users: int, mean: float, variance: float | None) -> Moments:
    """Moments whose variance is 0 where it is unknown, or only what rounding left."""
    known = variance or 0.0
    is_noise = known <= (mean * _NOISE) ** 2
    return Moments(users, mean, 0.0 if is_noise else known)


def ratio_moments(
    samples: Moments, shifted_totals: Moments, covariance: float, shift: float
) -> Moments:
    """The mean over samples, of which users have different numbers, by the delta method.

    `samples` a user, `shifted_totals` a user (of value − shift, which changes nothing but the
    rounding), their covariance. A user's part is (total − mean · samples) / mean samples; with one
    sample each that is the sample, and all of it is Welch's.
    """
    ratio = shifted_totals.mean / samples.mean
    spread = (
        shifted_totals.variance - 2 * ratio * covariance + ratio * ratio * samples.variance
    ) / samples.mean**2
    return moments(samples.users, shift + ratio, max(spread, 0.0))


def share_moments(users: int, converted: int) -> Moments:
    """A share of users, each of whom is 1 or 0."""
    share = converted / users
    unbiased = users / (users - 1) if users > 1 else 0.0
    return Moments(users, share, share * (1 - share) * unbiased)


def estimate_mean(measured: Moments | None, baseline: Moments | None = None) -> Estimate:
    """A mean, by Student's and Welch's t; without a baseline, that of the baseline itself."""
    if measured is None:
        return Estimate()
    own = _student_interval(measured)
    if baseline is None:
        return Estimate(average=measured.mean, interval=own)
    sequential = _sequential(measured, baseline)
    compared = _compared(measured, own, baseline, _student_interval(baseline), sequential)
    error = math.sqrt(measured.squared_error + baseline.squared_error)
    freedom = _welch_freedom(measured, baseline)
    if freedom is None:
        return compared
    difference = measured.mean - baseline.mean
    reach = float(stdtrit(freedom, 1 - ALPHA / 2)) * error
    return replace(
        compared,
        difference_interval=(difference - reach, difference + reach),
        p_value=2 * float(stdtr(freedom, -abs(difference) / error)),
    )


def estimate_share(measured: Moments | None, baseline: Moments | None = None) -> Estimate:
    """A share of users: Wilson's interval, Newcombe's of the difference, the pooled z-test."""
    if measured is None:
        return Estimate()
    own = _wilson_interval(measured)
    if baseline is None:
        return Estimate(average=measured.mean, interval=own)
    of_baseline = _wilson_interval(baseline)
    sequential = _sequential(_cautious(measured), _cautious(baseline))
    return replace(
        _compared(measured, own, baseline, of_baseline, sequential),
        difference_interval=_newcombe_interval(measured, own, baseline, of_baseline),
        p_value=_pooled_p_value(measured, baseline),
    )


def _compared(
    measured: Moments,
    own: Interval | None,
    baseline: Moments,
    of_baseline: Interval | None,
    sequential: _Sequential,
) -> Estimate:
    """All that means and shares are compared by alike."""
    difference = measured.mean - baseline.mean
    sequential_interval, sequential_p_value = sequential
    return Estimate(
        average=measured.mean,
        interval=own,
        difference=difference,
        lift=difference / abs(baseline.mean) if abs(baseline.mean) > _NOTHING else None,
        lift_interval=_lift_interval(measured.mean, own, baseline.mean, of_baseline),
        sequential_interval=sequential_interval,
        sequential_p_value=sequential_p_value,
    )


def _student_interval(measured: Moments) -> Interval | None:
    if measured.users < 2 or measured.variance == 0:  # noqa: PLR2004
        return None
    quantile = float(stdtrit(measured.users - 1, 1 - ALPHA / 2))
    reach = quantile * math.sqrt(measured.squared_error)
    return (measured.mean - reach, measured.mean + reach)


def _welch_freedom(measured: Moments, baseline: Moments) -> float | None:
    """Degrees of freedom after Welch and Satterthwaite; None without two users on both sides."""
    whole = measured.squared_error + baseline.squared_error
    if min(measured.users, baseline.users) < 2 or whole == 0:  # noqa: PLR2004
        return None
    own, others = measured.squared_error / whole, baseline.squared_error / whole
    return 1 / (own**2 / (measured.users - 1) + others**2 / (baseline.users - 1))


def _wilson_interval(share: Moments) -> Interval:
    squared = _Z * _Z / share.users
    centre = (share.mean + squared / 2) / (1 + squared)
    inner = share.mean * (1 - share.mean) / share.users + squared / (4 * share.users)
    reach = _Z * math.sqrt(inner) / (1 + squared)
    # At the ends centre and reach are the same number, but for its rounding.
    low = max(centre - reach, 0.0) if share.mean > 0 else 0.0
    return (low, min(centre + reach, 1.0) if share.mean < 1 else 1.0)


def _newcombe_interval(
    measured: Moments, own: Interval, baseline: Moments, of_baseline: Interval
) -> Interval:
    """Newcombe's hybrid score interval (his method 10): from the ends of the two Wilson's."""
    difference = measured.mean - baseline.mean
    down = math.hypot(measured.mean - own[0], of_baseline[1] - baseline.mean)
    up = math.hypot(own[1] - measured.mean, baseline.mean - of_baseline[0])
    return (difference - down, difference + up)


def _pooled_p_value(measured: Moments, baseline: Moments) -> float | None:
    """Two-sided, by the share of both together; None where nobody or everybody converted."""
    users = measured.users + baseline.users
    pooled = (measured.mean * measured.users + baseline.mean * baseline.users) / users
    error = math.sqrt(pooled * (1 - pooled) * (1 / measured.users + 1 / baseline.users))
    if error == 0:
        return None
    return 2 * float(ndtr(-abs(measured.mean - baseline.mean) / error))


def _lift_interval(
    mean: float, own: Interval | None, baseline: float, of_baseline: Interval | None
) -> Interval | None:
    """Of the lift, from the two intervals (MOVER-R, Donner and Zou; for means it is Fieller's).

    None unless the baseline is surely on one side of 0: a ratio to it could be anything.
    """
    if own is None or of_baseline is None:
        return None
    if of_baseline[0] <= _NOTHING and of_baseline[1] >= -_NOTHING:
        return None
    if baseline < 0:  # better is less far below 0: the same, mirrored twice
        own, of_baseline = (-own[1], -own[0]), (-of_baseline[1], -of_baseline[0])
        low, high = _ratio_interval(-mean, own, -baseline, of_baseline)
        return (1 - high, 1 - low)
    low, high = _ratio_interval(mean, own, baseline, of_baseline)
    return (low - 1, high - 1)


def _ratio_interval(above: float, own: Interval, below: float, of_below: Interval) -> Interval:
    product = above * below
    down, up = (end * (2 * above - end) for end in own)
    low, high = (end * (2 * below - end) for end in of_below)
    lower = math.sqrt(max(product**2 - down * high, 0.0))
    upper = math.sqrt(max(product**2 - up * low, 0.0))
    # The same root in the form that is exact: `high` may be 0 where the product is above it.
    least = down / (product + lower) if product > 0 else (product - lower) / (high or 1.0)
    return (least, (product + upper) / low)


def _sequential(measured: Moments, baseline: Moments) -> _Sequential:
    """An interval of the difference, and a p-value, that hold at every look at once.

    The asymptotic confidence sequence of Waudby-Smith and others (2024), a normal mixture. Its
    p-value is the smallest alpha whose interval leaves out 0: the two never disagree.
    """
    if min(measured.users, baseline.users) < 2:  # noqa: PLR2004
        return None, None
    error = _sequential_error(measured, baseline)
    if error == 0:
        return None, None
    difference = measured.mean - baseline.mean
    # The smaller side sets what is known: as many users as two equal sides would need for it.
    users = 4 * measured.users * (baseline.users / (measured.users + baseline.users))
    scale = users * _SEQUENTIAL_RHO_SQUARED
    growth = math.log1p(scale) / 2
    reach = error * math.sqrt(2 * (1 + 1 / scale) * (growth - math.log(ALPHA)))
    evidence = (difference / error) ** 2 * scale / (2 * (scale + 1)) - growth
    return (difference - reach, difference + reach), math.exp(-max(evidence, 0.0))


def _sequential_error(measured: Moments, baseline: Moments) -> float:
    """The larger of Welch's and Student's pooled standard error: the variances are guesses early.

    A small side that has seen nobody convert, or none of the few large amounts, would believe that
    it has (almost) no variance; the other side knows better. Alike in size, both errors are one.
    """
    freedom = measured.users + baseline.users - 2
    squares = measured.variance * (measured.users - 1) + baseline.variance * (baseline.users - 1)
    pooled = squares / freedom * (1 / measured.users + 1 / baseline.users)
    return math.sqrt(max(measured.squared_error + baseline.squared_error, pooled))


def _cautious(share: Moments) -> Moments:
    """The same share with the variance of two more who converted and two who did not.

    After Agresti and Coull, so that a side is not sure of a share of 0 or 1 after a few users.
    """
    users = share.users + 4
    guess = (share.mean * share.users + 2) / users
    return replace(share, variance=guess * (1 - guess))
