"""What members can achieve, and what they have."""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated

import strawberry

from models.achievements import AchievementMeasure
from schema.context import Info
from schema.ids import encode_id
from schema.node import Node
from schema.problems import InvalidInput, NotFound
from schema.progress import TaskProgress
from schema.scalars import Points
from services.achievements.browse import MemberAchievement
from services.achievements.words import description_of, name_of

strawberry.enum(AchievementMeasure)


@strawberry.type
class Achievement(Node):
    """Something to achieve, as the viewer sees it."""

    key: str
    name: str
    description: str
    badge_url: str | None
    measure: AchievementMeasure
    is_active: bool
    points_reward: Points
    progress: TaskProgress = strawberry.field(
        description="Complete once it is unlocked. A weekly rank is reached or not: 0 or 1 of 1."
    )
    unlocked_at: datetime | None
    points_granted: Points | None = strawberry.field(
        description="What unlocking it granted: 0 when it granted nothing, or when the balance"
        " could hold no more; null while it is not unlocked."
    )

    @classmethod
    def of(cls, seen: MemberAchievement, locale: str) -> "Achievement":
        """The contract's view of an achievement, in the member's language."""
        return cls(
            id=encode_id("Achievement", seen.id),
            key=seen.key,
            name=name_of(seen.key, seen.name, locale),
            description=description_of(seen.key, seen.description, locale),
            badge_url=seen.badge_url,
            measure=seen.measure,
            is_active=seen.is_active,
            points_reward=seen.points_reward,
            progress=TaskProgress(current=seen.current, target=seen.target),
            unlocked_at=seen.unlocked_at,
            points_granted=seen.points_granted,
        )


async def load_unlocked(info: Info, user_id: int, ids: Sequence[int]) -> list[Achievement]:
    """The achievements that a movement of the user unlocked; nothing is read where it was none."""
    asked = [(user_id, achievement_id) for achievement_id in ids]
    found = await info.context.loaders.achievement.load_many(asked)
    return [Achievement.of(seen, info.context.locale) for seen in found if seen is not None]


@strawberry.input(
    description="All that is decided of an achievement. `key` and `measure` never change, and"
    " neither does the target of a built-in one."
)
class SaveAchievementInput:
    """An achievement to be: what is left out is emptied."""

    id: strawberry.ID | None = None
    key: str
    name: str | None = strawberry.field(
        default=None,
        description="Needed but for a built-in one, which has a name in every language.",
    )
    description: str | None = strawberry.field(
        default=None,
        description="Needed but for a built-in one, which has a text in every language.",
    )
    badge_url: str | None = None
    measure: AchievementMeasure
    target: int
    points_reward: Points = 0
    is_active: bool = True


@strawberry.type
class SaveAchievementSuccess:
    """The achievement as it now is, as the operator sees it."""

    achievement: Achievement


SaveAchievementResult = Annotated[
    SaveAchievementSuccess | NotFound | InvalidInput,
    strawberry.union(name="SaveAchievementResult"),
]
