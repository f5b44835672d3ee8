"""Root fields of key figures, and counting the requests that some of them are about."""

from datetime import date
from typing import Annotated

import strawberry
from graphql import OperationType

from resolvers.access import Audience, field_for, mutation_for
from resolvers.attempts import Observation
from schema.context import Info
from schema.kpis import (
    KpiReport,
    PointsLiability,
    SubmitSatisfactionInput,
    SubmitSatisfactionResult,
    SubmitSatisfactionSuccess,
)
from services.kpis.liability import read_liability
from services.kpis.report import report
from services.kpis.requests import RequestCounts
from services.kpis.satisfaction import submit_answer
from services.monitoring.metrics import FAILED, outcome_of
from services.transaction import transaction


@strawberry.type
class KpisQuery:
    """How the mall does for the business."""

    @field_for(Audience.OPERATOR)
    async def kpis(
        self, info: Info, from_: Annotated[date, strawberry.argument(name="from")], to: date
    ) -> KpiReport:
        """The key figures of the days from `from` to `to`, 366 at most."""
        mall = info.context.mall
        async with transaction(mall.stores.bulk) as session:
            return KpiReport.of(await report(session, from_, to, mall.clock(), mall.zone))

    @field_for(Audience.OPERATOR)
    async def points_liability(self, info: Info) -> PointsLiability:
        """What the mall owes its members, and how much of it is expected to expire."""
        mall = info.context.mall
        async with transaction(mall.stores.bulk) as session:
            found = await read_liability(session, mall.clock(), mall.zone)
        return PointsLiability.of(found)


@strawberry.type
class KpisMutation:
    """What members say of the mall."""

    @mutation_for(Audience.MEMBER)
    async def submit_satisfaction(
        self, info: Info, input: SubmitSatisfactionInput
    ) -> SubmitSatisfactionResult:
        """Answer how likely the viewer is to recommend the mall, five times a day at most."""
        mall = info.context.mall
        answer = input.answer(info.context.require_viewer().user_id)
        async with transaction(mall.stores.write) as session:
            await submit_answer(session, answer, mall.clock(), mall.zone)
        return SubmitSatisfactionSuccess(recorded=True)


def count_request(counts: RequestCounts, seen: Observation) -> None:
    """Count an operation that was answered; of others only those that we failed.

    Subscriptions last for as long as the client likes; what never became an operation is whatever
    strangers send.
    """
    is_failure = outcome_of(seen.code) == FAILED
    if seen.kind in (OperationType.QUERY, OperationType.MUTATION) or is_failure:
        counts.count(seen.duration_s, is_failure=is_failure)
