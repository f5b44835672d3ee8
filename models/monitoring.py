"""What was noticed of the mall: alerts, figures that are dear to measure, checks of the books."""

from datetime import datetime
from enum import StrEnum
from uuid import UUID

from sqlalchemy import CheckConstraint, Double, ForeignKey, Index, text
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Base, Json, one_of


class AlertSeverity(StrEnum):
    """How much it matters (`contract.graphql`, AlertSeverity)."""

    MEDIUM = "medium"
    HIGH = "high"


class LedgerCheckScope(StrEnum):
    """What a check of the books looked at: a few rules by and by, or everything at one moment."""

    SWEEP = "sweep"
    FULL = "full"


class Alert(Base):
    """Something that operators should know of, from when it began until it was over.

    One of a kind is open at a time: what is noticed again adds to its `occurrences`. `notified_at`
    is when operators were last to be told. Kinds are not enumerated here: one can be added without
    a migration.
    """

    __tablename__ = "alerts"
    __table_args__ = (
        one_of("severity", AlertSeverity),
        CheckConstraint("occurrences > 0", name="occurrences_positive"),
        CheckConstraint("last_seen_at >= first_seen_at", name="seen_in_order"),
        CheckConstraint(
            "(acknowledged_at IS NULL) = (acknowledged_by IS NULL)", name="acknowledged_by_someone"
        ),
        Index(
            "uq_alerts_open",
            "kind",
            unique=True,
            postgresql_where=text("resolved_at IS NULL"),
        ),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    kind: Mapped[str]
    severity: Mapped[str]
    message: Mapped[str]
    facts: Mapped[Json]
    first_seen_at: Mapped[datetime]
    last_seen_at: Mapped[datetime]
    occurrences: Mapped[int]
    notified_at: Mapped[datetime | None]
    acknowledged_at: Mapped[datetime | None]
    acknowledged_by: Mapped[int | None] = mapped_column(ForeignKey("users.id"))
    resolved_at: Mapped[datetime | None]


class MeasuredFigure(Base):
    """A figure that is dear to measure, as it was measured last; null: nothing to divide by."""

    __tablename__ = "measured_figures"

    name: Mapped[str] = mapped_column(primary_key=True)
    value: Mapped[float | None] = mapped_column(Double)
    measured_at: Mapped[datetime]


class LedgerCheck(Base):
    """How far a check of the books has come, and what it found.

    `found` counts what the running pass has found so far, `violations` what the last complete one
    did; null: there was none yet. `details` names some of them.
    """

    __tablename__ = "ledger_checks"
    __table_args__ = (
        one_of("scope", LedgerCheckScope),
        CheckConstraint("found >= 0 AND violations >= 0", name="counts_not_negative"),
    )

    scope: Mapped[str] = mapped_column(primary_key=True)
    next_user_id: Mapped[int] = mapped_column(server_default=text("0"))
    found: Mapped[int] = mapped_column(server_default=text("0"))
    violations: Mapped[int | None]
    details: Mapped[Json] = mapped_column(server_default=text("'{}'"))
    completed_at: Mapped[datetime | None]
