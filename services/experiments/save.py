"""Creating and changing experiments (`domain.md`, Experiments)."""

import math
import secrets
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from models.experiments import (
    BUCKETS,
    LONGEST_EXPERIMENT_KEY,
    MOST_VARIANTS,
    ExperimentStatus,
)
from models.experiments import Experiment as ExperimentRow
from services.bulk import Writes
from services.calendar import Clock
from services.errors import InvalidInput, InvalidState
from services.experiments.buckets import buckets_of_weights
from services.experiments.definitions import (
    EXPERIMENT_COLUMNS,
    POINTS_PROMPT,
    PROMPT_VARIANTS,
    Experiment,
    Variant,
    experiment_from_row,
    hold_experiment,
    is_name,
)
from services.input_rules import FieldPath, is_same_json, require_json, require_text
from services.operators import changes, note_action

LARGEST_WEIGHT = 1e12
MOST_PAYLOAD_BYTES, MOST_PAYLOAD_LEVELS = 10_000, 16
_PERCENT = BUCKETS // 100


class ExperimentInvalid(InvalidInput):
    """What an operator decides of an experiment breaks one of its rules."""


class ExperimentKeyInvalid(ExperimentInvalid):
    """Not 1 to 64 letters, digits and `_.:-` that begin with a letter or digit."""


class TrafficInvalid(ExperimentInvalid):
    """Not a number from 0 to 100 with two decimals at most."""


class VariantCountInvalid(ExperimentInvalid):
    """No variants, or too many."""


class VariantKeyTaken(ExperimentInvalid):
    """Another variant of the experiment has this key."""


class VariantUnknown(ExperimentInvalid):
    """The built-in experiment has no text for such a variant."""


class WeightInvalid(ExperimentInvalid):
    """Not a positive number."""


class WeightTooSmall(ExperimentInvalid):
    """So small beside the others that not one of the 10,000 buckets is the variant's."""


@dataclass(frozen=True, slots=True)
class ExperimentTerms:
    """All that an operator decides; traffic in percent, the first variant is the baseline."""

    key: str
    traffic_percent: float
    variants: tuple[Variant, ...]


async def save_experiment(
    session: AsyncSession, operator_id: int, terms: ExperimentTerms, *, clock: Clock
) -> Experiment:
    """Create the experiment of that key, as a draft, or change it.

    While it runs its traffic may be raised, and nothing else be changed: nobody is to see another
    variant. Other variants, weights or payloads than it was run with make a new design of it.

    Raises InvalidInput, naming the field, for terms that break a rule, and InvalidState.
    """
    asked = valid_terms(terms)
    before, now = await hold_experiment(session, asked.key), clock()
    saved = await _create(session, asked, now) if before is None else None
    if saved is None:  # it was there, or somebody else has just created it
        before = before or await hold_experiment(session, asked.key)
        if before is None:
            raise LookupError(f"experiment {asked.key} is gone")
        saved = await _change(session, before, changed(before, asked), now)
    await _note(session, operator_id, before, saved, now)
    return saved


@dataclass(frozen=True, slots=True)
class ValidTerms:
    """Terms that break no rule, as they are stored."""

    key: str
    traffic_buckets: int
    variants: tuple[Variant, ...]


def valid_terms(terms: ExperimentTerms) -> ValidTerms:
    """The terms as they are stored; raises InvalidInput for the first rule that is broken."""
    if not is_name(terms.key):
        rule = f"1 to {LONGEST_EXPERIMENT_KEY} letters, digits and _.:-"
        raise ExperimentKeyInvalid(("key",), f"{rule}, beginning with a letter or digit")
    traffic_buckets = _buckets_of_percent(terms.traffic_percent)
    variants = terms.variants
    if not 1 <= len(variants) <= MOST_VARIANTS:
        raise VariantCountInvalid(("variants",), f"1 to {MOST_VARIANTS} variants")
    for index, variant in enumerate(variants):
        _require_valid(variant, ("variants", str(index)))
        if any(other.key == variant.key for other in variants[:index]):
            raise VariantKeyTaken(("variants", str(index), "key"), "another variant has this key")
        if terms.key == POINTS_PROMPT and variant.key not in PROMPT_VARIANTS:
            known = " and ".join(PROMPT_VARIANTS)
            raise VariantUnknown(("variants", str(index), "key"), f"there are texts for {known}")
    _require_a_bucket_each(variants)
    stored = tuple(_stored(variant, index) for index, variant in enumerate(variants))
    return ValidTerms(terms.key, traffic_buckets, stored)


