"""Operators at the stock of an item that members are taking: the books stay right."""

import asyncio
from collections import Counter

from models.catalogue import ExchangeItemType
from services.catalogue.adjust_stock import NotEnoughStock, StockAdjustment, adjust_stock
from services.catalogue.item_terms import ItemTerms
from services.catalogue.items import Item, OutOfStock
from services.catalogue.save_item import save_item
from services.exchange.decide import Placed
from services.exchange.place import exchange_request
from services.mall import Mall
from services.transaction import transaction
from tests.concurrency.operations import add_members
from tests.factories import add_item, add_user, execute


def terms_with(stock: int | None) -> ItemTerms:
    """A virtual item for one point with so much left."""
    return ItemTerms(
        name="x",
        description=None,
        points=1,
        stock=stock,
        image_url=None,
        category=None,
        tags=(),
        type=ExchangeItemType.VIRTUAL,
        is_active=True,
        available_from=None,
        available_until=None,
        per_user_limit=None,
        config={},
    )


async def _save(mall: Mall, operator_id: int, item_id: int, stock: int | None) -> Item:
    async with transaction(mall.stores.write) as session:
        terms = terms_with(stock)
        return await save_item(session, operator_id, terms, item_id=item_id, clock=mall.clock)


async def _adjust(mall: Mall, operator_id: int, item_id: int, by: int, key: str) -> Item:
    adjustment = StockAdjustment(operator_id, item_id, by, key)
    async with transaction(mall.stores.write) as session:
        return (await adjust_stock(session, adjustment, clock=mall.clock)).item


async def test_stock_moves_while_members_take_it(mall: Mall) -> None:
    """Saved, moved up and down, and taken at once: what was put in less what is left was taken."""
    olga = await add_user(mall, "olga")
    user_ids = await add_members(mall, [f"member-{number}" for number in range(20)], 1_000)
    item_id = await add_item(mall, points=1, stock=50)
    requests = [
        exchange_request(user_ids[number % 20], item_id, f"key-{number}", None, is_verified=False)
        for number in range(200)
    ]
    outcomes = await asyncio.gather(
        *(mall.exchanges.submit(request) for request in requests),
        *(_adjust(mall, olga, item_id, 3, f"up-{number}") for number in range(10)),
        *(_adjust(mall, olga, item_id, -2, f"down-{number}") for number in range(10)),
        *(_save(mall, olga, item_id, stock) for stock in (40, None, 20, None)),
        return_exceptions=True,
    )
    kinds = Counter(type(outcome) for outcome in outcomes)
    assert kinds.keys() <= {Placed, Item, OutOfStock, NotEnoughStock}
    ((left, ever),) = await execute(mall, "SELECT stock, total_stock FROM exchange_items")
    assert ever - left == kinds[Placed]


async def test_one_key_at_once_moves_stock_once(mall: Mall) -> None:
    """30 calls with one key: 30 answers, one movement, one note."""
    olga, item_id = await add_user(mall, "olga"), await add_item(mall, stock=0)
    items = await asyncio.gather(*(_adjust(mall, olga, item_id, 4, "key") for _ in range(30)))
    assert {item.stock for item in items} == {4}
    assert await execute(mall, "SELECT stock, total_stock FROM exchange_items") == [(4, 4)]
    assert await execute(mall, "SELECT count(*) FROM operator_actions") == [(1,)]
