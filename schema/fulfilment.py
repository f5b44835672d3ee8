"""Exchanges moving on: shipped, completed, cancelled, their coupons used."""

from typing import Annotated

import strawberry

from models.exchange import ExchangeStatus
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
        " The same reference again gets the first answer; a coupon is used for one only."
    )


@strawberry.type
class RedeemCouponSuccess:
    """A coupon that is used."""

    coupon: Coupon
    exchange: Exchange
    replayed: bool = strawberry.field(
        description="True when this reference had used the coupon already: the first answer again."
    )


RedeemCouponResult = Annotated[
    RedeemCouponSuccess | NotFound | InvalidInput | InvalidState,
    strawberry.union("RedeemCouponResult"),
]
