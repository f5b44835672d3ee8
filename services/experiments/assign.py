"""Which variant a user sees: the one they were given, or else the one that their bucket has.

Rules: `domain.md`, Experiments; the cases it leaves open: `docs/decisions/0025`. Reading takes one
statement; storing what was shown first takes one more, once per user and experiment.
"""

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from sqlalchemy import and_, select, text
from sqlalchemy.ext.asyncio import AsyncSession

from models.experiments import Experiment as ExperimentRow
from models.experiments import ExperimentAssignment, ExperimentStatus
from services.experiments.buckets import is_enrolled, variant_index
from services.experiments.definitions import (
    EXPERIMENT_COLUMNS,
    Experiment,
    Variant,
    experiment_from_row,
    is_name,
)

# Only as the experiment was when this was decided: FOR SHARE waits for an operator who is just
# changing it, and then looks again. Nothing is stored for who was erased meanwhile.
_STORE = text(
    """
    WITH decided AS (
        SELECT id, design FROM experiments
        WHERE id = :experiment_id AND design = :design AND status = 'running'
        FOR SHARE
    )
    INSERT INTO ab_tests (experiment_id, user_id, variant, design, exposed_at)
    SELECT decided.id, users.id, :variant, decided.design, :now
    FROM decided, users WHERE users.id = :user_id AND erased_at IS NULL
    ON CONFLICT DO NOTHING
    RETURNING variant
    """
)
# Whoever crosses over keeps the design of the first variant: that, too, is no longer compared.
_CROSS_OVER = text(
    """
    WITH decided AS (
        SELECT id FROM experiments
        WHERE id = :experiment_id AND design = :design AND status = :status
        FOR SHARE
    )
    UPDATE ab_tests
    SET variant = :variant, crossed_over_at = coalesce(crossed_over_at, :now)
    FROM decided, users
    WHERE experiment_id = decided.id AND user_id = :user_id AND variant = :given
      AND users.id = user_id AND erased_at IS NULL
    RETURNING variant
    """
)


@dataclass(frozen=True, slots=True)
class Given:
    """What a user was given before: the variant's key, and whether they have seen another one."""

    variant: str
    has_crossed_over: bool


@dataclass(frozen=True, slots=True)
class Assignment:
    """What a user sees of an experiment; `variant` is None where they take no part.

    `is_to_store`: what they see has not been stored yet, and must be before it is shown.
    """

    experiment: Experiment
    user_id: int
    given: Given | None
    variant: Variant | None
    is_to_store: bool


def decide(experiment: Experiment, user_id: int, given: Given | None) -> Assignment:
    """What the user sees: pure.

    Nothing unless the experiment runs. The variant that they were given wins, whatever the traffic
    and the weights are by now. Where it was removed they are asked like newcomers, so that raising
    the traffic reaches them step by step, too.
    """
    if experiment.status is not ExperimentStatus.RUNNING:
        return Assignment(experiment, user_id, given, None, is_to_store=False)
    kept = experiment.variant(given.variant) if given else None
    if kept is not None:
        return Assignment(experiment, user_id, given, kept, is_to_store=False)
    if not is_enrolled(experiment.salt, user_id, experiment.traffic_buckets):
        return Assignment(experiment, user_id, given, None, is_to_store=False)
    index = variant_index(experiment.salt, user_id, experiment.weights)
    return Assignment(experiment, user_id, given, experiment.variants[index], is_to_store=True)


async def find_assignment(session: AsyncSession, user_id: int, key: str) -> Assignment | None:
    """What the user sees of the experiment of that key, in one statement; None without one."""
    if not is_name(key):
        return None
    stored = ExperimentAssignment
    statement = (
        select(*EXPERIMENT_COLUMNS, stored.variant, stored.crossed_over_at)
        .outerjoin(
            stored, and_(stored.experiment_id == ExperimentRow.id, stored.user_id == user_id)
        )
        .where(ExperimentRow.key == key)
    )
    row = (await session.execute(statement)).mappings().one_or_none()
    if row is None:
        return None
    variant = row["variant"]
    given = None if variant is None else Given(variant, row["crossed_over_at"] is not None)
    return decide(experiment_from_row(row), user_id, given)


async def store_assignment(
    session: AsyncSession, assignment: Assignment, now: datetime
) -> Assignment | None:
    """Store what the user is about to see, and tell what they do see.

    That is what another process stored first, where one did; and nothing of a change of variants
    or an end of the experiment that came in between is overlooked.
    """
    variant = assignment.variant
    if variant is None or not assignment.is_to_store:
        return assignment
    statement = _STORE if assignment.given is None else _CROSS_OVER
    stored = await session.execute(statement, _parameters(assignment, variant.key, now))
    if stored.one_or_none() is not None:
        return replace(assignment, is_to_store=False)
    key = assignment.experiment.key
    found = await find_assignment(session, assignment.user_id, key)
    # Still to be stored: changed once more in these milliseconds, or erased. Nothing is shown.
    return replace(found, variant=None) if found and found.is_to_store else found


async def note_crossing(session: AsyncSession, assignment: Assignment, now: datetime) -> None:
    """Note that a user leaves the comparison by what they are shown; they keep their variant."""
    if assignment.given is not None:
        parameters = _parameters(assignment, assignment.given.variant, now)
        await session.execute(_CROSS_OVER, parameters)


def _parameters(assignment: Assignment, variant: str, now: datetime) -> dict[str, Any]:
    experiment, given = assignment.experiment, assignment.given
    parameters = {
        "experiment_id": experiment.id,
        "design": experiment.design,
        "user_id": assignment.user_id,
        "variant": variant,
        "now": now,
    }
    if given is None:
        return parameters
    return parameters | {"given": given.variant, "status": experiment.status}
