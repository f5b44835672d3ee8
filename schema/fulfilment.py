"""Exchanges moving on: shipped, completed, cancelled, their coupons used."""

from typing import Annotated

import strawberry

from models.exchange import ExchangeStatus
from schema.catalogue import ExchangeItem
from schema.context import Info
from schema.exchange import Exchange
from schema.points import Balance
from schema.problems import InvalidInput, InvalidState, NotFound
from schema.rewards import Coupon
from schema.scalars import Points


@strawberry.input
class CancelExchangeInput:
    """Which exchange, and why."""

    exchange_id: strawberry.ID
    reason: str | None = None


@strawberry.type
class CancelExchangeSuccess:
    """An exchange that was cancelled."""

    exchange: Exchange
    refunded_points: Points
    expired_points: Points = strawberry.field(
        description="Points of lots that had expired meanwhile: they are not given back."
    )
    balance: Balance


CancelExchangeResult = Annotated[
    CancelExchangeSuccess | NotFound | InvalidState, strawberry.union("CancelExchangeResult")
]


@strawberry.input
class UpdateExchangeInput:
    """Where an exchange goes next; carrier and tracking number when it is shipped."""

    exchange_id: strawberry.ID
    status: ExchangeStatus
    carrier: str | None = None
    tracking_number: str | None = None
    reason: str | None = None


@strawberry.type
class UpdateExchangeSuccess:
    """An exchange that moved on."""

    exchange: Exchange


UpdateExchangeResult = Annotated[
    UpdateExchangeSuccess | NotFound | InvalidState, strawberry.union("UpdateExchangeResult")
]


@strawberry.input
class RedeemCouponInput:
    """Which coupon, and for what."""

    code: str
    item_id: strawberry.ID | None = strawberry.field(
        default=None, description="If given, the coupon has to be of this item."
    )
    reference: str = strawberry.field(
        description="What it is used for, such as the number of an order: 1 to 200 characters."
        " The same caller and reference again get the first answer; to anybody else, and for"
        " anything else, it is used."
    )


@strawberry.type
class RedeemCouponSuccess:
    """A coupon that is used. Nothing of the member: whoever honours it need not know them."""

    coupon: Coupon
    replayed: bool = strawberry.field(
        description="True when the caller had used the coupon for this reference already."
    )
    item_id: strawberry.Private[int]

    @strawberry.field
    async def item(self, info: Info) -> ExchangeItem:
        """What the coupon is for."""
        item = await info.context.loaders.item.load(self.item_id)
        if item is None:
            raise LookupError(f"coupon {self.coupon.id} of an item that is gone")
        return ExchangeItem.of(item)


RedeemCouponResult = Annotated[
    RedeemCouponSuccess | NotFound | InvalidInput | InvalidState,
    strawberry.union("RedeemCouponResult"),
]
