"""Telling members what they have unlocked (`domain.md`, Achievements and Notifications)."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from models.notifications import PushType
from services.achievements.browse import AchievementOf
from services.achievements.words import description_of, name_of
from services.bulk import Writes
from services.identifiers import global_id
from services.messages import message, plural_message
from services.notifications.decide import Draft
from services.notifications.plan import plan_pushes

# Points that are held, or were rejected, are not the member's: nothing is said of them.
_READ = text(
    """
    SELECT user_achievements.user_id, achievement_id, key, name, description,
           CASE WHEN lot.status IN ('pending', 'reversed') THEN 0 ELSE user_achievements.points END
               AS points
    FROM unnest(CAST(:user_ids AS bigint[]), CAST(:ids AS bigint[]))
        AS asked(user_id, achievement_id)
    JOIN user_achievements USING (user_id, achievement_id)
    JOIN achievements ON achievements.id = achievement_id
    LEFT JOIN points_records lot ON lot.id = points_record_id
    ORDER BY 1, 2
    """
)


async def congratulate(
    session: AsyncSession, unlocked: Sequence[AchievementOf], now: datetime
) -> None:
    """Plan a push for each of these; a member is congratulated once on an achievement, ever."""
    user_ids, ids = zip(*unlocked, strict=True) if unlocked else ((), ())
    rows = await session.execute(_READ, {"user_ids": list(user_ids), "ids": list(ids)})
    writes = Writes()
    await plan_pushes(session, writes, [_congratulation(row) for row in rows], now)
    await writes.flush(session)


def _congratulation(row: Any) -> Draft:
    def words(locale: str) -> tuple[str, str]:
        name = name_of(row.key, row.name, locale)
        title = message(locale, "Achievement unlocked: {name}", name=name)
        if not row.points:
            return title, description_of(row.key, row.description, locale)
        return title, plural_message(
            locale,
            "{count} point for it is yours.",
            "{count} points for it are yours.",
            row.points,
        )

    payload = {"achievementId": global_id("Achievement", row.achievement_id)}
    return Draft(row.user_id, PushType.ACHIEVEMENT, row.key, words, payload)
