"""The baseline of searching: the SQL of the operation itself, sent by asyncpg alone."""

import asyncio
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from random import Random
from statistics import quantiles
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession

from models.stores import create_engine
from services.calendar import system_clock
from services.catalogue.browse import ItemFilter, ItemOrder, items_page
from settings import StoreSettings

Statement = tuple[str, tuple[Any, ...]]
"""What is sent, and its parameters."""

_ZONE = ZoneInfo("Asia/Shanghai")


def p95_of_sql_ms(
    database_url: str, texts: Sequence[str], *, connections: int, duration_s: int
) -> float:
    """The 95th percentile of what a search asks the database, so many at once."""
    return asyncio.run(_measure(database_url, texts, connections, duration_s))


async def _measure(
    database_url: str, texts: Sequence[str], connections: int, duration_s: int
) -> float:
    engine = create_engine(StoreSettings(database_url=database_url))
    try:
        searches = [await _statements_of(engine, text) for text in texts]
        until_s = time.perf_counter() + duration_s
        async with AsyncExitStack() as stack:
            opened = [await stack.enter_async_context(engine.connect()) for _ in range(connections)]
            raw = [(await each.get_raw_connection()).driver_connection for each in opened]
            runs = await asyncio.gather(*(_run(each, searches, until_s) for each in raw))
    finally:
        await engine.dispose()
    return quantiles([time_ms for run in runs for time_ms in run], n=20)[-1]


async def _statements_of(engine: AsyncEngine, text: str) -> list[Statement]:
    """What the operation sends for this text, caught on its way."""
    caught: list[Statement] = []

    def catch(_connection: Any, _cursor: Any, sql: str, parameters: Any, *_: Any) -> None:
        caught.append((sql, tuple(parameters)))

    event.listen(engine.sync_engine, "before_cursor_execute", catch)
    try:
        async with AsyncSession(engine) as session:
            wanted, order = ItemFilter(search=text), ItemOrder.RELEVANCE
            await items_page(
                session, wanted, order, size=20, after=None, now=system_clock(), zone=_ZONE
            )
    finally:
        event.remove(engine.sync_engine, "before_cursor_execute", catch)
    return caught


async def _run(connection: Any, searches: Sequence[list[Statement]], until_s: float) -> list[float]:
    random, times_ms = Random(17), list[float]()
    while time.perf_counter() < until_s:
        begun_s = time.perf_counter()
        for sql, parameters in random.choice(searches):
            await connection.fetch(sql, *parameters)
        times_ms.append((time.perf_counter() - begun_s) * 1_000)
    return times_ms
