"""What operators do to the catalogue: items, their stock, and their pools of codes.

Apart from `schema/catalogue.py`, for problems name items: the two would import each other.
"""

from datetime import datetime
from typing import Annotated

import strawberry

from models.catalogue import ExchangeItemType, LimitPeriod
from schema.catalogue import ExchangeItem
from schema.problems import IdempotencyConflict, InvalidInput, NotFound, OutOfStock
from schema.scalars import JSON, Points


@strawberry.input
class PerUserLimitInput:
    """How often one member may take an item."""

    count: int
    period: LimitPeriod


@strawberry.input
class SaveItemInput:
    """All that is decided of an item: what is left out is emptied, but for `stock` and `config`."""

    id: strawberry.ID | None = None
    name: str
    description: str | None = None
    points: Points
    stock: int | None = strawberry.field(
        default=None, description="The number left from now on; null leaves it as it is."
    )
    image_url: str | None = None
    category: str | None = None
    tags: list[str] | None = None
    type: ExchangeItemType
    is_active: bool = True
    available_from: datetime | None = None
    available_until: datetime | None = None
    per_user_limit: PerUserLimitInput | None = None
    config: JSON | None = strawberry.field(
        default=None, description="The terms of the reward; null leaves them as they are."
    )


@strawberry.type
class SaveItemSuccess:
    """The item as it now is."""

    item: ExchangeItem


SaveItemResult = Annotated[
    SaveItemSuccess | NotFound | InvalidInput, strawberry.union(name="SaveItemResult")
]


@strawberry.input
class AdjustStockInput:
    """How many more units of an item there are; fewer, if negative."""

    item_id: strawberry.ID
    by: int
    idempotency_key: str


@strawberry.type
class AdjustStockSuccess:
    """The item as it now is."""

    item: ExchangeItem
    replayed: bool


AdjustStockResult = Annotated[
    AdjustStockSuccess | NotFound | OutOfStock | IdempotencyConflict,
    strawberry.union(name="AdjustStockResult"),
]


@strawberry.input
class ImportCouponsInput:
    """Up to 10,000 codes for an item's pool."""

    item_id: strawberry.ID
    codes: list[str]
    expires_at: datetime | None = None


@strawberry.type
class ImportCouponsSuccess:
    """How many codes were new, and how many were known before or twice in the call."""

    imported: int
    duplicates: int
    item: ExchangeItem


ImportCouponsResult = Annotated[
    ImportCouponsSuccess | NotFound | InvalidInput, strawberry.union(name="ImportCouponsResult")
]
