"""Key figures: how the mall does for the business, and what members say of it."""

from datetime import date, datetime
from typing import Annotated

import strawberry
from strawberry.utils.str_converters import to_camel_case

from schema.ids import uuid_key
from schema.problems import InvalidInput, LimitReached
from schema.scalars import Points
from services.kpis import breakage, figures, liability, report, satisfaction, targets


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
    def of(cls, judged: targets.Judged) -> "KpiTarget":
        """The contract's view of it."""
        return cls(
            metric=to_camel_case(judged.metric),
            target=judged.target,
            actual=judged.actual,
            met=judged.is_met,
        )


@strawberry.type
class KpiReport:
    """The key figures of a period; what each is, and of what, is told in `docs/kpis.md`.

    Rates are shares, 0 to 1. Null says that there was nothing to divide by.
    """

    from_: date = strawberry.field(name="from")
    to: date
    days: list[KpiDay] = strawberry.field(description="Those of the period that have begun.")
    daily_active_users: float = strawberry.field(
        description="The mean over the days that have ended (today, where there is no other)."
    )
    daily_active_users_change: float | None = strawberry.field(
        description="Against as many days before `from`: 0.3 is 30 % more."
    )
    task_completion_rate: float | None
    push_open_rate: float | None
    exchange_rate: float | None = strawberry.field(
        description="Of the members who were active in the 30 days that end with `to` (at the"
        " latest today), those who exchanged."
    )
    average_exchange_cycle_days: float | None
    net_promoter_score: float | None = strawberry.field(description="-100 to 100.")
    expiry_rate: float | None
    api_latency_p95_ms: float | None = strawberry.field(description="To 5 %.")
    availability: float | None
    points_issued: Points
    points_redeemed: Points
    points_expired: Points
    points_adjusted: Points
    outstanding_points: Points = strawberry.field(description="All balances at the end of `to`.")
    targets: list[KpiTarget]

    @classmethod
    def of(cls, found: report.Report) -> "KpiReport":
        """The contract's view of a report."""
        totals = found.totals
        return cls(
            from_=found.first,
            to=found.last,
            days=[KpiDay.of(day) for day in found.days],
            daily_active_users=found.daily_active_users,
            daily_active_users_change=found.daily_active_users_change,
            task_completion_rate=totals.task_completion_rate,
            push_open_rate=totals.push_open_rate,
            exchange_rate=found.exchange_rate,
            average_exchange_cycle_days=totals.average_exchange_cycle_days,
            net_promoter_score=found.net_promoter_score,
            expiry_rate=totals.expiry_rate,
            api_latency_p95_ms=found.api_latency_p95_ms,
            availability=found.service.availability,
            points_issued=totals.points_issued,
            points_redeemed=totals.points_redeemed,
            points_expired=totals.points_expired,
            points_adjusted=totals.points_adjusted,
            outstanding_points=found.outstanding_points,
            targets=[KpiTarget.of(judged) for judged in found.judged],
        )


@strawberry.type
class ExpiringMonth:
    """What members hold that ends in a month."""

    month: date | None = strawberry.field(
        description="Its first day; null for points that never end."
    )
    points: Points


@strawberry.type
class PointsCohort:
    """The points with an end that were granted in one month, and what became of them."""

    month: date = strawberry.field(description="Its first day.")
    granted: Points
    redeemed: Points
    expired: Points
    taken_back: Points
    outstanding: Points
    expected_to_expire: float


@strawberry.type
class PointsLiability:
    """What the mall owes its members, as it was measured last: every night."""

    measured_at: datetime = strawberry.field(
        description="The instant of which balances, what is held back and what expires are told."
    )
    outstanding_points: Points = strawberry.field(description="All balances.")
    pending_points: Points = strawberry.field(description="Held back, in no balance yet.")
    expiring: list[ExpiringMonth] = strawberry.field(description="When the balances end.")
    as_of: date | None = strawberry.field(
        description="The last day that cohorts and the forecast know of."
    )
    cohorts: list[PointsCohort]
    expected_to_expire: float | None = strawberry.field(
        description="Of all that cohorts hold, by what became of older ones; null while more than"
        " a hundredth of it has no precedent."
    )
    breakage_rate: float | None = strawberry.field(description="The same as a share of it.")

    @classmethod
    def of(cls, found: liability.Liability) -> "PointsLiability":
        """The contract's view of it."""
        return cls(
            measured_at=found.measured_at,
            outstanding_points=found.outstanding,
            pending_points=found.pending,
            expiring=[
                ExpiringMonth(month=each.month, points=each.points) for each in found.endings
            ],
            as_of=found.as_of,
            cohorts=[_cohort(cohort) for cohort in found.cohorts],
            expected_to_expire=found.forecast.expected_to_expire,
            breakage_rate=found.forecast.breakage_rate,
        )


def _cohort(cohort: breakage.Cohort) -> PointsCohort:
    return PointsCohort(
        month=cohort.month,
        granted=cohort.granted,
        redeemed=cohort.redeemed,
        expired=cohort.expired,
        taken_back=cohort.taken,
        outstanding=cohort.outstanding,
        expected_to_expire=cohort.expected_to_expire,
    )


@strawberry.input
class SubmitSatisfactionInput:
    """How likely a member is to recommend the mall, 0 to 10, and why."""

    score: int
    comment: str | None = None
    exchange_id: strawberry.ID | None = None

    def answer(self, user_id: int) -> satisfaction.Answer:
        """What the member answers; raises BadInput for an id that names no exchange."""
        named = self.exchange_id
        exchange_id = None if named is None else uuid_key(named, "Exchange")
        return satisfaction.Answer(user_id, self.score, self.comment, exchange_id)


@strawberry.type
class SubmitSatisfactionSuccess:
    """The answer is kept; of each member the newest counts."""

    recorded: bool


SubmitSatisfactionResult = Annotated[
    SubmitSatisfactionSuccess | InvalidInput | LimitReached,
    strawberry.union("SubmitSatisfactionResult"),
]
