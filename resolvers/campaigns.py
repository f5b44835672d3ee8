"""Root fields of campaigns, for operators alone."""

import strawberry

from resolvers.access import Audience, field_for, mutation_for
from schema.campaigns import (
    BroadcastPushInput,
    BroadcastPushResult,
    BroadcastPushSuccess,
    CampaignConnection,
)
from schema.context import Info
from services.notifications.broadcast import Broadcast, broadcast
from services.notifications.campaigns import campaigns_page
from services.paging import require_page_size
from services.transaction import transaction


@strawberry.type
class CampaignsQuery:
    """What operators told many."""

    @field_for(Audience.OPERATOR)
    async def campaigns(
        self, info: Info, first: int | None = 20, after: str | None = None
    ) -> CampaignConnection:
        """All campaigns, newest first, with what became of their pushes."""
        size = require_page_size(first)
        async with info.context.read() as session:
            page = await campaigns_page(session, size=size, after=after)
        return CampaignConnection.of(page)


@strawberry.type
class CampaignsMutation:
    """Telling many members something."""

    @mutation_for(Audience.OPERATOR)
    async def broadcast_push(self, info: Info, input: BroadcastPushInput) -> BroadcastPushResult:
        """Begin a campaign: its pushes are planned and sent from now on, each member one."""
        context = info.context
        asked = Broadcast(
            context.require_viewer().user_id,
            input.title,
            input.body,
            input.payload,
            input.audience.chosen(),
            input.idempotency_key,
        )
        async with transaction(context.mall.stores.bulk) as session:  # it counts many
            begun = await broadcast(session, asked, context.now())
        return BroadcastPushSuccess.of(begun)
