"""Key figures: how the mall does for the business, and what members say of it."""

from datetime import date
from typing import Annotated

import strawberry

from schema.ids import uuid_key
from schema.problems import InvalidInput, LimitReached
from schema.scalars import Points
from services.kpis import figures, report, satisfaction, targets


@strawberry.type
class KpiDay:
    """What happened on a day of the mall."""

    date: date
    active_users: int = strawberry.field(description="Members who were seen.")
    points_issued: Points = strawberry.field(
        description="Earned, less what was taken back; below 0 where that was more."
    )
    points_redeemed: Points = strawberry.field(
        description="Spent, fees for extensions too, less what came back of cancelled exchanges."
    )
    points_expired: Points
    points_adjusted: Points = strawberry.field(description="Given less taken by corrections.")
    exchanges: int = strawberry.field(description="Placed on the day and not cancelled since.")
    tasks_completed: int
    pushes_sent: int
    pushes_opened: int = strawberry.field(description="Of those sent on the day, within 7 days.")

    @classmethod
    def of(cls, day: figures.Figures) -> "KpiDay":
        """The contract's view of a day."""
        return cls(
            date=day.day,
            active_users=day.active_members,
            points_issued=day.points_issued,
            points_redeemed=day.points_redeemed,
            points_expired=day.points_expired,
            points_adjusted=day.points_adjusted,
            exchanges=day.exchanges,
            tasks_completed=day.tasks_completed,
            pushes_sent=day.pushes_sent,
            pushes_opened=day.pushes_opened,
        )


@strawberry.type
class KpiTarget:
    """A figure against the number it should reach or, where less is better, not exceed."""

    metric: str = strawberry.field(description="The name of the figure in KpiReport.")
    target: float
    actual: float | None
    met: bool | None = strawberry.field(description="Null where there is no figure.")

    @classmethod
    def of(cls, judged: targets.Judged, metric: str) -> "KpiTarget":
        """The contract's view of it."""
        return cls(metric=metric, target=judged.target, actual=judged.actual, met=judged.is_met)
