"""What an experiment has come to, as operators see it."""

import strawberry

from services.experiments import results, statistics


@strawberry.type(
    description="One figure of a variant. Shares and lifts are fractions: 0.1 is 10 %. Null where"
    " it cannot be told: no samples, one user, no variance, a baseline of 0."
)
class MetricEstimate:
    """A figure, how sure it is, and how it compares to the first variant's."""

    average: float | None
    interval: list[float] | None = strawberry.field(description="95 %, of the average.")
    difference: float | None = strawberry.field(
        description="To the first variant's average; like all below null for the first."
    )
    difference_interval: list[float] | None = strawberry.field(description="95 %.")
    lift: float | None = strawberry.field(
        description="The difference as a share of the first variant's average."
    )
    lift_interval: list[float] | None = strawberry.field(
        description="95 %; null while the first variant's average may be 0."
    )
    p_value: float | None = strawberry.field(
        description="Of no difference, for one look at an end that was decided beforehand."
    )
    sequential_interval: list[float] | None = strawberry.field(
        description="95 %, of the difference, and valid however often it is looked at."
    )
    sequential_p_value: float | None = strawberry.field(
        description="Of no difference, valid however often it is looked at."
    )

    @classmethod
    def of(cls, estimate: statistics.Estimate) -> "MetricEstimate":
        """The contract's view of an estimate."""
        return cls(
            average=estimate.average,
            interval=_ends(estimate.interval),
            difference=estimate.difference,
            difference_interval=_ends(estimate.difference_interval),
            lift=estimate.lift,
            lift_interval=_ends(estimate.lift_interval),
            p_value=estimate.p_value,
            sequential_interval=_ends(estimate.sequential_interval),
            sequential_p_value=estimate.sequential_p_value,
        )


@strawberry.type(
    description="`confidenceInterval`, `lift`, `pValue` and the sequential ones are those of"
    " `conversion` where every sample of the metric is 0 or 1, of `mean` otherwise."
)
class VariantResult:
    """What one variant has come to."""

    variant: str
    assigned_users: int = strawberry.field(
        description="Who were given the variant and saw no other; being given is being exposed."
    )
    unique_users: int = strawberry.field(description="Those of them who have a sample.")
    total_samples: int
    average_value: float | None = strawberry.field(description="Mean over the samples.")
    conversion_rate: float | None = strawberry.field(
        description="Share of exposed users with at least one sample above 0."
    )
    confidence_interval: list[float] | None = strawberry.field(
        description="95 %, of `conversionRate` or `averageValue`."
    )
    lift: float | None = strawberry.field(
        description="Against the first variant; null for the first."
    )
    p_value: float | None
    sequential_interval: list[float] | None = strawberry.field(
        description="95 %, of the difference to the first variant, valid at every look."
    )
    sequential_p_value: float | None = strawberry.field(description="Valid at every look.")
    mean: MetricEstimate = strawberry.field(
        description="Of the samples. Users are the units: one with many samples is still one."
    )
    conversion: MetricEstimate = strawberry.field(
        description="Of the exposed users, those with a sample above 0."
    )
    value_per_exposed_user: MetricEstimate = strawberry.field(
        description="The sum of each user's samples; 0 for those without any."
    )

    @classmethod
    def of(cls, found: results.VariantFindings) -> "VariantResult":
        """The contract's view of what a variant has come to."""
        headline = found.headline
        return cls(
            variant=found.variant,
            assigned_users=found.sums.exposed_users,
            unique_users=found.sums.sampled_users,
            total_samples=found.sums.samples,
            average_value=found.mean.average,
            conversion_rate=found.conversion.average,
            confidence_interval=_ends(headline.interval),
            lift=headline.lift,
            p_value=headline.p_value,
            sequential_interval=_ends(headline.sequential_interval),
            sequential_p_value=headline.sequential_p_value,
            mean=MetricEstimate.of(found.mean),
            conversion=MetricEstimate.of(found.conversion),
            value_per_exposed_user=MetricEstimate.of(found.value_per_exposed_user),
        )


@strawberry.type
class ExperimentResults:
    """What an experiment has come to by one metric."""

    metric: str
    sample_ratio_p_value: float | None = strawberry.field(
        name="sampleRatioPValue",
        description="Chi-square p-value of the observed split against the weights; exact for"
        " variants of which fewer than five users are expected.",
    )
    sample_ratio_mismatch: bool = strawberry.field(
        description="The split is off by more than chance (p < 0.001): do not trust the results."
    )
    crossed_over_users: int = strawberry.field(
        description="Who have seen two variants, or the prompt of a stopped experiment (whatever"
        " their variant, so that all lose alike); they are in none of the figures."
    )
    earlier_users: int = strawberry.field(
        description="Who were given their variant before variants, weights or payloads were last"
        " changed; they are in none of the figures."
    )
    variants: list[VariantResult]

    @classmethod
    def of(cls, found: results.Findings) -> "ExperimentResults":
        """The contract's view of what an experiment has come to."""
        return cls(
            metric=found.metric,
            sample_ratio_p_value=found.sample_ratio_p_value,
            sample_ratio_mismatch=found.sample_ratio_mismatch,
            crossed_over_users=found.crossed_over_users,
            earlier_users=found.earlier_users,
            variants=[VariantResult.of(each) for each in found.variants],
        )


def _ends(interval: statistics.Interval | None) -> list[float] | None:
    return None if interval is None else list(interval)