def _buckets_of_percent(percent: float) -> int:
    exact = Decimal(repr(percent)) * _PERCENT if math.isfinite(percent) else Decimal(-1)
    if not 0 <= exact <= BUCKETS or exact != int(exact):
        raise TrafficInvalid(("trafficPercent",), "0 to 100, with two decimals at most")
    return int(exact)


def _require_valid(variant: Variant, path: FieldPath) -> None:
    require_text((*path, "key"), variant.key, LONGEST_EXPERIMENT_KEY)
    if not 0 < variant.weight <= LARGEST_WEIGHT:  # false for NaN, too
        raise WeightInvalid((*path, "weight"), "a positive number")


def _require_a_bucket_each(variants: Sequence[Variant]) -> None:
    for index, buckets in enumerate(buckets_of_weights([each.weight for each in variants])):
        if buckets == 0:
            path = ("variants", str(index), "weight")
            raise WeightTooSmall(path, f"at least one part in {BUCKETS} of all weights")


def _stored(variant: Variant, index: int) -> Variant:
    payload = require_json(
        ("variants", str(index), "payload"),
        variant.payload,
        most_bytes=MOST_PAYLOAD_BYTES,
        most_levels=MOST_PAYLOAD_LEVELS,
    )
    return replace(variant, weight=float(variant.weight), payload=payload)


def changed(before: Experiment, asked: ValidTerms) -> Experiment:
    """The experiment as it will be; raises InvalidState for what its state does not allow. Pure."""
    listed = ([asdict(variant) for variant in each.variants] for each in (before, asked))
    is_same_design = is_same_json(*listed)
    if before.status is ExperimentStatus.RUNNING and (
        not is_same_design or asked.traffic_buckets < before.traffic_buckets
    ):
        raise InvalidState(before.status.name)
    is_redesigned = not is_same_design and before.started_at is not None
    return replace(
        before,
        traffic_buckets=asked.traffic_buckets,
        variants=asked.variants,
        design=before.design + is_redesigned,
    )


async def _create(session: AsyncSession, asked: ValidTerms, now: datetime) -> Experiment | None:
    """A draft; None when there is one of that key by now, whose creator was waited for."""
    values = {
        "key": asked.key,
        "status": ExperimentStatus.DRAFT,
        "traffic_buckets": asked.traffic_buckets,
        "variants": [asdict(variant) for variant in asked.variants],
        "salt": secrets.token_hex(16),
        "created_at": now,
        "updated_at": now,
    }
    statement = insert(ExperimentRow).values(values).on_conflict_do_nothing(index_elements=["key"])
    created = await session.execute(statement.returning(*EXPERIMENT_COLUMNS))
    row = created.mappings().one_or_none()
    return None if row is None else experiment_from_row(row)


async def _change(
    session: AsyncSession, before: Experiment, after: Experiment, now: datetime
) -> Experiment:
    values = {
        "traffic_buckets": after.traffic_buckets,
        "variants": [asdict(variant) for variant in after.variants],
        "design": after.design,
        "updated_at": now,
    }
    statement = update(ExperimentRow).where(ExperimentRow.id == before.id).values(values)
    await session.execute(statement)
    return after


async def _note(
    session: AsyncSession,
    operator_id: int,
    before: Experiment | None,
    after: Experiment,
    now: datetime,
) -> None:
    writes = Writes()
    details = changes(None if before is None else _decided(before), _decided(after))
    target = ("Experiment", after.id)
    note_action(writes, operator_id, "save_experiment", target, details, now)
    await writes.flush(session)


def _decided(experiment: Experiment) -> dict[str, Any]:
    return {
        "key": experiment.key,
        "traffic_percent": experiment.traffic_buckets / _PERCENT,
        "variants": [asdict(variant) for variant in experiment.variants],
    }
