"""A mall with members whose tastes are known, for tests of training on a database."""

import random
from collections.abc import Sequence
from typing import Any

from sqlalchemy import text

from services.mall import Mall
from services.recommendations.runs import CURRENT_RUN
from services.recommendations.train import Trained, train
from tests.factories import add_item, execute

_MEMBERS = """
    INSERT INTO users (external_id, username, locale, timezone)
    SELECT 'm' || n, 'm' || n, 'en', 'UTC' FROM generate_series(1, :count) n RETURNING id
"""
_WISHES = """
    INSERT INTO wishes (user_id, item_id, created_at)
    SELECT u, i, :now FROM unnest(CAST(:users AS bigint[]), CAST(:items AS bigint[])) row(u, i)
"""


async def add_tastes(mall: Mall, *, members: int = 40, items: int = 12) -> list[int]:
    """Items of two tags, even ones and odd ones; members wish for several of one. Their ids."""
    chance = random.Random(7)
    names = ("tea", "toys")
    shelf = [
        await add_item(mall, name=f"{names[n % 2]} {n}", tags=[names[n % 2]], category=names[n % 2])
        for n in range(items)
    ]
    found = [row[0] for row in await execute(mall, _MEMBERS, count=members)]
    pairs = [
        (user, item)
        for place, user in enumerate(sorted(found))
        for item in chance.sample(shelf[place % 2 :: 2], 3)
    ]
    users, wished = zip(*pairs, strict=True)
    await execute(mall, _WISHES, users=list(users), items=list(wished), now=mall.clock())
    return shelf


async def trained(mall: Mall) -> Trained:
    """Train; nobody else does."""
    done = await train(mall.stores, mall.clock, mall.zone)
    assert done is not None
    return done


async def run_now(mall: Mall) -> int | None:
    """The run to recommend by."""
    async with mall.stores.read() as session:
        return (await session.execute(text(CURRENT_RUN))).scalar_one_or_none()


async def found_by(mall: Mall, run_id: int) -> list[Any]:
    """All that a run found, without its number."""
    rows: list[Any] = []
    for table, columns in (
        ("item_neighbours", "item_id, kind, neighbour_ids, weights"),
        ("interest_items", "interest, item_ids, weights"),
        ("popular_items", "audience, rank, item_id, members"),
    ):
        sql = f"SELECT {columns} FROM {table} WHERE run_id = :run ORDER BY 1, 2"
        rows += [tuple(row) for row in await execute(mall, sql, run=run_id)]
    return rows


async def states(mall: Mall) -> Sequence[str]:
    """The states of all runs, in their order."""
    return [
        row[0] for row in await execute(mall, "SELECT state FROM recommendation_runs ORDER BY id")
    ]
