"""Cancelling exchanges and moving them on: who may, from where, and what comes back."""

from datetime import timedelta
from typing import Any

import pytest

from schema.ids import encode_id
from services.mall import Mall
from tests.client import Client
from tests.clock import MovableClock
from tests.factories import add_item, add_user, execute, fingerprint_of_database, give_points
from tests.journeys.money import ask
from tests.journeys.steps import exchange

_HOME = {"recipient": "李雷", "phone": "13800138000", "address": "上海市"}
_UNKNOWN = encode_id("Exchange", "00000000-0000-7000-8000-000000000001")


async def _take(mall: Mall, client: Client, key: str = "key", **item: Any) -> str:
    item_id = await add_item(mall, **item)
    shipping = _HOME if item.get("type") == "physical" else None
    return (await exchange(client, "alice", item_id, key, shipping=shipping))["exchange"]["id"]


async def _cancel(client: Client, exchange_id: str, **more: Any) -> dict[str, Any]:
    return await ask(client, "cancelExchange", "alice", "member", exchangeId=exchange_id, **more)


async def _update(client: Client, exchange_id: str, status: str, **more: Any) -> dict[str, Any]:
    return await ask(
        client, "updateExchange", "boss", "operator", exchangeId=exchange_id, status=status, **more
    )


async def test_exactly_the_lots_that_paid_get_their_points_back(
    mall: Mall, client: Client, clock: MovableClock
) -> None:
    """In part from one, all from another: both as before, and the stock too."""
    alice = await add_user(mall, "alice")
    first = await give_points(mall, alice, 60, expires_at=clock() + timedelta(days=2))
    second = await give_points(mall, alice, 100, expires_at=clock() + timedelta(days=9))
    exchange_id = await _take(mall, client, type="physical", config={}, points=90, stock=1)
    done = await _cancel(client, exchange_id, reason="改主意了")
    assert (done["refundedPoints"], done["expiredPoints"]) == (90, 0)
    assert done["exchange"] == {"id": exchange_id, "status": "CANCELLED"}
    assert done["balance"] == {
        "available": 160,
        "pending": 0,
        "lifetimeEarned": 160,
        "lifetimeRedeemed": 0,
    }
    rows = await execute(mall, "SELECT id, points, status FROM points_records ORDER BY expires_at")
    assert rows == [(first.id, 60, "active"), (second.id, 100, "active")]
    [(stock, reason)] = await execute(
        mall,
        "SELECT i.stock, e.cancel_reason FROM exchanges e JOIN exchange_items i ON i.id = item_id",
    )
    assert (stock, reason) == (1, "改主意了")


async def test_an_exchange_that_nobody_counted_can_be_cancelled(mall: Mall, client: Client) -> None:
    """A process of an earlier version made it: the count of exchanges does not go below none."""
    await give_points(mall, await add_user(mall, "alice"), 90)
    exchange_id = await _take(mall, client, type="physical", config={}, points=90)
    await execute(mall, "UPDATE users SET exchanges_made = 0")
    assert (await _cancel(client, exchange_id))["refundedPoints"] == 90
    assert await execute(mall, "SELECT exchanges_made FROM users WHERE points > 0") == [(0,)]


async def test_points_of_lots_that_ended_stay_lost_and_are_reported(
    mall: Mall, client: Client, clock: MovableClock
) -> None:
    """Part of the price is given back, part is not; later even nothing."""
    alice = await add_user(mall, "alice")
    await give_points(mall, alice, 60, expires_at=clock() + timedelta(days=2))
    await give_points(mall, alice, 100, expires_at=clock() + timedelta(days=9))
    both = await _take(mall, client, "both", type="physical", config={}, points=90)
    other = await _take(mall, client, "other", type="physical", config={}, points=20)
    clock.advance(days=3)
    done = await _cancel(client, both)
    assert (done["refundedPoints"], done["expiredPoints"]) == (30, 60)
    assert done["balance"]["available"] == 80
    clock.advance(days=7)
    done = await _cancel(client, other)
    assert (done["refundedPoints"], done["expiredPoints"]) == (0, 20)
    assert done["balance"]["available"] == 0


@pytest.mark.usefixtures("alice")
async def test_an_unused_coupon_is_given_back_and_revoked(mall: Mall, client: Client) -> None:
    """Its code is worth nothing any more; a second time there is nothing to give back."""
    exchange_id = await _take(mall, client, type="coupon", config={"generate": True})
    assert (await _cancel(client, exchange_id))["refundedPoints"] == 100
    asked = "... on Exchange { reward { ... on Coupon { status } } }"
    query = f"query($id: ID!) {{ node(id: $id) {{ {asked} }} }}"
    shown = await client.data(query, {"id": exchange_id}, as_="alice")
    assert shown["node"]["reward"] == {"status": "REVOKED"}
    again = await _cancel(client, exchange_id)
    assert (again["code"], again["state"]) == ("INVALID_STATE", "CANCELLED")
    assert again["message"] == "当前状态下无法进行此操作。"


