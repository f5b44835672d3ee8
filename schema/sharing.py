"""Links that members share, and invites."""

from datetime import datetime
from typing import Annotated

import strawberry

from models.sharing import ShareKind
from schema.context import Info
from schema.ids import encode_id, int_key
from schema.node import Node
from schema.points import Balance, load_balance
from schema.problems import InvalidInput, InvalidState, LimitReached, NotFound
from schema.scalars import Points
from services.sharing import shares
from services.sharing.links import link_to

strawberry.enum(ShareKind)


@strawberry.type
class Share(Node):
    """A link of the viewer's, and what it brought."""

    kind: ShareKind
    code: str
    url: str
    visits: int
    conversions: int
    points_earned: Points
    created_at: datetime

    @classmethod
    def of(cls, share: shares.Share, public_url: str) -> "Share":
        """The contract's view of a link, for a mall that the public reaches there."""
        return cls(
            id=encode_id("Share", share.id),
            kind=share.kind,
            code=share.code,
            url=link_to(public_url, share.code),
            visits=share.visits,
            conversions=share.conversions,
            points_earned=share.points_earned,
            created_at=share.created_at,
        )


@strawberry.input
class CreateShareInput:
    """`targetId`: the item or achievement to be shared; none for other kinds."""

    kind: ShareKind
    target_id: strawberry.ID | None = None

    def target(self) -> int | None:
        """The key of what is to be shared; raises BadInput for an id of something else."""
        if self.target_id is None:
            return None
        is_achievement = self.kind is ShareKind.ACHIEVEMENT
        return int_key(self.target_id, "Achievement" if is_achievement else "ExchangeItem")


@strawberry.type
class CreateShareSuccess:
    """The link, made now or before."""

    share: Share


CreateShareResult = Annotated[
    CreateShareSuccess | NotFound | InvalidInput | LimitReached,
    strawberry.union("CreateShareResult"),
]


@strawberry.input
class AcceptInviteInput:
    """The code of a link that invites."""

    code: str


@strawberry.type
class AcceptInviteSuccess:
    """An invite that is accepted; its points come with the first task that is completed."""

    points_earned: Points
    user_id: strawberry.Private[int]

    @strawberry.field
    async def balance(self, info: Info) -> Balance:
        """The balance afterwards."""
        return await load_balance(info, self.user_id)


AcceptInviteResult = Annotated[
    AcceptInviteSuccess | NotFound | InvalidState, strawberry.union("AcceptInviteResult")
]
