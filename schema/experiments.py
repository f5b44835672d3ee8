"""Experiments: defining them, taking part in them, and the line that one of them words."""

from datetime import datetime
from typing import Annotated

import strawberry

from models.experiments import BUCKETS, ExperimentStatus
from schema.context import Info
from schema.experiment_results import ExperimentResults
from schema.ids import encode_id
from schema.node import Node
from schema.problems import InvalidInput, InvalidState, NotFound
from schema.scalars import JSON
from services.errors import BadInput
from services.experiments import assign, definitions, points_prompt
from services.experiments.results import MetricSums, findings
from services.messages import message

strawberry.enum(ExperimentStatus)


@strawberry.type
class ExperimentAssignment:
    """What the viewer sees of an experiment."""

    experiment: str
    variant: str
    payload: JSON | None

    @classmethod
    def of(cls, assignment: assign.Assignment | None) -> "ExperimentAssignment | None":
        """The contract's view of an assignment; None where the viewer takes no part."""
        if assignment is None or assignment.variant is None:
            return None
        variant = assignment.variant
        return cls(
            experiment=assignment.experiment.key, variant=variant.key, payload=variant.payload
        )


@strawberry.type
class ExperimentVariant:
    """One of the things tried."""

    key: str
    weight: float
    payload: JSON | None


@strawberry.type
class Experiment(Node):
    """An idea that is tried on some members; for operators alone."""

    key: str
    status: ExperimentStatus
    traffic_percent: float = strawberry.field(description="Share of users enrolled, 0 to 100.")
    variants: list[ExperimentVariant]
    started_at: datetime | None
    stopped_at: datetime | None
    defined: strawberry.Private[definitions.Experiment]

    @strawberry.field
    async def results(self, info: Info, metric: str) -> ExperimentResults:
        """Batched over all experiments of the request. Raises BadInput for no name of a metric."""
        if not definitions.is_name(metric):
            raise BadInput("the metric is malformed")
        asked = (self.defined.id, self.defined.design, metric)
        sums = await info.context.loaders.metric_sums.load(asked) or MetricSums({})
        return ExperimentResults.of(findings(self.defined, metric, sums))

    @classmethod
    def of(cls, experiment: definitions.Experiment) -> "Experiment":
        """The contract's view of an experiment."""
        return cls(
            id=encode_id("Experiment", experiment.id),
            key=experiment.key,
            status=experiment.status,
            traffic_percent=100 * experiment.traffic_buckets / BUCKETS,
            variants=[
                ExperimentVariant(key=each.key, weight=each.weight, payload=each.payload)
                for each in experiment.variants
            ],
            started_at=experiment.started_at,
            stopped_at=experiment.stopped_at,
            defined=experiment,
        )


@strawberry.input
class ExperimentVariantInput:
    """One of the things to try. Weights are positive numbers, in proportion to each other."""

    key: str
    weight: float
    payload: JSON | None = None


@strawberry.input(
    description="All that is decided of an experiment. While it runs, `trafficPercent` may be"
    " raised and nothing else be changed."
)
class SaveExperimentInput:
    """An experiment to be; the first variant is the one that others are compared to."""

    key: str
    traffic_percent: float = 100
    variants: list[ExperimentVariantInput]


@strawberry.type
class SaveExperimentSuccess:
    """The experiment as it now is."""

    experiment: Experiment


SaveExperimentResult = Annotated[
    SaveExperimentSuccess | InvalidInput | InvalidState,
    strawberry.union(name="SaveExperimentResult"),
]


@strawberry.input
class SetExperimentStatusInput:
    """A draft is started, what runs is stopped, what is stopped can be resumed."""

    key: str
    status: ExperimentStatus


@strawberry.type
class SetExperimentStatusSuccess:
    """The experiment as it now is."""

    experiment: Experiment


SetExperimentStatusResult = Annotated[
    SetExperimentStatusSuccess | NotFound | InvalidState,
    strawberry.union(name="SetExperimentStatusResult"),
]


@strawberry.input
class ExperimentEventInput:
    """A sample of a metric. `eventId`, the viewer's own, makes sending it again harmless."""

    experiment: str
    metric: str
    value: float = 1
    event_id: str


@strawberry.input
class RecordExperimentEventsInput:
    """Up to 1,000 samples of the viewer's: all are recorded, or none."""

    events: list[ExperimentEventInput]


@strawberry.type
class RecordExperimentEventsSuccess:
    """How many samples were new, and how many had been recorded before."""

    recorded: int
    duplicates: int


RecordExperimentEventsResult = Annotated[
    RecordExperimentEventsSuccess | InvalidInput,
    strawberry.union(name="RecordExperimentEventsResult"),
]


@strawberry.type(
    description="The line that nudges a member to spend; its wording is the built-in experiment"
    " `points_prompt`."
)
class PointsPrompt:
    """A line, and the variant whose it is."""

    variant: str
    message: str

    @classmethod
    def of(
        cls, variant: str, facts: points_prompt.Worth | points_prompt.Expiry, locale: str
    ) -> "PointsPrompt":
        """The line in the member's language."""
        is_expiry = isinstance(facts, points_prompt.Expiry)
        said = _expiry(facts, locale) if is_expiry else _worth(facts, locale)
        return cls(variant=variant, message=said)


def _worth(facts: points_prompt.Worth, locale: str) -> str:
    if facts.item is not None:
        return message(
            locale,
            "Your {points} points are enough for {item}.",
            points=facts.available,
            item=facts.item,
        )
    if facts.available:
        return message(
            locale, "You have {points} points. See what they buy.", points=facts.available
        )
    return message(locale, "Earn points and exchange them for rewards.")


def _expiry(facts: points_prompt.Expiry, locale: str) -> str:
    if facts.first is None:
        return message(
            locale, "None of your points expire in the next {days} days.", days=facts.days
        )
    return message(
        locale,
        "{points} points expire on {date}: use them before they are gone.",
        points=facts.first.points,
        date=facts.first.date,
    )