@pytest.mark.usefixtures("alice")
@pytest.mark.parametrize("status", ["used", "expired"])
async def test_another_coupon_is_not(mall: Mall, client: Client, status: str) -> None:
    """Used or ended: the exchange stays what it is."""
    exchange_id = await _take(mall, client, type="coupon", config={"generate": True})
    used = status == "used"
    await execute(
        mall,
        "UPDATE user_coupons SET status = :status, used_at = CASE WHEN :used THEN now() END,"
        " used_reference = CASE WHEN :used THEN 'order 1' END",
        status=status,
        used=used,
    )
    assert (await _cancel(client, exchange_id))["code"] == "INVALID_STATE"


@pytest.mark.usefixtures("alice")
async def test_a_coupon_past_its_end_is_not(
    mall: Mall, client: Client, clock: MovableClock
) -> None:
    """Whether or not anything has noted that it ended."""
    exchange_id = await _take(mall, client, type="coupon", config={"generate": True})
    clock.advance(days=31)
    assert (await _cancel(client, exchange_id))["code"] == "INVALID_STATE"


@pytest.mark.usefixtures("alice")
async def test_an_exchange_is_shipped_and_completed(mall: Mall, client: Client) -> None:
    """By an operator; on the way the member cannot cancel any more, the operator can."""
    exchange_id = await _take(mall, client, type="physical", config={})
    shipped = await _update(client, exchange_id, "SHIPPED", carrier="顺丰", trackingNumber="SF123")
    assert shipped["exchange"]["status"] == "SHIPPED"
    assert shipped["exchange"]["reward"] == {
        "__typename": "Shipment",
        "carrier": "顺丰",
        "trackingNumber": "SF123",
    }
    assert (await _cancel(client, exchange_id))["state"] == "SHIPPED"
    assert (await _update(client, exchange_id, "COMPLETED"))["exchange"]["status"] == "COMPLETED"
    assert (await _update(client, exchange_id, "CANCELLED"))["state"] == "COMPLETED"
    noted = await execute(mall, "SELECT action, kind, details FROM operator_actions ORDER BY id")
    assert {(row.action, row.kind) for row in noted} == {("update_exchange", "Exchange")}
    assert [row.details for row in noted] == [
        {"before": {"status": "pending"}, "after": {"status": "shipped", "carrier": "顺丰"}},
        {"before": {"status": "shipped"}, "after": {"status": "completed"}},
    ]


async def test_a_membership_is_shortened(
    mall: Mall, client: Client, clock: MovableClock, alice: int
) -> None:
    """By the days that have not run; what was bought later moves forward."""
    item = {"type": "vip", "config": {"level": 2, "days": 30}}
    first = await _take(mall, client, "first", **item)
    second = await _take(mall, client, "second", **item)
    clock.advance(days=10)
    assert (await _cancel(client, first))["state"] == "COMPLETED"
    assert (await _update(client, first, "CANCELLED"))["exchange"]["status"] == "CANCELLED"
    held = "SELECT expires_at FROM user_vip WHERE user_id = :user"
    [(ends,)] = await execute(mall, held, user=alice)
    assert ends == clock() + timedelta(days=30)
    assert (await _update(client, second, "CANCELLED"))["exchange"]["status"] == "CANCELLED"
    assert await execute(mall, held, user=alice) == []


@pytest.mark.usefixtures("alice")
async def test_what_is_not_the_members_is_not_there(mall: Mall, client: Client) -> None:
    """Unknown, and another member's: the same answer, and nothing has changed."""
    exchange_id = await _take(mall, client, type="physical", config={})
    await client.user_id("bob")
    before = await fingerprint_of_database(mall)
    other = await ask(client, "cancelExchange", "bob", "member", exchangeId=exchange_id)
    assert (other["code"], other["id"]) == ("NOT_FOUND", exchange_id)
    assert (await _cancel(client, _UNKNOWN))["code"] == "NOT_FOUND"
    assert (await _update(client, _UNKNOWN, "SHIPPED"))["code"] == "NOT_FOUND"
    await client.user_id("boss", "operator")
    assert await fingerprint_of_database(mall) != before  # the operator signed in
    before = await fingerprint_of_database(mall)
    assert (await _update(client, exchange_id, "COMPLETED"))["state"] == "PENDING"
    assert await fingerprint_of_database(mall) == before


@pytest.mark.usefixtures("alice")
@pytest.mark.parametrize(
    "values", [{"reason": "长" * 501}, {"carrier": "x" * 101}, {"trackingNumber": "a\x00b"}]
)
async def test_texts_have_an_end(mall: Mall, client: Client, values: dict[str, str]) -> None:
    """Too long, or not to be stored: an error for the developer who sent it."""
    exchange_id = await _take(mall, client, type="physical", config={})
    query = (
        "mutation($input: UpdateExchangeInput!) { updateExchange(input: $input) { __typename } }"
    )
    variables = {"input": {"exchangeId": exchange_id, "status": "SHIPPED", **values}}
    answer = await client.post(query, variables, client.token("boss", "operator"))
    assert answer["errors"][0]["extensions"]["code"] == "BAD_USER_INPUT"
