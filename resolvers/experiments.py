"""Root fields of experiments."""

import strawberry

from resolvers.access import Audience, field_for, mutation_for
from schema.context import Context, Info
from schema.experiments import (
    Experiment,
    ExperimentAssignment,
    PointsPrompt,
    RecordExperimentEventsInput,
    RecordExperimentEventsResult,
    RecordExperimentEventsSuccess,
    SaveExperimentInput,
    SaveExperimentResult,
    SaveExperimentSuccess,
    SetExperimentStatusInput,
    SetExperimentStatusResult,
    SetExperimentStatusSuccess,
)
from services.experiments.assign import (
    Assignment,
    find_assignment,
    note_crossing,
    store_assignment,
)
from services.experiments.definitions import POINTS_PROMPT, Variant, all_experiments
from services.experiments.points_prompt import is_crossing, prompt_facts, prompt_variant
from services.experiments.record import Sample, record_samples
from services.experiments.save import ExperimentTerms, save_experiment
from services.experiments.status import set_experiment_status
from services.transaction import transaction


@strawberry.type
class ExperimentsQuery:
    """What the viewer sees of experiments, and what operators see of all."""

    @field_for(Audience.MEMBER)
    async def experiment_assignment(
        self, info: Info, experiment: str
    ) -> ExperimentAssignment | None:
        """The viewer's variant of the experiment of that key; null where they take no part.

        Asking is being exposed: the answer is stored, once, and stays the same.
        """
        return ExperimentAssignment.of(await _assignment(info.context, experiment))

    @field_for(Audience.MEMBER)
    async def points_prompt(self, info: Info) -> PointsPrompt:
        """The line that nudges the viewer to spend; being shown it is being exposed."""
        context, user_id = info.context, info.context.require_viewer().user_id
        assignment = await _assignment(context, POINTS_PROMPT)
        variant = prompt_variant(assignment)
        if assignment is not None and is_crossing(assignment):
            async with transaction(context.mall.stores.write) as session:
                await note_crossing(session, assignment, context.now())
        async with context.read() as session:
            facts = await prompt_facts(session, variant, user_id, context.now(), context.mall.zone)
        return PointsPrompt.of(variant, facts, context.locale)

    @field_for(Audience.OPERATOR)
    async def experiments(self, info: Info) -> list[Experiment]:
        """Every experiment, the latest first."""
        async with info.context.read() as session:
            found = await all_experiments(session)
        return [Experiment.of(each) for each in found]


@strawberry.type
class ExperimentsMutation:
    """What members do in experiments, and what operators decide of them."""

    @mutation_for(Audience.MEMBER)
    async def record_experiment_events(
        self, info: Info, input: RecordExperimentEventsInput
    ) -> RecordExperimentEventsResult:
        """Record what was measured of the viewer: all of it, or nothing."""
        context = info.context
        samples = [
            Sample(each.experiment, each.metric, each.value, each.event_id) for each in input.events
        ]
        async with transaction(context.mall.stores.write) as session:
            done = await record_samples(
                session, context.require_viewer().user_id, samples, clock=context.mall.clock
            )
        return RecordExperimentEventsSuccess(recorded=done.recorded, duplicates=done.duplicates)

    @mutation_for(Audience.OPERATOR)
    async def save_experiment(self, info: Info, input: SaveExperimentInput) -> SaveExperimentResult:
        """Create an experiment as a draft, or change the one of that key."""
        context = info.context
        variants = tuple(Variant(each.key, each.weight, each.payload) for each in input.variants)
        terms = ExperimentTerms(input.key, input.traffic_percent, variants)
        async with transaction(context.mall.stores.write) as session:
            saved = await save_experiment(
                session, context.require_viewer().user_id, terms, clock=context.mall.clock
            )
        return SaveExperimentSuccess(experiment=Experiment.of(saved))

    @mutation_for(Audience.OPERATOR)
    async def set_experiment_status(
        self, info: Info, input: SetExperimentStatusInput
    ) -> SetExperimentStatusResult:
        """Start, stop or resume the experiment of that key."""
        context = info.context
        async with transaction(context.mall.stores.write) as session:
            after = await set_experiment_status(
                session,
                context.require_viewer().user_id,
                input.key,
                input.status,
                clock=context.mall.clock,
            )
        return SetExperimentStatusSuccess(experiment=Experiment.of(after))


async def _assignment(context: Context, key: str) -> Assignment | None:
    """What the viewer sees of the experiment, stored before it is shown for the first time."""
    user_id = context.require_viewer().user_id
    async with context.read() as session:
        assignment = await find_assignment(session, user_id, key)
    if assignment is None or not assignment.is_to_store:
        return assignment
    async with transaction(context.mall.stores.write) as session:
        return await store_assignment(session, assignment, context.now())
