"""What a transaction wants done after its commit, and which times of the schedule have come."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import CheckConstraint, Index, Integer, func, text
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Base, BigId, Json

_IS_OPEN = "done_at IS NULL AND failed_at IS NULL"


class OutboxMessage(Base):
    """One job that a transaction asked for; done when `done_at` is set.

    It is sent (again) when `due_at` has come; `sent_at` says since when it is with the broker or a
    worker, sent again or not; `claim` that one worker has it, outside of a transaction. A job that
    failed for good has `failed_at` and stays until it is retried.
    """

    __tablename__ = "outbox"
    __table_args__ = (
        Index("ix_outbox_due", "job", "due_at", "id", postgresql_where=text(_IS_OPEN)),
        Index(
            "ix_outbox_in_flight",
            "job",
            postgresql_where=text(f"{_IS_OPEN} AND sent_at IS NOT NULL"),
        ),
        Index("ix_outbox_failed", "id", postgresql_where=text("failed_at IS NOT NULL")),
        Index("ix_outbox_done", "done_at", postgresql_where=text("done_at IS NOT NULL")),
        CheckConstraint("attempts >= 0", name="attempts_not_negative"),
        CheckConstraint("done_at IS NULL OR failed_at IS NULL", name="done_or_failed"),
    )

    id: Mapped[BigId]
    job: Mapped[str]
    payload: Mapped[Json]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    due_at: Mapped[datetime] = mapped_column(server_default=func.now())
    sent_at: Mapped[datetime | None]
    claim: Mapped[UUID | None]
    attempts: Mapped[int] = mapped_column(Integer, server_default=text("0"))
    error: Mapped[str | None]
    failed_at: Mapped[datetime | None]
    done_at: Mapped[datetime | None]


class ScheduledJob(Base):
    """The last time of the schedule at which a job was asked for: no time comes twice."""

    __tablename__ = "scheduled_jobs"

    job: Mapped[str] = mapped_column(primary_key=True)
    slot_at: Mapped[datetime]
