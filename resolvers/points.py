"""Root fields of points."""

from collections.abc import Awaitable, Callable
from functools import partial
from typing import TypeVar
from uuid import UUID

import strawberry
from sqlalchemy.ext.asyncio import AsyncSession

from models.points import PointsAction
from resolvers.access import Audience, field_for, mutation_for
from schema.context import Info
from schema.grants import (
    AdjustPointsInput,
    AdjustPointsResult,
    AdjustPointsSuccess,
    ExtendPointsInput,
    ExtendPointsResult,
    ExtendPointsSuccess,
    GrantPointsInput,
    GrantPointsResult,
    GrantPointsSuccess,
    ReverseGrantInput,
    ReverseGrantResult,
    ReverseGrantSuccess,
)
from schema.ids import int_key, uuid_key
from schema.points import (
    Balance,
    ExpirySummary,
    PointsChange,
    PointsChangeConnection,
    PointsRecord,
    RunExpirySuccess,
    load_balance,
)
from schema.points_rules import PointsRules
from services.calendar import Clock
from services.catalogue.coupon_codes import expire_codes
from services.mall import Mall
from services.paging import require_page_size
from services.points.activate import Activated, activate_batch
from services.points.adjust import adjustment_request
from services.points.expire import Expired, expire_batch
from services.points.expiry_rules import ExpiryRules
from services.points.expiry_summary import expiry_summary
from services.points.extend import extension_request
from services.points.grant import grant_request
from services.points.history import find_change, history_page
from services.points.lots import find_lot
from services.points.reverse import reversal_request
from services.points.run_expiry import SettledRun, note_run_begins, note_run_finishes
from services.transaction import transaction

SettledT = TypeVar("SettledT")


@strawberry.type
class PointsQuery:
    """What a member has, loses, and had."""

    @field_for(Audience.MEMBER)
    async def balance(self, info: Info) -> Balance:
        """The viewer's balance."""
        return await load_balance(info, info.context.require_viewer().user_id)

    @field_for(Audience.MEMBER)
    async def expiry_summary(self, info: Info, days: int = 30) -> ExpirySummary:
        """What of the viewer's points ends within `days`."""
        context = info.context
        user_id = context.require_viewer().user_id
        async with context.read() as session:
            summary = await expiry_summary(session, user_id, days, context.now(), context.mall.zone)
        return ExpirySummary.of(summary, context.locale)

    @field_for(Audience.MEMBER)
    async def points_history(
        self,
        info: Info,
        first: int | None = 20,
        after: str | None = None,
        actions: list[PointsAction] | None = None,
    ) -> PointsChangeConnection:
        """What changed the viewer's balance, newest first."""
        user_id, size = info.context.require_viewer().user_id, require_page_size(first)
        async with info.context.read() as session:
            page = await history_page(session, user_id, size=size, after=after, actions=actions)
        return PointsChangeConnection.of(page)

    @field_for(Audience.ANYONE)
    async def points_rules(self, info: Info) -> PointsRules:
        """How points expire, in the language of whoever asks."""
        return PointsRules.of(ExpiryRules(), info.context.locale)

    @field_for(Audience.OPERATOR)
    async def audit_log(
        self, info: Info, user_id: strawberry.ID, first: int | None = 50, after: str | None = None
    ) -> PointsChangeConnection:
        """What changed any user's balance, newest first; empty for a user who is not there."""
        size = require_page_size(50 if first is None else first)
        owner_id = int_key(user_id, "User")
        async with info.context.read() as session:
            page = await history_page(session, owner_id, size=size, after=after, actions=None)
        return PointsChangeConnection.of(page)


