"""Root fields of the catalogue."""

import strawberry

from resolvers.access import Audience, field_for
from schema.catalogue import ExchangeItemConnection, ExchangeItemFilter
from schema.context import Info
from services.catalogue.browse import ItemFilter, ItemOrder, count_items, items_page
from services.paging import require_page_size


@strawberry.type
class CatalogueQuery:
    """What points buy."""

    @field_for(Audience.ANYONE)
    async def items(
        self,
        info: Info,
        first: int | None = 20,
        after: str | None = None,
        filter: ExchangeItemFilter | None = None,
        order_by: ItemOrder = ItemOrder.POPULAR,
    ) -> ExchangeItemConnection:
        """Active items whose sale has not ended; filters combine.

        RELEVANCE orders by how well an item answers `filter.search`; without one it is POPULAR.
        """
        context, size, now = info.context, require_page_size(first), info.context.now()
        wanted = _wanted(filter)

        async def count() -> int:
            async with context.read() as session:
                return await count_items(session, wanted, now)

        async with context.read() as session:
            page = await items_page(
                session, wanted, order_by, size=size, after=after, now=now, zone=context.mall.zone
            )
        return ExchangeItemConnection.of(page, count)


def _wanted(asked: ExchangeItemFilter | None) -> ItemFilter:
    if asked is None:
        return ItemFilter()
    return ItemFilter(
        search=asked.search,
        category=asked.category,
        types=asked.types,
        min_points=asked.min_points,
        max_points=asked.max_points,
    )
