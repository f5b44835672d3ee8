"""Recording what was measured of a user: samples of metrics, each once (`domain.md`, Experiments).

A call is stored as a whole or not at all.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from models.experiments import (
    LONGEST_EVENT_ID,
    LONGEST_EXPERIMENT_KEY,
    ExperimentEvent,
    ExperimentStatus,
)
from services.bulk import insert_rows
from services.calendar import Clock
from services.errors import InvalidInput, Unauthenticated
from services.experiments.definitions import is_name
from services.input_rules import require_text

MOST_SAMPLES_A_CALL = 1_000
LARGEST_VALUE = 1e12
"""Of a sample, on either side of 0: squares of it, summed over any table, are still numbers."""
LONGEST_METRIC = LONGEST_EXPERIMENT_KEY

_COLUMNS = ("user_id", "event_id", "experiment_id", "metric", "value", "recorded_at")
_ONLY_NEW = "ON CONFLICT (user_id, event_id) DO NOTHING RETURNING event_id"
# Waits for an erasure alone, as a foreign key does; after one there is nobody to record for.
_HOLD_USER = text("SELECT id FROM users WHERE id = :user_id AND erased_at IS NULL FOR KEY SHARE")
# Locked as they stand until the samples are stored: who stops one comes before or after.
_OPEN = text(
    """
    SELECT id, key, status, variant IS NOT NULL AS is_assigned
    FROM experiments
    LEFT JOIN ab_tests ON experiment_id = experiments.id AND user_id = :user_id
    WHERE key = ANY(CAST(:keys AS text[]))
    ORDER BY id FOR SHARE OF experiments
    """
)


class SampleInvalid(InvalidInput):
    """A sample breaks one of the rules."""


class TooManySamples(SampleInvalid):
    """More samples than one call may bring."""


class MetricInvalid(SampleInvalid):
    """Not 1 to 64 letters, digits and `_.:-` that begin with a letter or digit."""


class ValueInvalid(SampleInvalid):
    """Not a number, or one beyond `LARGEST_VALUE`."""


class ExperimentNotOpen(SampleInvalid):
    """There is no such experiment, or it does not run."""


class NotAssigned(SampleInvalid):
    """The user has not been shown a variant of the experiment, so there is nothing to compare."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One measurement of one user; `event_id` makes sending it again harmless."""

    experiment: str
    metric: str
    value: float
    event_id: str


@dataclass(frozen=True, slots=True)
class RecordedSamples:
    """How many samples were new, and how many had been recorded before or stood there twice."""

    recorded: int
    duplicates: int


async def record_samples(
    session: AsyncSession, user_id: int, samples: Sequence[Sample], *, clock: Clock
) -> RecordedSamples:
    """Record up to 1,000 samples of the user's, each once by its event id.

    Raises SampleInvalid and TextInvalid, naming the first that breaks a rule, and Unauthenticated
    for a user who was erased: their token may outlive them. Nothing is stored then.
    """
    require_valid(samples)
    held = await session.execute(_HOLD_USER, {"user_id": user_id})
    if held.one_or_none() is None:
        raise Unauthenticated
    ids = await _require_open(session, user_id, samples)
    recorded = await _insert(session, user_id, _first_of_each(samples), ids, clock())
    return RecordedSamples(recorded, len(samples) - recorded)


def require_valid(samples: Sequence[Sample]) -> None:
    """Raise SampleInvalid or TextInvalid for what needs no looking up. Pure."""
    if len(samples) > MOST_SAMPLES_A_CALL:
        raise TooManySamples(("events",), f"at most {MOST_SAMPLES_A_CALL} a call")
    for index, sample in enumerate(samples):
        path = ("events", str(index))
        require_text((*path, "eventId"), sample.event_id, LONGEST_EVENT_ID)
        if not is_name(sample.metric):
            raise MetricInvalid((*path, "metric"), f"1 to {LONGEST_METRIC} letters, digits, _.:-")
        if not math.isfinite(sample.value) or abs(sample.value) > LARGEST_VALUE:
            raise ValueInvalid((*path, "value"), f"a number within ±{LARGEST_VALUE:.0f}")


async def _require_open(
    session: AsyncSession, user_id: int, samples: Sequence[Sample]
) -> dict[str, int]:
    """Ids by key, where every sample's experiment runs and the user has seen it."""
    keys = sorted({sample.experiment for sample in samples if is_name(sample.experiment)})
    rows = await session.execute(_OPEN, {"user_id": user_id, "keys": keys})
    found = {row.key: row for row in rows}
    for index, sample in enumerate(samples):
        path = ("events", str(index), "experiment")
        row = found.get(sample.experiment)
        if row is None or row.status != ExperimentStatus.RUNNING:
            raise ExperimentNotOpen(path, "no experiment of this key runs")
        if not row.is_assigned:
            raise NotAssigned(path, "the user was not assigned a variant")
    return {key: row.id for key, row in found.items()}


def _first_of_each(samples: Iterable[Sample]) -> list[Sample]:
    """One sample per id, in the order of the ids: so two calls of the same cannot deadlock."""
    first: dict[str, Sample] = {}
    for sample in samples:
        first.setdefault(sample.event_id, sample)
    return [first[event_id] for event_id in sorted(first)]


async def _insert(
    session: AsyncSession,
    user_id: int,
    samples: Sequence[Sample],
    ids: dict[str, int],
    now: datetime,
) -> int:
    rows = [
        (user_id, each.event_id, ids[each.experiment], each.metric, float(each.value), now)
        for each in samples
    ]
    return len(await insert_rows(session, ExperimentEvent, _COLUMNS, rows, suffix=_ONLY_NEW))
