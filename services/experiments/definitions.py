"""Experiments as they are defined, read and written."""

import re
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import RowMapping, select
from sqlalchemy.ext.asyncio import AsyncSession

from models.experiments import KEY_PATTERN, ExperimentStatus
from models.experiments import Experiment as ExperimentRow
from services.bulk import among

EXPERIMENT_COLUMNS = tuple(
    getattr(ExperimentRow, name)
    for name in (
        *("id", "key", "status", "traffic_buckets", "variants", "design", "salt"),
        *("started_at", "stopped_at"),
    )
)

POINTS_PROMPT = "points_prompt"
"""The built-in experiment (`services.experiments.points_prompt`)."""
PROMPT_VARIANTS = ("A", "B")
"""What it can show: these have texts."""


@dataclass(frozen=True, slots=True)
class Variant:
    """One of the things tried: how often it is shown, beside the others, and what comes with it."""

    key: str
    weight: float
    payload: Any = None


@dataclass(frozen=True, slots=True)
class Experiment:
    """An experiment; the first variant is the baseline.

    `traffic_buckets` of 10,000 take part. `design` numbers the lists of variants that were ever
    run. `started_at` is when it was first started: later steps are in the operators' trail.
    """

    id: int
    key: str
    status: ExperimentStatus
    traffic_buckets: int
    variants: tuple[Variant, ...]
    design: int
    salt: str
    started_at: datetime | None
    stopped_at: datetime | None

    @property
    def weights(self) -> list[float]:
        """Of the variants, in their order."""
        return [variant.weight for variant in self.variants]

    def variant(self, key: str | None) -> Variant | None:
        """The variant of that key, if there is (still) one."""
        return next((variant for variant in self.variants if variant.key == key), None)


def is_name(text: str) -> bool:
    """Whether an experiment or a metric can be called that."""
    return re.fullmatch(KEY_PATTERN, text) is not None and "\n" not in text


def experiment_from_row(row: RowMapping) -> Experiment:
    """An experiment out of `EXPERIMENT_COLUMNS`."""
    columns: dict[str, Any] = {column.key: row[column.key] for column in EXPERIMENT_COLUMNS}
    columns["variants"] = tuple(Variant(**variant) for variant in columns["variants"])
    columns["status"] = ExperimentStatus(columns["status"])
    return Experiment(**columns)


async def all_experiments(session: AsyncSession) -> list[Experiment]:
    """Every experiment, the latest first."""
    rows = await session.execute(select(*EXPERIMENT_COLUMNS).order_by(ExperimentRow.id.desc()))
    return [experiment_from_row(row) for row in rows.mappings()]


async def experiments_by_id(session: AsyncSession, ids: Collection[int]) -> dict[int, Experiment]:
    """These experiments; what is not there is missing."""
    rows = await session.execute(select(*EXPERIMENT_COLUMNS).where(among(ExperimentRow.id, ids)))
    found = [experiment_from_row(row) for row in rows.mappings()]
    return {experiment.id: experiment for experiment in found}


async def hold_experiment(session: AsyncSession, key: str) -> Experiment | None:
    """The experiment of that key, as it stands until the transaction ends; None without one.

    Whoever stores assignments or samples shares a lock on it, and waits or has been before.
    """
    if not is_name(key):
        return None
    statement = (
        select(*EXPERIMENT_COLUMNS)
        .where(ExperimentRow.key == key)
        .with_for_update(key_share=True)  # FOR NO KEY UPDATE
    )
    row = (await session.execute(statement)).mappings().one_or_none()
    return None if row is None else experiment_from_row(row)