@strawberry.type
class PointsMutation:
    """What members, other systems and operators do to points."""

    @mutation_for(Audience.MEMBER)
    async def extend_points(self, info: Info, input: ExtendPointsInput) -> ExtendPointsResult:
        """Move the end of one of the viewer's lots, once, for a fee from the lot."""
        user_id = info.context.require_viewer().user_id
        lot_id = uuid_key(input.points_record_id, "PointsRecord")
        request = extension_request(user_id, lot_id, input.idempotency_key)
        extended = await info.context.mall.extensions.submit(request)
        return ExtendPointsSuccess(
            points_record=await _lot(info, extended.lot_id),
            previous_expires_at=extended.previous_expires_at,
            fee=extended.fee,
            balance=await load_balance(info, user_id),
            replayed=extended.replayed,
        )

    @mutation_for(Audience.SERVICE)
    async def grant_points(self, info: Info, input: GrantPointsInput) -> GrantPointsResult:
        """Grant points to a member, at once or held back."""
        user_id = int_key(input.user_id, "User")
        request = grant_request(
            info.context.require_viewer().user_id,
            user_id,
            input.points,
            input.source,
            input.idempotency_key,
            reference=input.reference,
            expires_at=input.expires_at,
            available_at=input.available_at,
        )
        granted = await info.context.mall.grants.submit(request)
        return GrantPointsSuccess(
            points_record=await _lot(info, granted.lot_id),
            balance=await load_balance(info, user_id),
            replayed=granted.replayed,
        )

    @mutation_for(Audience.SERVICE)
    async def reverse_grant(self, info: Info, input: ReverseGrantInput) -> ReverseGrantResult:
        """Take back a grant, or part of it."""
        actor_id = info.context.require_viewer().user_id
        request = reversal_request(
            actor_id, input.source, input.reference, input.points, input.idempotency_key
        )
        done = await info.context.mall.reversals.submit(request)
        return ReverseGrantSuccess(
            reversed_points=done.reversed_points,
            owed_points=done.owed_points,
            balance=await load_balance(info, done.user_id),
            replayed=done.replayed,
        )

    @mutation_for(Audience.OPERATOR)
    async def adjust_points(self, info: Info, input: AdjustPointsInput) -> AdjustPointsResult:
        """Correct a member's balance."""
        user_id = int_key(input.user_id, "User")
        operator_id = info.context.require_viewer().user_id
        request = adjustment_request(
            operator_id, user_id, input.points, input.reason, input.idempotency_key
        )
        adjusted = await info.context.mall.adjustments.submit(request)
        return AdjustPointsSuccess(
            change=await _change(info, user_id, adjusted.sequence),
            balance=await load_balance(info, user_id),
            replayed=adjusted.replayed,
        )

    @mutation_for(Audience.OPERATOR)
    async def run_expiry(self, info: Info) -> RunExpirySuccess:
        """Settle all that is due, batch by batch, each in a transaction of its own.

        Lots that have ended expire, points whose time has come are activated, codes that have
        ended leave the stock. Noted before the first batch, and with what it came to after the
        last: a run that was cut off has a beginning only.
        """
        mall, operator_id = info.context.mall, info.context.require_viewer().user_id
        async with transaction(mall.stores.write) as session:
            await note_run_begins(session, operator_id, mall.clock())
        total = sum(await _settle_all(mall, partial(expire_batch, zone=mall.zone)), Expired())
        # After the lots: activating settles a member's due lots too, and would not count them.
        activated = sum(
            await _settle_all(mall, partial(activate_batch, zone=mall.zone)), Activated()
        )
        codes = sum(await _settle_all(mall, expire_codes))
        async with transaction(mall.stores.write) as session:
            run = SettledRun(total, activated, codes)
            await note_run_finishes(session, operator_id, run, mall.clock())
        return RunExpirySuccess(expired_records=total.records, expired_points=total.points)


async def _settle_all(
    mall: Mall, settle: Callable[[AsyncSession, Clock], Awaitable[SettledT | None]]
) -> list[SettledT]:
    """Settle batches until one finds nothing; what each settled."""
    settled: list[SettledT] = []
    while True:
        async with transaction(mall.stores.bulk) as session:
            found = await settle(session, mall.clock)
        if found is None:
            return settled
        settled.append(found)


async def _lot(info: Info, lot_id: UUID) -> PointsRecord:
    async with info.context.read() as session:
        lot = await find_lot(session, lot_id, info.context.now())
    if lot is None:
        raise LookupError(f"settled lot {lot_id} is gone")
    return PointsRecord.of(lot)


async def _change(info: Info, user_id: int, sequence: int) -> PointsChange:
    async with info.context.read() as session:
        entry = await find_change(session, user_id, sequence)
    if entry is None:
        raise LookupError(f"settled change {sequence} of user {user_id} is gone")
    return PointsChange.of(entry)
