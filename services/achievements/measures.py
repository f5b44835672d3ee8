"""Definitions of achievements, and how far a member is: as plain data, and in SQL."""

from collections.abc import Mapping
from dataclasses import dataclass

from models.achievements import AchievementMeasure
from services.points.account import Account


@dataclass(frozen=True, slots=True)
class Definition:
    """An active achievement, and which of the members it was read for have it."""

    id: int
    key: str
    measure: AchievementMeasure
    target: int
    points_reward: int
    held_by: frozenset[int]

    def is_reached_by(self, account: Account) -> bool:
        """Whether the member is at the target, or past it."""
        if self.measure is AchievementMeasure.WEEKLY_RANK:
            return account.best_weekly_rank is not None and account.best_weekly_rank <= self.target
        return count_of(account, self.measure) >= self.target


def count_of(account: Account, measure: AchievementMeasure) -> int:
    """How far the member has counted; a rank is no count: 0."""
    match measure:
        case AchievementMeasure.EXCHANGES_MADE:
            return account.exchanges_made
        case AchievementMeasure.BEST_STREAK:
            return account.best_streak
        case AchievementMeasure.TASKS_COMPLETED:
            return account.tasks_completed
        case AchievementMeasure.POINTS_EARNED:
            return account.points_earned
        case AchievementMeasure.WEEKLY_RANK:
            return 0


_COLUMNS: Mapping[AchievementMeasure, str] = {
    AchievementMeasure.EXCHANGES_MADE: "users.exchanges_made",
    AchievementMeasure.BEST_STREAK: "users.best_streak",
    AchievementMeasure.TASKS_COMPLETED: "users.tasks_completed",
    AchievementMeasure.POINTS_EARNED: "greatest(0, users.ranked_points)",
    AchievementMeasure.WEEKLY_RANK: (
        "coalesce(users.best_weekly_rank <= achievements.target, false)::int"
    ),
}
_CASES = " ".join(f"WHEN '{measure}' THEN {sql}" for measure, sql in _COLUMNS.items())

# A rank is reached or not: that is a count of 0 or 1 towards 1.
COUNTED = f"(CASE achievements.measure {_CASES} END)"
"""SQL over `users` and `achievements`: how far the member has counted."""
COUNTED_TO = (
    f"(CASE achievements.measure WHEN '{AchievementMeasure.WEEKLY_RANK}' THEN 1"
    " ELSE achievements.target END)"
)
"""SQL over `achievements`: how far there is to count."""
