"""Wishing for items."""

from typing import Annotated

import strawberry

from schema.catalogue import ExchangeItem
from schema.problems import NotFound


@strawberry.input
class SetWishedInput:
    """Which item, and whether it is wished for."""

    item_id: strawberry.ID
    wished: bool


@strawberry.type
class SetWishedSuccess:
    """The item as it now is."""

    item: ExchangeItem


SetWishedResult = Annotated[SetWishedSuccess | NotFound, strawberry.union("SetWishedResult")]
