"""Achievements as a member sees them."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import RowMapping, text
from sqlalchemy.ext.asyncio import AsyncSession

from models.achievements import AchievementMeasure
from services.achievements.measures import COUNTED, COUNTED_TO

AchievementOf = tuple[int, int]
"""(user id, achievement id)."""

_COLUMNS = f"""
    users.id AS user_id, achievements.id, key, name, description, badge_url, measure,
    points_reward, is_active,
    CASE WHEN unlocked_at IS NULL THEN least({COUNTED}, {COUNTED_TO}) ELSE {COUNTED_TO} END
        AS current,
    {COUNTED_TO} AS target, unlocked_at, held.points AS points_granted
"""
_HELD = """
    LEFT JOIN user_achievements held
        ON held.user_id = users.id AND held.achievement_id = achievements.id
"""
_ALL = text(
    f"""
    SELECT {_COLUMNS} FROM users CROSS JOIN achievements {_HELD}
    WHERE users.id = :user_id AND (is_active OR unlocked_at IS NOT NULL)
    ORDER BY achievements.id
    """
)
_THESE = text(
    f"""
    SELECT {_COLUMNS}
    FROM unnest(CAST(:user_ids AS bigint[]), CAST(:ids AS bigint[])) AS asked(user_id, id)
    JOIN users ON users.id = asked.user_id
    JOIN achievements ON achievements.id = asked.id {_HELD}
    """
)


@dataclass(frozen=True, slots=True)
class MemberAchievement:
    """An achievement as one member sees it; `name` and `description` None for the catalogues'.

    `current` of `target`: all of it once unlocked, whatever is cancelled afterwards.
    """

    user_id: int
    id: int
    key: str
    name: str | None
    description: str | None
    badge_url: str | None
    measure: AchievementMeasure
    points_reward: int
    is_active: bool
    current: int
    target: int
    unlocked_at: datetime | None
    points_granted: int | None


async def member_achievements(session: AsyncSession, user_id: int) -> list[MemberAchievement]:
    """All that are active, and what the member has unlocked, in one statement."""
    rows = await session.execute(_ALL, {"user_id": user_id})
    return [_seen(row) for row in rows.mappings()]


async def find_achievements(
    session: AsyncSession, asked: Sequence[AchievementOf]
) -> dict[AchievementOf, MemberAchievement]:
    """These achievements as these members see them, active or not; what is not there is missing."""
    user_ids, ids = zip(*asked, strict=True) if asked else ((), ())
    rows = await session.execute(_THESE, {"user_ids": list(user_ids), "ids": list(ids)})
    return {(row["user_id"], row["id"]): _seen(row) for row in rows.mappings()}


def _seen(row: RowMapping) -> MemberAchievement:
    return MemberAchievement(**dict[str, Any](row, measure=AchievementMeasure(row["measure"])))
