"""Root fields for points that are held: listing them, letting them count, taking them."""

from uuid import UUID

import strawberry

from resolvers.access import Audience, field_for, mutation_for
from schema.context import Info
from schema.holds import (
    DecideHeldPointsInput,
    DecideHeldPointsResult,
    DecideHeldPointsSuccess,
    DecideManyHeldPointsInput,
    DecideManyHeldPointsResult,
    DecideManyHeldPointsSuccess,
    HeldPointsConnection,
)
from schema.ids import int_key, uuid_key
from schema.points import PointsRecord, load_balance
from services.paging import require_page_size
from services.points.holds import decide_hold, held_page, hold_decision
from services.points.lots import find_lot
from services.points.many_holds import decide_holds, many_holds
from services.transaction import transaction


@strawberry.type
class HoldsQuery:
    """What waits for an operator."""

    @field_for(Audience.OPERATOR)
    async def held_points(
        self,
        info: Info,
        first: int | None = 20,
        after: str | None = None,
        user_id: strawberry.ID | None = None,
    ) -> HeldPointsConnection:
        """Points that are held, newest first; of one member, where that is named."""
        size = require_page_size(first)
        whose = None if user_id is None else int_key(user_id, "User")
        async with info.context.read() as session:
            page = await held_page(session, size=size, after=after, user_id=whose)
        return HeldPointsConnection.of(page)


@strawberry.type
class HoldsMutation:
    """What operators decide."""

    @mutation_for(Audience.OPERATOR)
    async def release_held_points(
        self, info: Info, input: DecideHeldPointsInput
    ) -> DecideHeldPointsResult:
        """Let held points count from now on."""
        return await _decide(info, input, releases=True)

    @mutation_for(Audience.OPERATOR)
    async def reject_held_points(
        self, info: Info, input: DecideHeldPointsInput
    ) -> DecideHeldPointsResult:
        """Take held points for good."""
        return await _decide(info, input, releases=False)

    @mutation_for(Audience.OPERATOR)
    async def release_many_held_points(
        self, info: Info, input: DecideManyHeldPointsInput
    ) -> DecideManyHeldPointsResult:
        """Let many held points count from now on: all that are named, or none."""
        return await _decide_many(info, input, releases=True)

    @mutation_for(Audience.OPERATOR)
    async def reject_many_held_points(
        self, info: Info, input: DecideManyHeldPointsInput
    ) -> DecideManyHeldPointsResult:
        """Take many held points for good: all that are named, or none."""
        return await _decide_many(info, input, releases=False)


async def _decide(
    info: Info, asked: DecideHeldPointsInput, *, releases: bool
) -> DecideHeldPointsSuccess:
    context, lot_id = info.context, uuid_key(asked.points_record_id, "PointsRecord")
    operator_id = context.require_viewer().user_id
    decision = hold_decision(
        operator_id, lot_id, asked.reason, asked.idempotency_key, releases=releases
    )
    mall = context.mall
    async with transaction(mall.stores.write) as session:
        decided = await decide_hold(session, decision, clock=mall.clock, zone=mall.zone)
    return DecideHeldPointsSuccess(
        points_record=await _record(info, lot_id),
        balance=await load_balance(info, decided.user_id),
        replayed=decided.replayed,
    )


async def _decide_many(
    info: Info, asked: DecideManyHeldPointsInput, *, releases: bool
) -> DecideManyHeldPointsSuccess:
    named = asked.points_record_ids
    lot_ids = None if named is None else [uuid_key(each, "PointsRecord") for each in named]
    user_id = None if asked.user_id is None else int_key(asked.user_id, "User")
    operator_id = info.context.require_viewer().user_id
    holds = many_holds(
        operator_id, lot_ids, user_id, asked.reason, asked.idempotency_key, releases=releases
    )
    mall = info.context.mall
    async with transaction(mall.stores.write) as session:
        decided = await decide_holds(session, holds, clock=mall.clock, zone=mall.zone)
    return DecideManyHeldPointsSuccess(
        decided_records=decided.lots,
        decided_points=decided.points,
        has_more=decided.has_more,
        replayed=decided.replayed,
    )


async def _record(info: Info, lot_id: UUID) -> PointsRecord:
    async with info.context.read() as session:
        lot = await find_lot(session, lot_id, info.context.now())
    assert lot is not None  # noqa: S101 - it was just decided on
    return PointsRecord.of(lot)
