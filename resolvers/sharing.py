"""Root fields of links and invites."""

import strawberry

from resolvers.access import Audience, field_for, mutation_for
from schema.context import Info
from schema.sharing import (
    AcceptInviteInput,
    AcceptInviteResult,
    AcceptInviteSuccess,
    CreateShareInput,
    CreateShareResult,
    CreateShareSuccess,
    Share,
)
from services.sharing.create import ShareRequest, create_share
from services.sharing.invite import accept_invite
from services.sharing.shares import own_shares
from services.transaction import transaction


@strawberry.type
class SharingQuery:
    """What a member has shared."""

    @field_for(Audience.MEMBER)
    async def shares(self, info: Info) -> list[Share]:
        """The viewer's 100 newest links, newest first."""
        context = info.context
        user_id = context.require_viewer().user_id
        async with context.read() as session:
            found = await own_shares(session, user_id)
        return [Share.of(share, context.mall.settings.public_url) for share in found]


@strawberry.type
class SharingMutation:
    """Showing others what there is, and bringing them. Links earn nothing by themselves."""

    @mutation_for(Audience.MEMBER)
    async def create_share(self, info: Info, input: CreateShareInput) -> CreateShareResult:
        """A link to an item or achievement, to the viewer's rank, or that invites."""
        mall = info.context.mall
        asked = ShareRequest(info.context.require_viewer().user_id, input.kind, input.target())
        async with transaction(mall.stores.write) as session:
            share = await create_share(session, asked, mall.clock(), mall.zone)
        return CreateShareSuccess(share=Share.of(share, mall.settings.public_url))

    @mutation_for(Audience.MEMBER)
    async def accept_invite(self, info: Info, input: AcceptInviteInput) -> AcceptInviteResult:
        """Be brought by whoever made that link: new members, once."""
        context = info.context
        viewer = context.require_viewer()
        async with transaction(context.mall.stores.write) as session:
            await accept_invite(session, viewer.user_id, viewer.subject, input.code, context.now())
        return AcceptInviteSuccess(points_earned=0, user_id=viewer.user_id)
