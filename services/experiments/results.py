"""What an experiment has come to, by one metric.

The database adds up every sample, user by user and then variant by variant; a few numbers of each
variant reach this process, however many samples there are.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncSession

from services.experiments.buckets import buckets_of_weights
from services.experiments.definitions import Experiment
from services.experiments.sample_ratio import is_sample_ratio_off, sample_ratio_p_value
from services.experiments.statistics import (
    Estimate,
    Moments,
    estimate_mean,
    estimate_share,
    moments,
    ratio_moments,
    share_moments,
)

ResultsAsked = tuple[int, int, str]
"""(experiment id, design, metric)."""

# Sums are of value - shift, a sample of the metric: squares of large values that hardly differ
# would drown in their rounding. The aggregates are PostgreSQL's own, which do not subtract squares.
_SUMS = text(
    """
    SELECT asked.experiment_id, asked.design, asked.metric, centre.shift, found.*
    FROM unnest(
        CAST(:experiment_ids AS bigint[]), CAST(:designs AS integer[]), CAST(:metrics AS text[])
    ) AS asked(experiment_id, design, metric)
    LEFT JOIN LATERAL (
        SELECT value AS shift FROM experiment_events
        WHERE experiment_id = asked.experiment_id AND metric = asked.metric
        ORDER BY user_id LIMIT 1
    ) AS centre ON true
    CROSS JOIN LATERAL (
        SELECT variant, given.design = asked.design AS is_compared,
               given.crossed_over_at IS NOT NULL AS has_crossed_over,
               count(*) AS exposed_users, count(own.user_id) AS sampled_users,
               coalesce(sum(own.samples), 0)::bigint AS samples,
               count(*) FILTER (WHERE own.has_converted) AS converted_users,
               coalesce(bool_and(own.is_binary), true) AS is_binary,
               avg(own.shifted) AS shifted_mean, var_samp(own.shifted) AS shifted_variance,
               avg(own.samples::double precision) AS samples_mean,
               var_samp(own.samples::double precision) AS samples_variance,
               covar_samp(own.shifted, own.samples) AS covariance,
               avg(coalesce(own.total, 0)) AS exposed_mean,
               var_samp(coalesce(own.total, 0)) AS exposed_variance
        FROM ab_tests AS given
        LEFT JOIN (
            SELECT user_id, count(*) AS samples, sum(value) AS total,
                   sum(value - centre.shift) AS shifted, bool_or(value > 0) AS has_converted,
                   bool_and(value IN (0, 1)) AS is_binary
            FROM experiment_events
            WHERE experiment_id = asked.experiment_id AND metric = asked.metric
            GROUP BY user_id
        ) AS own ON own.user_id = given.user_id
        WHERE given.experiment_id = asked.experiment_id
        GROUP BY variant, is_compared, has_crossed_over
    ) AS found
    """
)


@dataclass(frozen=True, slots=True)
class VariantSums:
    """What the database adds up of one variant's users: all of them, and those with samples.

    `exposed` is of each user's total, 0 without a sample; `mean` of the samples, None without any.
    """

    exposed_users: int = 0
    sampled_users: int = 0
    samples: int = 0
    converted_users: int = 0
    is_binary: bool = True
    mean: Moments | None = None
    exposed: Moments | None = None


@dataclass(frozen=True, slots=True)
class MetricSums:
    """The sums of each variant by its key, and the users who are not compared.

    `crossed_over_users` have seen two variants, or what a stopped experiment shows to all;
    `earlier_users` were given theirs before variants, weights or payloads were changed.
    """

    variants: dict[str, VariantSums]
    crossed_over_users: int = 0
    earlier_users: int = 0


@dataclass(frozen=True, slots=True)
class VariantFindings:
    """What one variant has come to; `headline` is the figure that the metric is about."""

    variant: str
    sums: VariantSums
    mean: Estimate
    conversion: Estimate
    value_per_exposed_user: Estimate
    headline: Estimate


@dataclass(frozen=True, slots=True)
class Findings:
    """What an experiment has come to by a metric, the baseline first."""

    metric: str
    sample_ratio_p_value: float | None
    sample_ratio_mismatch: bool
    crossed_over_users: int
    earlier_users: int
    variants: tuple[VariantFindings, ...]


async def metric_sums(
    session: AsyncSession, asked: Sequence[ResultsAsked]
) -> dict[ResultsAsked, MetricSums]:
    """The sums of these experiments by these metrics, in one statement."""
    experiment_ids, designs, metrics = zip(*asked, strict=True)
    parameters = {
        "experiment_ids": list(experiment_ids),
        "designs": list(designs),
        "metrics": list(metrics),
    }
    rows: dict[ResultsAsked, list[Row[Any]]] = {each: [] for each in asked}
    for row in await session.execute(_SUMS, parameters):
        rows[row.experiment_id, row.design, row.metric].append(row)
    return {each: _gathered(of_each) for each, of_each in rows.items()}


def _gathered(rows: Sequence[Row[Any]]) -> MetricSums:
    compared = [row for row in rows if row.is_compared and not row.has_crossed_over]
    return MetricSums(
        {row.variant: _sums(row) for row in compared},
        crossed_over_users=sum(row.exposed_users for row in rows if row.has_crossed_over),
        earlier_users=sum(
            row.exposed_users for row in rows if not row.is_compared and not row.has_crossed_over
        ),
    )


def _sums(row: Row[Any]) -> VariantSums:
    mean = None
    if row.sampled_users:
        samples = Moments(row.sampled_users, row.samples_mean, row.samples_variance or 0.0)
        shifted = Moments(row.sampled_users, row.shifted_mean, row.shifted_variance or 0.0)
        mean = ratio_moments(samples, shifted, row.covariance or 0.0, row.shift)
    return VariantSums(
        exposed_users=row.exposed_users,
        sampled_users=row.sampled_users,
        samples=row.samples,
        converted_users=row.converted_users,
        is_binary=row.is_binary,
        mean=mean,
        exposed=moments(row.exposed_users, row.exposed_mean, row.exposed_variance),
    )


def findings(experiment: Experiment, metric: str, sums: MetricSums) -> Findings:
    """Every variant estimated, and compared to the first. Pure.

    Where every sample is 0 or 1 the metric is about conversion, else about the mean. Of a metric
    that was never recorded nothing is told, not even that nobody converted.
    """
    each = [sums.variants.get(variant.key, VariantSums()) for variant in experiment.variants]
    is_recorded = any(one.samples for one in each)
    is_binary = is_recorded and all(one.is_binary for one in each)
    shares = buckets_of_weights(experiment.weights)
    users = [one.exposed_users for one in each]
    return Findings(
        metric=metric,
        sample_ratio_p_value=sample_ratio_p_value(users, shares),
        sample_ratio_mismatch=is_sample_ratio_off(users, shares),
        crossed_over_users=sums.crossed_over_users,
        earlier_users=sums.earlier_users,
        variants=tuple(
            _found(variant.key, one, None if index == 0 else each[0], is_recorded, is_binary)
            for index, (variant, one) in enumerate(zip(experiment.variants, each, strict=True))
        ),
    )


def _found(
    key: str, sums: VariantSums, baseline: VariantSums | None, is_recorded: bool, is_binary: bool
) -> VariantFindings:
    mean = estimate_mean(sums.mean, baseline and baseline.mean)
    conversion, value = Estimate(), Estimate()
    if is_recorded:
        conversion = estimate_share(_converted(sums), baseline and _converted(baseline))
        value = estimate_mean(sums.exposed, baseline and baseline.exposed)
    return VariantFindings(key, sums, mean, conversion, value, conversion if is_binary else mean)


def _converted(sums: VariantSums) -> Moments | None:
    if sums.exposed_users == 0:
        return None
    return share_moments(sums.exposed_users, sums.converted_users)
