"""Campaigns: asking for one, and how far they have come."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

import strawberry

from models.notifications import DevicePlatform
from schema.context import Info
from schema.ids import encode_id, int_key
from schema.node import Node, PageInfo, page_info
from schema.problems import IdempotencyConflict, InvalidInput
from schema.scalars import JSON, Points
from schema.users import User
from services.notifications import audience, broadcast, campaigns
from services.paging import Page


@strawberry.type(description="One push to many members.")
class Campaign(Node):
    """A push to many; for operators alone."""

    title: str
    body: str
    payload: JSON
    audience: JSON = strawberry.field(
        description="The conditions that were set, named as in AudienceInput; {} means everybody."
    )
    recipients: int = strawberry.field(
        description="How many members fitted when it was asked for; who fits is asked again while"
        " it is planned."
    )
    planned: int = strawberry.field(description="How many members have a push of it by now.")
    created_at: datetime
    planned_at: datetime | None = strawberry.field(description="Null while it is being planned.")
    key: strawberry.Private[UUID]
    operator_id: strawberry.Private[int]

    @strawberry.field(description="Pushes that wait to be sent, in quiet hours or to be retried.")
    async def queued(self, info: Info) -> int:
        """Batched, as are all the counts, over all campaigns of the request."""
        return (await self._progress(info)).queued

    @strawberry.field(description="Pushes that a provider took.")
    async def sent(self, info: Info) -> int:
        """How many."""
        return (await self._progress(info)).sent

    @strawberry.field(description="Pushes that no provider took.")
    async def failed(self, info: Info) -> int:
        """How many."""
        return (await self._progress(info)).failed

    @strawberry.field(description="Pushes that are not sent: muted, no device, too many that day.")
    async def suppressed(self, info: Info) -> int:
        """How many."""
        return (await self._progress(info)).suppressed

    @strawberry.field(description="Pushes that their member opened; they count above as well.")
    async def opened(self, info: Info) -> int:
        """How many."""
        return (await self._progress(info)).opened

    @strawberry.field(description="Who asked for it.")
    async def operator(self, info: Info) -> User | None:
        """Batched over all campaigns of the request."""
        user = await info.context.loaders.user.load(self.operator_id)
        return user and User.of(user)

    async def _progress(self, info: Info) -> campaigns.Progress:
        found = await info.context.loaders.campaign_progress.load(self.key)
        return found or campaigns.Progress()

    @classmethod
    def of(cls, campaign: campaigns.Campaign) -> "Campaign":
        """The contract's view of a campaign."""
        return cls(
            id=encode_id("Campaign", campaign.id),
            title=campaign.title,
            body=campaign.body,
            payload=JSON(campaign.payload),
            audience=JSON(_shown(campaign.audience)),
            recipients=campaign.recipients,
            planned=campaign.planned,
            created_at=campaign.created_at,
            planned_at=campaign.planned_at,
            key=campaign.id,
            operator_id=campaign.operator_id,
        )


def _shown(chosen: audience.Audience) -> dict[str, object]:
    user_ids, platform = chosen.user_ids, chosen.platform
    conditions: dict[str, object] = {
        "userIds": user_ids and [encode_id("User", user_id) for user_id in user_ids],
        "minAvailablePoints": chosen.min_available_points,
        "inactiveDays": chosen.inactive_days,
        "platform": platform and platform.name,
        "locale": chosen.locale,
    }
    return {name: value for name, value in conditions.items() if value is not None}


@strawberry.type
class CampaignEdge:
    """A campaign in a list."""

    cursor: str
    node: Campaign


@strawberry.type
class CampaignConnection:
    """A page of campaigns."""

    edges: list[CampaignEdge]
    nodes: list[Campaign]
    page_info: PageInfo

    @classmethod
    def of(cls, page: Page[campaigns.Campaign]) -> "CampaignConnection":
        """The contract's view of a page of campaigns."""
        nodes = [Campaign.of(campaign) for campaign in page.rows]
        edges = [CampaignEdge(cursor=c, node=n) for c, n in zip(page.cursors, nodes, strict=True)]
        return cls(edges=edges, nodes=nodes, page_info=page_info(page))


@strawberry.input(
    description="Who is meant: all who fit every condition that is set; everybody when none is."
)
class AudienceInput:
    """Conditions, all of which have to hold."""

    user_ids: list[strawberry.ID] | None = None
    min_available_points: Points | None = None
    inactive_days: int | None = None
    platform: DevicePlatform | None = None
    locale: str | None = None

    def chosen(self) -> audience.Audience:
        """Whom it means; raises BadInput for an id that names no user."""
        user_ids = self.user_ids
        return audience.Audience(
            None if user_ids is None else tuple(int_key(each, "User") for each in user_ids),
            self.min_available_points,
            self.inactive_days,
            self.platform,
            self.locale,
        )


@strawberry.input(description="What to tell whom; texts are sent as they are, in any language.")
class BroadcastPushInput:
    """A campaign to be."""

    title: str
    body: str
    audience: AudienceInput
    payload: JSON | None = None
    idempotency_key: str


@strawberry.type
class BroadcastPushSuccess:
    """A campaign that is on its way; `campaigns` and `node` tell how far it has come."""

    broadcast_id: strawberry.ID
    recipients: int
    replayed: bool

    @classmethod
    def of(cls, begun: broadcast.BroadcastBegun) -> "BroadcastPushSuccess":
        """The contract's view of a campaign that has begun."""
        return cls(
            broadcast_id=encode_id("Campaign", begun.campaign_id),
            recipients=begun.recipients,
            replayed=begun.replayed,
        )


BroadcastPushResult = Annotated[
    BroadcastPushSuccess | InvalidInput | IdempotencyConflict,
    strawberry.union("BroadcastPushResult"),
]
