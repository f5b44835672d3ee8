"""How a search is run among 100,000 items: through its index, whatever the order."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncEngine

from benchmarks.data import fill_searchable
from services.catalogue.browse import ItemFilter, ItemOrder, count_items, items_page
from services.mall import Mall

ITEMS = 100_000
ORDERED = {"ix_exchange_items_points", "ix_exchange_items_created_at"}
"""Walked until a page is full, these would be walked to the end by a search for a rare word."""


class Sent:
    """The statements that left the process, as the driver got them."""

    def __init__(self, engine: AsyncEngine) -> None:
        self.engine = engine.sync_engine
        self.statements: list[str] = []
        self.parameters: list[Any] = []

    def note(self, _connection: Any, _cursor: Any, statement: str, given: Any, *_: Any) -> None:
        """SQLAlchemy is about to execute a statement."""
        self.statements.append(statement)
        self.parameters.append(given)


@pytest.fixture
def sent(mall: Mall) -> Iterator[Sent]:
    """What is sent from now on."""
    noted = Sent(mall.stores.engine)
    event.listen(noted.engine, "before_cursor_execute", noted.note)
    yield noted
    event.remove(noted.engine, "before_cursor_execute", noted.note)


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """A plan and all that it consists of."""
    yield plan
    for part in plan.get("Plans", []):
        yield from nodes(part)


async def plan_of(mall: Mall, statement: str) -> list[dict[str, Any]]:
    """The plan for any parameters: the one that is run (`plan_cache_mode`)."""
    parameters = max(int(number) for number in re.findall(r"\$(\d+)", statement))
    nothing = ", ".join(["NULL"] * parameters)
    async with mall.stores.engine.connect() as connection:
        driver: Any = (await connection.get_raw_connection()).driver_connection
        await driver.execute(f"PREPARE searching AS {statement}")
        plan = await driver.fetchval(f"EXPLAIN (FORMAT JSON) EXECUTE searching({nothing})")
        await driver.execute("DEALLOCATE searching")
    return list(nodes(plan[0]["Plan"]))


async def test_a_search_uses_its_index_at_100_000_items(mall: Mall, sent: Sent) -> None:
    """For every order, every number of stages, with filters and without, and for the count."""
    await fill_searchable(mall.stores.engine, items=ITEMS)
    now, zone = mall.clock(), mall.zone
    for order in ItemOrder:
        for wanted in (
            ItemFilter(search="茶"),
            ItemFilter(search="咖啡"),
            ItemFilter(search="蓝牙耳机"),
            ItemFilter(search="cofee 杯", category="美食饮品", min_points=10),
        ):
            sent.statements.clear()
            async with mall.stores.read() as session:
                page = await items_page(
                    session, wanted, order, size=20, after=None, now=now, zone=zone
                )
                count = await count_items(session, wanted, now)
            assert (len(page.rows), len(sent.statements)) == (20, 2)
            assert 20 < count < ITEMS / 10
            for statement in list(sent.statements):
                plan = await plan_of(mall, statement)
                read = {n["Node Type"] for n in plan if n.get("Relation Name") == "exchange_items"}
                assert "Bitmap Heap Scan" in read, (order, wanted)
                assert read <= {"Bitmap Heap Scan", "Index Scan"}, (order, wanted, read)
                indexes = {node["Index Name"] for node in plan if "Index Name" in node}
                assert "ix_exchange_items_search" in indexes
                assert not indexes & ORDERED, (order, wanted, indexes)
