"""Exchanges moving on: shipped, completed, cancelled."""

from typing import Annotated

import strawberry

from models.exchange import ExchangeStatus
from schema.exchange import Exchange
from schema.points import Balance
from schema.problems import InvalidState, NotFound
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
