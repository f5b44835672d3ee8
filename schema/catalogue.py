"""What points buy."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime
from functools import cached_property

import strawberry

from models.catalogue import ExchangeItemType, LimitPeriod
from schema.context import Info
from schema.ids import encode_id
from schema.node import Node, PageInfo, page_info
from schema.scalars import Points
from services.catalogue.browse import ItemOrder
from services.catalogue.items import Item
from services.exchange.quick_options import can_exchange
from services.paging import Page

strawberry.enum(ExchangeItemType)
strawberry.enum(LimitPeriod)
strawberry.enum(ItemOrder, name="ExchangeItemOrder")


@strawberry.type
class PerUserLimit:
    """How often one member may take an item."""

    count: int
    period: LimitPeriod


@strawberry.type
class ExchangeItem(Node):
    """An item of the catalogue."""

    name: str
    description: str | None
    points: Points
    stock: int
    image_url: str | None
    category: str | None
    tags: list[str]
    type: ExchangeItemType
    is_active: bool
    available_from: datetime | None
    available_until: datetime | None
    per_user_limit: PerUserLimit | None
    item: strawberry.Private[Item]

    @strawberry.field(description="Exchanges of this item in the last 7 days.")
    async def exchange_count(self, info: Info) -> int:
        """Batched over all items of the request."""
        return await info.context.loaders.exchange_count.load(self.item.id) or 0

    @strawberry.field(
        description="For the signed-in user: affordable, in stock, on sale and within the limits"
        " now."
    )
    async def can_exchange(self, info: Info) -> bool | None:
        """Null for anonymous requests."""
        context = info.context
        if context.viewer is None:
            return None
        user_id, loaders = context.viewer.user_id, context.loaders
        balance = await loaders.balance.load(user_id)
        taken = await loaders.taken.load((user_id, self.item.id)) or {}
        available = balance.available if balance else 0
        return can_exchange(self.item, available, taken, context.now(), context.mall.zone)

    @strawberry.field
    async def is_wished(self, info: Info) -> bool | None:
        """Whether it is on the viewer's wish list; null for anonymous requests."""
        viewer = info.context.viewer
        if viewer is None:
            return None
        return await info.context.loaders.wished.load((viewer.user_id, self.item.id)) or False

    @classmethod
    def of(cls, item: Item) -> "ExchangeItem":
        """The contract's view of an item."""
        limit = item.per_user_limit
        return cls(
            id=encode_id("ExchangeItem", item.id),
            name=item.name,
            description=item.description,
            points=item.points,
            stock=item.stock,
            image_url=item.image_url,
            category=item.category,
            tags=list(item.tags),
            type=item.type,
            is_active=item.is_active,
            available_from=item.available_from,
            available_until=item.available_until,
            per_user_limit=limit and PerUserLimit(count=limit.count, period=limit.period),
            item=item,
        )


@strawberry.type
class ExchangeItemEdge:
    """An item in a list."""

    cursor: str
    node: ExchangeItem


@strawberry.type
class ExchangeItemConnection:
    """A page of items."""

    edges: list[ExchangeItemEdge]
    nodes: list[ExchangeItem]
    page_info: PageInfo
    count: strawberry.Private[Callable[[], Awaitable[int]]]

    @strawberry.field
    async def total_count(self) -> int:
        """Counted only when it is asked for, and once, under however many aliases."""
        return await self._counted

    @cached_property
    def _counted(self) -> asyncio.Future[int]:
        return asyncio.ensure_future(self.count())

    @classmethod
    def of(cls, page: Page[Item], count: Callable[[], Awaitable[int]]) -> "ExchangeItemConnection":
        """The contract's view of a page of items."""
        nodes = [ExchangeItem.of(item) for item in page.rows]
        edges = [
            ExchangeItemEdge(cursor=c, node=n) for c, n in zip(page.cursors, nodes, strict=True)
        ]
        return cls(edges=edges, nodes=nodes, page_info=page_info(page), count=count)


@strawberry.input
class ExchangeItemFilter:
    """Which items to list; filters combine."""

    search: str | None = strawberry.field(
        default=None,
        description="Words of name, tags, category or description, at most 200 characters; the last"
        " one may be unfinished. Blank: no filter.",
    )
    category: str | None = None
    types: list[ExchangeItemType] | None = None
    min_points: Points | None = None
    max_points: Points | None = None
    affordable: bool | None = strawberry.field(
        default=None,
        description="Whether the viewer's available points pay for it; false: those that they do"
        " not. For members.",
    )
    wished: bool | None = strawberry.field(
        default=None,
        description="Whether it is on the viewer's wish list; false: those that are not. For"
        " members.",
    )
