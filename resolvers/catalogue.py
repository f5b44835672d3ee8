"""Root fields of the catalogue."""

import strawberry

from resolvers.access import Audience, field_for, mutation_for, require
from schema.catalogue import ExchangeItem, ExchangeItemConnection, ExchangeItemFilter
from schema.context import Context, Info
from schema.ids import int_key, parse_int
from schema.stocking import (
    AdjustStockInput,
    AdjustStockResult,
    AdjustStockSuccess,
    ImportCouponsInput,
    ImportCouponsResult,
    ImportCouponsSuccess,
    SaveItemInput,
    SaveItemResult,
    SaveItemSuccess,
)
from services.catalogue.adjust_stock import StockAdjustment, adjust_stock
from services.catalogue.browse import ItemFilter, ItemOrder, count_items, items_page
from services.catalogue.coupon_codes import CodeImport, import_codes
from services.catalogue.interests import interest_options
from services.catalogue.item_terms import ItemTerms
from services.catalogue.items import PerUserLimit
from services.catalogue.member_filter import MemberFilter
from services.catalogue.save_item import save_item
from services.errors import Unauthenticated
from services.paging import require_page_size
from services.transaction import transaction


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


@strawberry.type
class CatalogueMutation:
    """What operators do to the catalogue."""

    @mutation_for(Audience.OPERATOR)
    async def save_item(self, info: Info, input: SaveItemInput) -> SaveItemResult:
        """Create an item, or change the one of that id."""
        mall = info.context.mall
        async with transaction(mall.stores.write) as session:
            item = await save_item(
                session,
                info.context.require_viewer().user_id,
                _terms(input),
                item_id=None if input.id is None else int_key(input.id, "ExchangeItem"),
                clock=mall.clock,
            )
        return SaveItemSuccess(item=ExchangeItem.of(item))

    @mutation_for(Audience.OPERATOR)
    async def adjust_stock(self, info: Info, input: AdjustStockInput) -> AdjustStockResult:
        """Move an item's stock; the same key never moves it twice."""
        mall = info.context.mall
        adjustment = StockAdjustment(
            operator_id=info.context.require_viewer().user_id,
            item_id=int_key(input.item_id, "ExchangeItem"),
            by=input.by,
            key=input.idempotency_key,
        )
        async with transaction(mall.stores.write) as session:
            done = await adjust_stock(session, adjustment, clock=mall.clock)
        return AdjustStockSuccess(item=ExchangeItem.of(done.item), replayed=done.replayed)

    @mutation_for(Audience.OPERATOR)
    async def import_coupons(self, info: Info, input: ImportCouponsInput) -> ImportCouponsResult:
        """Add codes to an item's pool."""
        mall = info.context.mall
        request = CodeImport(
            operator_id=info.context.require_viewer().user_id,
            item_id=int_key(input.item_id, "ExchangeItem"),
            codes=input.codes,
            expires_at=input.expires_at,
        )
        async with transaction(mall.stores.bulk) as session:
            done = await import_codes(session, request, clock=mall.clock)
        return ImportCouponsSuccess(
            imported=done.imported, duplicates=done.duplicates, item=ExchangeItem.of(done.item)
        )


def _terms(asked: SaveItemInput) -> ItemTerms:
    limit = asked.per_user_limit
    return ItemTerms(
        name=asked.name,
        description=asked.description,
        points=asked.points,
        stock=asked.stock,
        image_url=asked.image_url,
        category=asked.category,
        tags=tuple(asked.tags or ()),
        type=asked.type,
        is_active=asked.is_active,
        available_from=asked.available_from,
        available_until=asked.available_until,
        per_user_limit=limit and PerUserLimit(limit.count, limit.period),
        config=asked.config,
    )


def item_key(named: str) -> int:
    """The item that a command names: by its global id, or by its number. Raises BadInput."""
    return parse_int(named) if named.isdecimal() else int_key(named, "ExchangeItem")
