"""Many at one pool: no code is given twice, counted twice, or lost."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from typing import Any

import pytest

from services.catalogue.coupon_codes import CodeImport, CodesImported, expire_codes, import_codes
from services.catalogue.items import OutOfStock
from services.exchange.code_pool import DRAW
from services.exchange.decide import Placed
from services.exchange.place import exchange_request
from services.exchange.rewards import Coupon
from services.mall import Mall, open_mall
from services.transaction import transaction
from settings import Settings
from tests.clock import MovableClock
from tests.concurrency.operations import add_members
from tests.factories import add_item, add_user, execute

Outcome = Placed | BaseException


@pytest.fixture
async def malls(mall: Mall, settings: Settings, clock: MovableClock) -> AsyncIterator[list[Mall]]:
    """Two malls on one database, as two processes would have them: two desks that race."""
    async with open_mall(settings, clock) as other:
        yield [mall, other]


async def add_pool(mall: Mall) -> int:
    """A coupon whose codes are imported."""
    return await add_item(mall, type="coupon", config={}, stock=0, points=1)


async def import_into(
    mall: Mall, item_id: int, codes: list[str], expires_at: datetime | None = None
) -> CodesImported:
    """Import codes as an operator of that id 1."""
    request = CodeImport(1, item_id, codes, expires_at)
    async with transaction(mall.stores.bulk) as session:
        return await import_codes(session, request, clock=mall.clock)


async def claim(malls: list[Mall], user_ids: list[int], item_id: int, calls: int) -> list[Outcome]:
    """So many calls at once, spread over the members and the desks."""
    return await asyncio.gather(
        *(
            malls[number % len(malls)].exchanges.submit(
                exchange_request(
                    user_ids[number % len(user_ids)],
                    item_id,
                    f"key-{number}",
                    None,
                    is_verified=False,
                )
            )
            for number in range(calls)
        ),
        return_exceptions=True,
    )


def codes_given(outcomes: list[Outcome]) -> list[str]:
    """The codes of all coupons."""
    rewards = [outcome.reward for outcome in outcomes if isinstance(outcome, Placed)]
    return [reward.code for reward in rewards if isinstance(reward, Coupon)]


async def _rows(mall: Mall, sql: str) -> list[Any]:
    return [tuple(row) for row in await execute(mall, sql)]


async def test_a_thousand_codes_go_to_a_thousand_of_two_thousand(malls: list[Mall]) -> None:
    """Every code once, to the others OutOfStock, and nothing is left."""
    mall, names = malls[0], [f"member-{number}" for number in range(100)]
    user_ids = await add_members(mall, names, 1_000)
    pool = await add_pool(mall)
    codes = [f"CODE-{number:04d}" for number in range(1_000)]
    assert (await import_into(mall, pool, codes)).imported == 1_000
    outcomes = await claim(malls, user_ids, pool, 2_000)
    assert Counter(type(outcome) for outcome in outcomes) == {Placed: 1_000, OutOfStock: 1_000}
    assert sorted(codes_given(outcomes)) == codes
    assert await _rows(mall, "SELECT stock, total_stock FROM exchange_items") == [(0, 1_000)]
    held = "SELECT DISTINCT status, count(*) FROM coupon_codes GROUP BY status"
    assert await _rows(mall, held) == [("issued", 1_000)]
    assert await _rows(mall, "SELECT sum(points)::int FROM users") == [(100 * 1_000 - 1_000,)]


async def test_codes_come_and_expire_while_members_claim(
    malls: list[Mall], clock: MovableClock
) -> None:
    """Whatever the order: no code that had expired is given, and the books are right."""
    mall = malls[0]
    user_ids = await add_members(mall, [f"member-{number}" for number in range(20)], 1_000)
    pool = await add_pool(mall)
    soon = clock.now + timedelta(days=1)
    await import_into(mall, pool, [f"OLD-{number}" for number in range(200)], soon)
    clock.advance(days=1)

    async def expire() -> int:
        expired = 0
        async with asyncio.timeout(60):
            while True:
                async with transaction(mall.stores.bulk) as session:
                    batch = await expire_codes(session, clock, codes=30)
                if batch is None:
                    return expired
                expired += batch

    async def restock() -> int:
        batches = [[f"NEW-{batch}-{number}" for number in range(20)] for batch in range(5)]
        return sum([(await import_into(malls[1], pool, codes)).imported for codes in batches])

    outcomes, _, imported = await asyncio.gather(
        claim(malls, user_ids, pool, 300), expire(), restock()
    )
    assert imported == 100
    given = codes_given(outcomes)
    assert all(code.startswith("NEW-") for code in given)
    assert len(given) == len(set(given))
    assert {type(outcome) for outcome in outcomes} <= {Placed, OutOfStock}
    (stock,) = await _rows(mall, "SELECT stock, total_stock FROM exchange_items")
    assert stock == (100 - len(given), 100)
    expired = "SELECT count(*) FROM coupon_codes WHERE status = 'expired'"
    assert await _rows(mall, expired) == [(200,)]


async def add_due_codes(mall: Mall, item_id: int, codes: int) -> None:
    """Codes in a pool that have expired, and that no job has taken out yet."""
    await execute(
        mall,
        "WITH due AS (INSERT INTO coupon_codes (item_id, code, expires_at)"
        " SELECT CAST(:item AS bigint), 'DUE-' || n, CAST(:now AS timestamptz)"
        " FROM generate_series(1, CAST(:codes AS integer)) n)"
        " UPDATE exchange_items SET stock = :codes, total_stock = :codes WHERE id = :item",
        item=item_id,
        now=mall.clock(),
        codes=codes,
    )


async def books_of(mall: Mall) -> tuple[int, int, int]:
    """(stock, codes taken out, times that wishers were to be told) of the only item."""
    ((stock, expired, told),) = await _rows(
        mall,
        "SELECT stock, (SELECT count(*) FROM coupon_codes WHERE status = 'expired'),"
        " (SELECT count(*) FROM outbox WHERE job = 'back_in_stock') FROM exchange_items",
    )
    return stock, expired, told


async def test_an_import_takes_out_a_bounded_number_of_expired_codes(mall: Mall) -> None:
    """10,000 under the item's lock; by what is left nobody believes that a code can be had."""
    user_id = await add_user(mall, "olga")
    pool = await add_pool(mall)
    await execute(mall, "INSERT INTO wishes (user_id, item_id) VALUES (:u, :i)", u=user_id, i=pool)
    await add_due_codes(mall, pool, 35_000)
    none = await import_into(mall, pool, ["DUE-1"])
    assert (none.imported, none.item.stock) == (0, 0)
    assert await books_of(mall) == (25_000, 10_000, 0)
    first = await import_into(mall, pool, ["NEW-1"])
    assert (first.imported, first.item.stock) == (1, 1)
    assert await books_of(mall) == (15_001, 20_000, 1)
    await import_into(mall, pool, ["NEW-2"])
    assert await books_of(mall) == (5_002, 30_000, 1)
    last = await import_into(mall, pool, ["NEW-3"])
    assert (last.imported, last.item.stock) == (1, 3)
    assert await books_of(mall) == (3, 35_000, 1)
    noted = "SELECT details->'expired', details->'before'->'stock', details->'after'->'stock'"
    assert await _rows(mall, f"{noted} FROM operator_actions ORDER BY id") == [
        (10_000, 35_000, 25_000),
        (10_000, 25_000, 15_001),
        (10_000, 15_001, 5_002),
        (5_000, 5_002, 3),
    ]


