"""Whoever exchanges is told so, once, and what to do next."""

from datetime import timedelta
from typing import Any

import pytest

from jobs.runner import Runner
from schema.ids import encode_id
from services.exchange.place import exchange_request
from services.exchange.rewards import Shipping
from services.mall import Mall
from services.transaction import transaction
from services.users.erase import erase_user
from tests.client import Client
from tests.clock import MovableClock
from tests.factories import add_item, add_user, execute, give_points
from tests.jobs.due import PLANNING, add_device, pushes, run_due
from tests.journeys.steps import exchange

SHIPPING = {"recipient": "Alice", "phone": "139", "address": "1 Elm Street"}
KINDS: list[tuple[dict[str, Any], str, str]] = [
    (
        {"type": "coupon", "config": {"generate": True}},
        "Your code is ready: open the exchange to see it.",
        "券码已备好，打开兑换详情即可查看。",
    ),
    (
        {"type": "vip", "config": {"level": 1, "days": 30}},
        "Your membership is active: enjoy it.",
        "会员权益已生效，尽情享受吧。",
    ),
    (
        {"type": "physical", "config": {}},
        "We are preparing it: open the exchange to see where it is.",
        "我们正在为您备货，可在兑换详情中查看进度。",
    ),
    (
        {"type": "virtual"},
        "Open the exchange to see how you receive it.",
        "打开兑换详情，即可查看领取方式。",
    ),
]


@pytest.mark.parametrize(
    ("item", "english", "chinese"), KINDS, ids=[item["type"] for item, _, _ in KINDS]
)
async def test_an_exchange_is_confirmed_in_the_members_language(
    mall: Mall, client: Client, item: dict[str, Any], english: str, chinese: str
) -> None:
    """With the item and its price, what comes next, and the id by which the app opens it."""
    item_id = await add_item(mall, name="Tea", points=1_200, **item)
    more = {"shipping": SHIPPING} if item["type"] == "physical" else {}
    expected = [
        ("alice", "en", "Tea is yours for 1,200 points", english),
        ("bob", "zh-CN", "兑换成功：Tea（1,200 积分）", chinese),
    ]
    for name, locale, title, body in expected:
        user_id = await add_user(mall, name, locale=locale)
        await add_device(mall, user_id)
        await give_points(mall, user_id, 2_000)
        done = await exchange(client, name, item_id, **more)
        await run_due(mall)
        (push,) = await pushes(mall, user_id)
        assert (push.type, push.status) == ("exchange_confirmation", "queued")
        assert (push.title, push.body) == (title, body)
        assert push.payload == {"exchangeId": done["exchange"]["id"]}
        assert done["exchange"]["id"] == encode_id("Exchange", push.reference)
        assert push.due_at == mall.clock()


async def test_a_confirmation_comes_at_night_and_beyond_the_cap(
    mall: Mall, client: Client, clock: MovableClock
) -> None:
    """It answers what the member just did: five at half past two are five, at once."""
    clock.now += timedelta(hours=14, minutes=30)
    user_id = await add_user(mall, "alice")
    await add_device(mall, user_id)
    await give_points(mall, user_id, 1_000)
    item_id = await add_item(mall)
    for number in range(5):
        await exchange(client, "alice", item_id, f"key-{number}")
    await run_due(mall)
    told = await pushes(mall)
    assert [(push.status, push.due_at) for push in told] == [("queued", clock())] * 5


async def test_a_confirmation_is_recorded_once(mall: Mall, client: Client) -> None:
    """Sent twice by the broker, asked for twice, or both at once: there is one."""
    user_id = await add_user(mall, "alice")
    await give_points(mall, user_id, 100)
    await exchange(client, "alice", await add_item(mall))
    await execute(
        mall, "INSERT INTO outbox (job, payload, due_at) SELECT job, payload, due_at FROM outbox"
    )
    rows = await execute(mall, "SELECT id FROM outbox WHERE job = 'exchange_confirmation'")
    assert len(rows) == 2
    await Runner(mall, PLANNING).run("exchange_confirmation", [rows[0].id])
    await Runner(mall, PLANNING).run("exchange_confirmation", [row.id for row in rows])
    (push,) = await pushes(mall)
    assert (push.status, push.reason) == ("suppressed", "no_device")


async def test_who_was_suspended_meanwhile_is_still_told(mall: Mall, client: Client) -> None:
    """What they did before counts, and what they try from then on does not."""
    user_id = await add_user(mall, "alice")
    await add_device(mall, user_id)
    await give_points(mall, user_id, 100)
    await exchange(client, "alice", await add_item(mall))
    await execute(mall, "UPDATE users SET suspended_until = '2099-01-01T00:00Z'")
    refused = await exchange(client, "alice", await add_item(mall), "another")
    assert refused["code"] == "MEMBER_SUSPENDED"
    await run_due(mall)
    (push,) = await pushes(mall, user_id)
    assert (push.type, push.status) == ("exchange_confirmation", "queued")


async def test_an_exchange_that_was_cancelled_meanwhile_is_still_confirmed(
    mall: Mall, client: Client
) -> None:
    """It took place, and the member may wonder where the points were."""
    user_id = await add_user(mall, "alice")
    await give_points(mall, user_id, 100)
    item_id = await add_item(mall, type="physical", config={})
    done = await exchange(client, "alice", item_id, shipping=SHIPPING)
    cancelled = await client.data(
        "mutation ($id: ID!) { cancelExchange(input: {exchangeId: $id}) { __typename } }",
        {"id": done["exchange"]["id"]},
        as_="alice",
    )
    assert cancelled["cancelExchange"]["__typename"] == "CancelExchangeSuccess"
    await run_due(mall)
    assert len(await pushes(mall)) == 1


async def test_who_was_erased_meanwhile_is_not_told(mall: Mall, client: Client) -> None:
    """And those who asked in the same message are."""
    users = [await add_user(mall, name) for name in ("alice", "bob")]
    item_id = await add_item(mall)
    for user_id, name in zip(users, ("alice", "bob"), strict=True):
        await give_points(mall, user_id, 100)
        await exchange(client, name, item_id)
    async with transaction(mall.stores.write) as session:
        await erase_user(session, "alice", mall.clock(), timezone=mall.zone.key)
    await run_due(mall)
    assert [push.user_id for push in await pushes(mall)] == [users[1]]


async def test_hundreds_are_confirmed_together(mall: Mall) -> None:
    """300 exchanges of 100 members: one confirmation each."""
    item_id = await add_item(mall, stock=1_000, points=1)
    for number in range(100):
        user_id = await add_user(mall, f"member-{number}")
        await give_points(mall, user_id, 10)
        for key in "abc":
            shipping: Shipping | None = None
            request = exchange_request(user_id, item_id, key, shipping, is_verified=False)
            await mall.exchanges.submit(request)
    await run_due(mall)
    rows = await execute(
        mall,
        "SELECT count(*) AS told, count(push.id) AS pushes FROM exchanges"
        " LEFT JOIN push_records AS push ON push.reference = exchanges.id::text"
        " AND push.user_id = exchanges.user_id",
    )
    assert rows == [(300, 300)]
