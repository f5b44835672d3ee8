"""Tasks, progress on them, check-ins, and the events that drive progress."""

from datetime import date, datetime
from decimal import Decimal
from enum import StrEnum
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey, Index, Integer, Numeric, func, text
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Base, BigId, Json, one_of


class TaskFrequency(StrEnum):
    """How often a task can be completed (`contract.graphql`, TaskFrequency)."""

    DAILY = "daily"
    WEEKLY = "weekly"
    ONCE = "once"


class Task(Base):
    """What a member does to earn points."""

    __tablename__ = "tasks"
    __table_args__ = (
        one_of("frequency", TaskFrequency),
        CheckConstraint("points_reward > 0", name="points_reward_positive"),
        CheckConstraint("starts_at < ends_at", name="starts_before_end"),
    )

    id: Mapped[BigId]
    name: Mapped[str]
    description: Mapped[str | None]
    points_reward: Mapped[int]
    frequency: Mapped[str]
    is_active: Mapped[bool] = mapped_column(server_default=text("true"))
    starts_at: Mapped[datetime | None]
    ends_at: Mapped[datetime | None]
    config: Mapped[Json] = mapped_column(server_default=text("'{}'"))
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    updated_at: Mapped[datetime] = mapped_column(server_default=func.now())


class UserTask(Base):
    """One member's progress on one task in one period. The key is what makes completion single."""

    __tablename__ = "user_tasks"
    __table_args__ = (
        CheckConstraint("progress >= 0", name="progress_not_negative"),
        CheckConstraint(
            "(completed_at IS NULL) = (points_record_id IS NULL)", name="completed_has_points"
        ),
        # Sums of a day and a week, for the earning caps.
        Index(
            "ix_user_tasks_completed",
            "user_id",
            "completed_at",
            postgresql_where=text("completed_at IS NOT NULL"),
        ),
        # All of a day, for the figures.
        Index(
            "ix_user_tasks_completed_at",
            "completed_at",
            "user_id",
            postgresql_where=text("completed_at IS NOT NULL"),
        ),
    )

    user_id: Mapped[int] = mapped_column(ForeignKey("users.id"), primary_key=True)
    task_id: Mapped[int] = mapped_column(ForeignKey("tasks.id"), primary_key=True)
    period_start: Mapped[date] = mapped_column(primary_key=True)
    progress: Mapped[int] = mapped_column(Integer)
    completed_at: Mapped[datetime | None]
    points_earned: Mapped[int] = mapped_column(server_default=text("0"))
    points_record_id: Mapped[UUID | None] = mapped_column(
        ForeignKey("points_records.id"), unique=True
    )


class CheckIn(Base):
    """A daily sign-in. The key is what makes it once a local day of the mall."""

    __tablename__ = "check_ins"
    __table_args__ = (
        CheckConstraint("streak > 0", name="streak_positive"),
        CheckConstraint("points >= bonus_points AND bonus_points >= 0", name="points_in_range"),
    )

    user_id: Mapped[int] = mapped_column(ForeignKey("users.id"), primary_key=True)
    day: Mapped[date] = mapped_column(primary_key=True)
    streak: Mapped[int] = mapped_column(Integer)
    points: Mapped[int]
    bonus_points: Mapped[int]
    points_record_id: Mapped[UUID] = mapped_column(ForeignKey("points_records.id"), unique=True)
    created_at: Mapped[datetime]


class Event(Base):
    """Something a user did elsewhere. The key makes sending it again harmless."""

    __tablename__ = "events"
    __table_args__ = (
        CheckConstraint("char_length(event_id) BETWEEN 1 AND 128", name="event_id_length"),
        Index("ix_events_user_id_occurred_at", "user_id", "occurred_at"),
        Index(
            "ix_events_views",
            "user_id",
            "occurred_at",
            postgresql_include=["viewed_item_id"],
            postgresql_where=text("viewed_item_id IS NOT NULL"),
        ),
    )

    event_id: Mapped[str] = mapped_column(primary_key=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id"))
    type: Mapped[str]
    amount: Mapped[Decimal | None] = mapped_column(Numeric)
    occurred_at: Mapped[datetime]
    attributes: Mapped[Json]
    # Read out of the attributes once, when it was recorded; it may be an item that never was.
    viewed_item_id: Mapped[int | None]
    recorded_at: Mapped[datetime]