async def test_the_same_codes_for_several_pools_are_imported_once(malls: list[Mall]) -> None:
    """At once and in opposite orders: none waits for ever, every code is in one pool."""
    mall = malls[0]
    await add_user(mall, "olga")
    codes = [f"CODE-{number}" for number in range(2_000)]
    pools = [await add_pool(mall) for _ in range(4)]
    done = await asyncio.gather(
        *(
            import_into(malls[number % 2], pool, codes if number % 2 else codes[::-1])
            for number, pool in enumerate(pools)
        )
    )
    assert sum(each.imported for each in done) == 2_000
    assert sum(each.duplicates for each in done) == 6_000
    assert await _rows(mall, "SELECT sum(stock)::int FROM exchange_items") == [(2_000,)]


async def test_a_draw_does_not_walk_past_what_was_given(mall: Mall) -> None:
    """By the index of unused codes, unsorted, however many others there are before them."""
    pools = [await add_pool(mall), await add_pool(mall)]
    await execute(
        mall,
        "INSERT INTO coupon_codes (item_id, code)"
        " SELECT CASE WHEN n % 2 = 0 THEN CAST(:first AS bigint) ELSE :second END, 'CODE-' || n"
        " FROM generate_series(1, 20000) AS n",
        first=pools[0],
        second=pools[1],
    )
    await execute(mall, "ANALYZE coupon_codes")  # what the planner knows when the pool is new
    await execute(mall, "UPDATE coupon_codes SET status = 'expired' WHERE id <= 19000")
    await execute(mall, "UPDATE exchange_items SET stock = 500, total_stock = 500")
    asked = {"item_ids": pools[:1], "counts": [1], "now": mall.clock()}
    plan = "\n".join(row[0] for row in await execute(mall, f"EXPLAIN {DRAW.text}", **asked))
    assert "Index Scan using ix_coupon_codes_unused" in plan, plan
    assert "Sort" not in plan, plan
