"""Exchanges, what they give, and the lots that paid."""

from datetime import datetime
from typing import Annotated

import strawberry

from models.exchange import ExchangeStatus
from schema.achievements import Achievement, load_unlocked
from schema.catalogue import ExchangeItem
from schema.context import Info
from schema.ids import encode_id
from schema.node import Node, PageInfo, page_info
from schema.problems import (
    IdempotencyConflict,
    InsufficientPoints,
    InvalidInput,
    ItemUnavailable,
    LimitReached,
    MemberSuspended,
    NotFound,
    OutOfStock,
    VerificationRequired,
)
from schema.rewards import Reward, reward_of
from schema.scalars import Points
from services import messages
from services.exchange import decide, rewards
from services.exchange.quick_options import QuickOption
from services.paging import Page
from services.points import ledger
from services.points.expiry import EXPIRING_SOON_DAYS

strawberry.enum(ExchangeStatus)


@strawberry.type
class LotDraw:
    """What one lot paid."""

    points_record_id: strawberry.ID
    points: Points
    expires_at: datetime | None

    @classmethod
    def of(cls, draw: ledger.Draw) -> "LotDraw":
        """The contract's view of a draw."""
        return cls(
            points_record_id=encode_id("PointsRecord", draw.points_record_id),
            points=draw.points,
            expires_at=draw.expires_at,
        )


@strawberry.type
class Exchange(Node):
    """One purchase."""

    points: Points
    status: ExchangeStatus
    created_at: datetime
    updated_at: datetime
    exchange: strawberry.Private[decide.Exchange]
    given: strawberry.Private[rewards.Reward | None] = None
    draws: strawberry.Private[tuple[ledger.Draw, ...] | None] = None

    @strawberry.field
    async def item(self, info: Info) -> ExchangeItem:
        """What was bought."""
        item = await info.context.loaders.item.load(self.exchange.item_id)
        if item is None:
            raise LookupError(f"exchange {self.exchange.id} of an item that is gone")
        return ExchangeItem.of(item)

    @strawberry.field
    async def reward(self, info: Info) -> Reward:
        """What it gave."""
        reward = self.given or await info.context.loaders.reward.load(self.exchange.id)
        if reward is None:
            raise LookupError(f"exchange {self.exchange.id} without a reward")
        return reward_of(reward)

    @strawberry.field(description="The lots that paid for it, in the order they were drawn.")
    async def paid_from(self, info: Info) -> list[LotDraw]:
        """Batched over all exchanges of the request."""
        payment = (self.exchange.user_id, self.exchange.audit_sequence)
        draws = self.draws or await info.context.loaders.draws.load(payment)
        return [LotDraw.of(draw) for draw in draws]

    @classmethod
    def of(
        cls,
        exchange: decide.Exchange,
        given: rewards.Reward | None = None,
        draws: tuple[ledger.Draw, ...] | None = None,
    ) -> "Exchange":
        """The contract's view of an exchange; what is known of it already need not be loaded."""
        return cls(
            id=encode_id("Exchange", exchange.id),
            points=exchange.points,
            status=exchange.status,
            created_at=exchange.created_at,
            updated_at=exchange.updated_at,
            exchange=exchange,
            given=given,
            draws=draws,
        )


@strawberry.type
class ExchangeEdge:
    """An exchange in a list."""

    cursor: str
    node: Exchange


@strawberry.type
class ExchangeConnection:
    """A page of exchanges."""

    edges: list[ExchangeEdge]
    nodes: list[Exchange]
    page_info: PageInfo

    @classmethod
    def of(cls, page: Page[decide.Exchange]) -> "ExchangeConnection":
        """The contract's view of a page of exchanges."""
        nodes = [Exchange.of(exchange) for exchange in page.rows]
        edges = [ExchangeEdge(cursor=c, node=n) for c, n in zip(page.cursors, nodes, strict=True)]
        return cls(edges=edges, nodes=nodes, page_info=page_info(page))


@strawberry.type
class QuickExchangeOption:
    """An item worth one click."""

    item: ExchangeItem
    can_exchange: bool
    remaining_points: Points = strawberry.field(description="Points left after this exchange.")
    expiry_warning: str | None = strawberry.field(
        description="Set when points that expire within 7 days would pay for it."
    )

    @strawberry.field
    async def exchange_count(self, info: Info) -> int:
        """The item's."""
        return await info.context.loaders.exchange_count.load(self.item.item.id) or 0

    @classmethod
    def of(cls, option: QuickOption, expiring_soon: int, locale: str) -> "QuickExchangeOption":
        """The contract's view of an option, its warning in the member's language."""
        return cls(
            item=ExchangeItem.of(option.item),
            can_exchange=option.can_exchange,
            remaining_points=option.remaining_points,
            expiry_warning=_warning(expiring_soon, locale) if option.expires_soon else None,
        )


def _warning(expiring_soon: int, locale: str) -> str:
    return messages.message(
        locale,
        "{points} of your points expire within {days} days; they would pay for this.",
        points=expiring_soon,
        days=EXPIRING_SOON_DAYS,
    )


@strawberry.type
class QuickExchangeOptions:
    """A few items worth one click."""

    available: Points
    minimum_points: Points = strawberry.field(
        description="Below this balance no options are offered."
    )
    options: list[QuickExchangeOption]


@strawberry.input
class ShippingInput:
    """Where a physical item is to go."""

    recipient: str
    phone: str
    address: str


@strawberry.input
class OneClickExchangeInput:
    """`idempotencyKey`: 1 to 128 characters; the same key never settles twice."""

    item_id: strawberry.ID
    idempotency_key: str
    shipping: ShippingInput | None = None
    verification_token: str | None = None


@strawberry.type
class OneClickExchangeSuccess:
    """An exchange that was made."""

    exchange: Exchange
    points_used: Points
    remaining_points: Points
    replayed: bool = strawberry.field(
        description="True when this key had already been settled: the first answer again."
    )
    user_id: strawberry.Private[int]
    unlocked_ids: strawberry.Private[tuple[int, ...]]

    @strawberry.field(description="The achievements that it unlocked.")
    async def unlocked(self, info: Info) -> list[Achievement]:
        """Their points are not among `remainingPoints`, which are those of the exchange alone."""
        return await load_unlocked(info, self.user_id, self.unlocked_ids)


OneClickExchangeResult = Annotated[
    OneClickExchangeSuccess
    | NotFound
    | InvalidInput
    | InsufficientPoints
    | OutOfStock
    | ItemUnavailable
    | LimitReached
    | IdempotencyConflict
    | VerificationRequired
    | MemberSuspended,
    strawberry.union(name="OneClickExchangeResult"),
]
