"""Root fields of points."""

import strawberry

from models.points import PointsAction
from resolvers.access import Audience, field_for, mutation_for
from schema.context import Info
from schema.ids import int_key
from schema.points import (
    Balance,
    ExpirySummary,
    PointsChangeConnection,
    RunExpirySuccess,
    load_balance,
)
from schema.points_rules import PointsRules
from services.paging import require_page_size
from services.points.expire import Expired, expire_batch
from services.points.expiry_rules import ExpiryRules
from services.points.expiry_summary import expiry_summary
from services.points.history import history_page
from services.transaction import transaction


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
    """What operators do to points."""

    @mutation_for(Audience.OPERATOR)
    async def run_expiry(self, info: Info) -> RunExpirySuccess:
        """Settle every lot that is due, batch by batch, each in a transaction of its own."""
        mall, total = info.context.mall, Expired()
        while True:
            async with transaction(mall.stores.bulk) as session:
                expired = await expire_batch(session, mall.clock)
            if expired is None:
                break
            total += expired
        return RunExpirySuccess(expired_records=total.records, expired_points=total.points)
