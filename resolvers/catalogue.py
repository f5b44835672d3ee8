"""Root fields of the catalogue."""

import strawberry

from resolvers.access import Audience, field_for, require
from schema.catalogue import ExchangeItemConnection, ExchangeItemFilter
from schema.context import Context, Info
from services.catalogue.browse import ItemFilter, ItemOrder, count_items, items_page
from services.catalogue.interests import interest_options
from services.catalogue.member_filter import MemberFilter
from services.errors import Unauthenticated
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
        wanted = _wanted(filter, await _for_member(context, filter))

        async def count() -> int:
            async with context.read() as session:
                return await count_items(session, wanted, now)

        async with context.read() as session:
            page = await items_page(
                session, wanted, order_by, size=size, after=after, now=now, zone=context.mall.zone
            )
        return ExchangeItemConnection.of(page, count)

    @field_for(Audience.ANYONE, description="Tags to choose interests from, most used first.")
    async def interest_options(self, info: Info, limit: int = 30) -> list[str]:
        """Tags of active items; ties by name."""
        most = require_page_size(limit, "limit")
        async with info.context.read() as session:
            return await interest_options(session, most)


async def _for_member(context: Context, asked: ExchangeItemFilter | None) -> MemberFilter | None:
    """What is asked about the viewer, if anything is: only members may."""
    if asked is None or (asked.affordable is None and asked.wished is None):
        return None
    require(context.viewer, Audience.MEMBER)
    user_id, available = context.require_viewer().user_id, 0
    if asked.affordable is not None:
        balance = await context.loaders.balance.load(user_id)
        if balance is None:
            raise Unauthenticated
        available = balance.available
    return MemberFilter(user_id, available, asked.affordable, asked.wished)


def _wanted(asked: ExchangeItemFilter | None, member: MemberFilter | None) -> ItemFilter:
    if asked is None:
        return ItemFilter()
    return ItemFilter(
        search=asked.search,
        category=asked.category,
        types=asked.types,
        min_points=asked.min_points,
        max_points=asked.max_points,
        member=member,
    )
