"""Whoever wishes for an item that was sold out is told when it is back."""

import asyncio
from datetime import timedelta

from jobs.runner import Runner
from schema.ids import encode_id
from services.catalogue.restock import WISHERS_A_PAGE
from services.mall import Mall
from tests.client import Client
from tests.clock import MovableClock
from tests.factories import add_item, add_user, execute
from tests.jobs.due import PLANNING, add_device, pushes, run_due
from tests.journeys.operator_steps import add_operator, operate
from tests.journeys.test_wishes import wish


async def restock(client: Client, item_id: int, key: str, by: int = 5) -> None:
    """Let an operator put some of it in, or take some out."""
    asked = {"itemId": encode_id("ExchangeItem", item_id), "by": by, "idempotencyKey": key}
    answer = await operate(client, "adjustStock", **asked)
    assert answer["__typename"] == "AdjustStockSuccess", answer


async def test_wishers_are_told(mall: Mall, client: Client) -> None:
    """In their language; those who do not wish for it, or cannot take it, are not."""
    await add_operator(mall)
    alice = await add_user(mall, "alice", locale="en")
    bob = await add_user(mall, "bob")
    suspended = await add_user(mall, "carol")
    await add_user(mall, "dora")
    await add_device(mall, alice, bob, suspended)
    item_id = await add_item(mall, name="Tea", points=1_200, stock=0)
    for name in ("alice", "bob", "carol"):
        await wish(client, name, item_id)
    await execute(
        mall,
        "UPDATE users SET suspended_until = :until WHERE id = :id",
        until=mall.clock() + timedelta(days=1),
        id=suspended,
    )
    await restock(client, item_id, "first")
    await run_due(mall)
    told = {push.user_id: push for push in await pushes(mall)}
    assert told.keys() == {alice, bob}
    assert {(push.type, push.status) for push in told.values()} == {("campaign", "queued")}
    assert told[alice].title == "Tea is back"
    assert told[alice].body == "You wished for it: get it for 1,200 points while it lasts."
    assert told[bob].title == "Tea 补货啦"
    assert told[bob].payload == {"itemId": encode_id("ExchangeItem", item_id)}


async def test_an_item_is_announced_once_a_day(
    mall: Mall, client: Client, clock: MovableClock
) -> None:
    """It came, went and came again: told once; it comes again tomorrow: told again."""
    await add_operator(mall)
    item_id = await add_item(mall, stock=0)
    await wish(client, "alice", item_id)
    for number in range(3):
        await restock(client, item_id, f"in-{number}")
        await run_due(mall)
        await restock(client, item_id, f"out-{number}", -5)
    assert len(await pushes(mall)) == 1
    clock.advance(days=1)
    await restock(client, item_id, "tomorrow")
    await run_due(mall)
    assert [push.reference for push in await pushes(mall)] == [
        f"back_in_stock:{item_id}:2026-11-20",
        f"back_in_stock:{item_id}:2026-11-21",
    ]


async def test_nobody_is_told_of_what_is_gone_again(mall: Mall, client: Client) -> None:
    """Sold out, taken off sale, not on sale yet or no longer, by the time the job runs."""
    await add_operator(mall)
    hour = timedelta(hours=1)
    changes = [
        "stock = 0, total_stock = 0",
        "is_active = false",
        f"available_from = '{mall.clock() + hour}'",
        f"available_until = '{mall.clock() - hour}'",
    ]
    for number, change in enumerate(changes):
        item_id = await add_item(mall, stock=0)
        await wish(client, "alice", item_id)
        await restock(client, item_id, f"key-{number}")
        await execute(mall, f"UPDATE exchange_items SET {change} WHERE id = :id", id=item_id)
    assert await run_due(mall) == len(changes)
    assert await pushes(mall) == []


async def test_many_wishers_are_told_page_by_page(
    mall: Mall, client: Client, clock: MovableClock
) -> None:
    """Each once, over midnight too, and whatever is run twice or at the same time."""
    await add_operator(mall)
    item_id = await add_item(mall, stock=0)
    wishers = 2 * WISHERS_A_PAGE + 7
    await execute(
        mall,
        "WITH added AS (INSERT INTO users (external_id, username, locale, timezone)"
        " SELECT 'w' || n, 'w' || n, 'en', 'Asia/Shanghai' FROM generate_series(1, :most) AS n"
        " RETURNING id) INSERT INTO wishes (user_id, item_id) SELECT id, :item FROM added",
        most=wishers,
        item=item_id,
    )
    await restock(client, item_id, "key")
    runner, done = Runner(mall, PLANNING), 0
    clock.now = clock.now.replace(hour=15, minute=59)
    while rows := await execute(
        mall, "SELECT id FROM outbox WHERE job = 'back_in_stock' AND done_at IS NULL"
    ):
        ids = [row.id for row in rows]
        await asyncio.gather(*(runner.run("back_in_stock", ids) for _ in range(3)))
        done += len(ids)
        clock.advance(minutes=1)
    assert done == 3
    told = await pushes(mall)
    assert len(told) == len({push.user_id for push in told}) == wishers
    assert {push.reference for push in told} == {f"back_in_stock:{item_id}:2026-11-20"}
