"""Root fields of achievements."""

import strawberry

from resolvers.access import Audience, field_for, mutation_for
from schema.achievements import (
    Achievement,
    SaveAchievementInput,
    SaveAchievementResult,
    SaveAchievementSuccess,
)
from schema.context import Info
from schema.ids import int_key
from services.achievements.browse import member_achievements
from services.achievements.save import AchievementTerms, save_achievement
from services.transaction import transaction


@strawberry.type
class AchievementsQuery:
    """What the viewer can achieve."""

    @field_for(Audience.MEMBER)
    async def achievements(self, info: Info) -> list[Achievement]:
        """All that are active, and what the viewer has unlocked."""
        context = info.context
        async with context.read() as session:
            seen = await member_achievements(session, context.require_viewer().user_id)
        return [Achievement.of(each, context.locale) for each in seen]


@strawberry.type
class AchievementsMutation:
    """What operators decide of achievements."""

    @mutation_for(Audience.OPERATOR)
    async def save_achievement(
        self, info: Info, input: SaveAchievementInput
    ) -> SaveAchievementResult:
        """Create an achievement, or change the one of that id."""
        context = info.context
        terms = AchievementTerms(
            key=input.key,
            name=input.name,
            description=input.description,
            badge_url=input.badge_url,
            measure=input.measure,
            target=input.target,
            points_reward=input.points_reward,
            is_active=input.is_active,
        )
        async with transaction(context.mall.stores.write) as session:
            seen = await save_achievement(
                session,
                context.require_viewer().user_id,
                terms,
                achievement_id=None if input.id is None else int_key(input.id, "Achievement"),
                clock=context.mall.clock,
            )
        return SaveAchievementSuccess(achievement=Achievement.of(seen, context.locale))
