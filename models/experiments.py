"""Experiments, who is in which variant, and what was measured of them."""

from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import CheckConstraint, Double, ForeignKey, Index, Integer, func, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Base, BigId, one_of

BUCKETS = 10_000
LONGEST_EXPERIMENT_KEY = 64
KEY_PATTERN = f"^[A-Za-z0-9][A-Za-z0-9_.:-]{{0,{LONGEST_EXPERIMENT_KEY - 1}}}$"
"""Of an experiment and of a metric: a name that can stand in a URL, a log and a spreadsheet."""
LONGEST_EVENT_ID = 128
MOST_VARIANTS = 50


class ExperimentStatus(StrEnum):
    """Where an experiment stands (`contract.graphql`, ExperimentStatus)."""

    DRAFT = "draft"
    RUNNING = "running"
    STOPPED = "stopped"


class Experiment(Base):
    """An idea that is tried on some members.

    `variants` are `[{"key", "weight", "payload"}]`, the first of them the baseline: a list and no
    table, for what users were given outlives the variant. `design` numbers the lists that were
    ever run: only users who were first given a variant of the present one are compared.
    """

    __tablename__ = "experiments"
    __table_args__ = (
        one_of("status", ExperimentStatus),
        CheckConstraint(f"key ~ '{KEY_PATTERN}'", name="key_is_a_name"),
        CheckConstraint(f"traffic_buckets BETWEEN 0 AND {BUCKETS}", name="traffic_in_range"),
        CheckConstraint(
            "jsonb_typeof(variants) = 'array'"
            f" AND jsonb_array_length(variants) BETWEEN 1 AND {MOST_VARIANTS}",
            name="has_variants",
        ),
        CheckConstraint(
            "(status = 'draft') = (started_at IS NULL)"
            " AND (status = 'stopped') = (stopped_at IS NOT NULL)",
            name="instants_of_status",
        ),
    )

    id: Mapped[BigId]
    key: Mapped[str] = mapped_column(unique=True)
    status: Mapped[str]
    # Users whose bucket of enrolment, of 10,000, lies below it take part.
    traffic_buckets: Mapped[int] = mapped_column(Integer)
    variants: Mapped[list[dict[str, Any]]] = mapped_column(JSONB)
    design: Mapped[int] = mapped_column(Integer, server_default=text("1"))
    # Of its hashes; for ever, else everybody would move.
    salt: Mapped[str]
    started_at: Mapped[datetime | None]
    stopped_at: Mapped[datetime | None]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    updated_at: Mapped[datetime] = mapped_column(server_default=func.now())


class ExperimentAssignment(Base):
    """The variant that a user was given, stored when it was first shown: once per experiment.

    `crossed_over_at` is when the user left the comparison: shown a second variant, or (of either)
    what a stopped experiment shows to all.
    """

    __tablename__ = "ab_tests"

    experiment_id: Mapped[int] = mapped_column(ForeignKey("experiments.id"), primary_key=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id"), primary_key=True)
    variant: Mapped[str]
    design: Mapped[int] = mapped_column(Integer)
    exposed_at: Mapped[datetime]
    crossed_over_at: Mapped[datetime | None]


class ExperimentEvent(Base):
    """One sample of one metric. The key makes sending it again harmless; ids are each user's own.

    The index holds all that results read, user by user.
    """

    __tablename__ = "experiment_events"
    __table_args__ = (
        CheckConstraint(
            f"char_length(event_id) BETWEEN 1 AND {LONGEST_EVENT_ID}", name="event_id_length"
        ),
        CheckConstraint("abs(value) < 'infinity'", name="value_is_finite"),
        Index(
            "ix_experiment_events_samples",
            "experiment_id",
            "metric",
            "user_id",
            postgresql_include=["value"],
        ),
    )

    user_id: Mapped[int] = mapped_column(ForeignKey("users.id"), primary_key=True)
    event_id: Mapped[str] = mapped_column(primary_key=True)
    experiment_id: Mapped[int] = mapped_column(ForeignKey("experiments.id"))
    metric: Mapped[str]
    value: Mapped[float] = mapped_column(Double)
    recorded_at: Mapped[datetime]
