"""What members can achieve, and who has achieved it."""

from datetime import datetime
from enum import StrEnum
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey, Integer, func, text
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Base, BigId, one_of

KEY_PATTERN = "^[a-z][a-z0-9_]{0,63}$"
LOWEST_WEEKLY_RANK = 100
"""Below it no board shows anybody (`domain.md`, Leaderboard), so nothing is achieved there."""


class AchievementMeasure(StrEnum):
    """What of a member is held against an achievement's target.

    Four count upwards; a weekly rank is reached by standing at the target or above it.
    """

    EXCHANGES_MADE = "exchanges_made"
    BEST_STREAK = "best_streak"
    TASKS_COMPLETED = "tasks_completed"
    POINTS_EARNED = "points_earned"
    WEEKLY_RANK = "weekly_rank"


class Achievement(Base):
    """Something to achieve. Built-in ones without texts of their own speak by the catalogues.

    `version` numbers the change that last widened what can be reached: the largest of them is the
    version of all definitions (`users.achievements_version`).
    """

    __tablename__ = "achievements"
    __table_args__ = (
        one_of("measure", AchievementMeasure),
        CheckConstraint(f"key ~ '{KEY_PATTERN}'", name="key_is_a_name"),
        CheckConstraint(
            f"target BETWEEN 1 AND CASE measure WHEN '{AchievementMeasure.WEEKLY_RANK}'"
            f" THEN {LOWEST_WEEKLY_RANK} ELSE 2147483647 END",
            name="target_in_range",
        ),
        CheckConstraint("points_reward >= 0", name="points_reward_not_negative"),
        CheckConstraint(
            "is_built_in OR (name IS NOT NULL AND description IS NOT NULL)", name="has_texts"
        ),
    )

    id: Mapped[BigId]
    key: Mapped[str] = mapped_column(unique=True)
    name: Mapped[str | None]
    description: Mapped[str | None]
    badge_url: Mapped[str | None]
    measure: Mapped[str]
    target: Mapped[int] = mapped_column(Integer)
    points_reward: Mapped[int] = mapped_column(server_default=text("0"))
    is_active: Mapped[bool] = mapped_column(server_default=text("true"))
    is_built_in: Mapped[bool] = mapped_column(server_default=text("false"))
    version: Mapped[int] = mapped_column(server_default=text("1"))
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    updated_at: Mapped[datetime] = mapped_column(server_default=func.now())


class UserAchievement(Base):
    """An achievement that a member has unlocked. The key is what makes it once.

    `points` are what it granted: none where it grants none, or where the account had no room.
    """

    __tablename__ = "user_achievements"
    __table_args__ = (
        CheckConstraint(
            "points >= 0 AND (points > 0) = (points_record_id IS NOT NULL)", name="points_have_lot"
        ),
    )

    user_id: Mapped[int] = mapped_column(ForeignKey("users.id"), primary_key=True)
    achievement_id: Mapped[int] = mapped_column(ForeignKey("achievements.id"), primary_key=True)
    unlocked_at: Mapped[datetime]
    points: Mapped[int]
    points_record_id: Mapped[UUID | None] = mapped_column(
        ForeignKey("points_records.id"), unique=True
    )
