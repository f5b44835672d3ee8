"""Operators move stock: up, down, once a key, never below nothing."""

import asyncio
from collections import Counter
from typing import Any

import pytest

from schema.ids import encode_id
from services.mall import Mall
from tests.client import Client
from tests.factories import add_item, add_user, fingerprint_of_database, give_points
from tests.journeys.operator_steps import (
    actions,
    add_operator,
    asked_for,
    item_id_of,
    operate,
    operate_in_vain,
    refused,
    stock_of,
    wish,
)
from tests.journeys.steps import exchange


@pytest.fixture
async def olga(mall: Mall) -> int:
    """An operator."""
    return await add_operator(mall)


async def adjust(
    client: Client, item_id: int, by: int, key: str = "key", operator: str = "olga"
) -> Any:
    """Move an item's stock."""
    asked = {"itemId": item_id_of(item_id), "by": by, "idempotencyKey": key}
    return await operate(client, "adjustStock", operator=operator, **asked)


async def test_stock_goes_up_and_down_by_what_is_said(
    mall: Mall, client: Client, olga: int
) -> None:
    """What was exchanged stays accounted for; each step is noted."""
    alice = await add_user(mall, "alice", last_login_at=mall.clock())
    await give_points(mall, alice, 100)
    item_id = await add_item(mall, stock=3)
    await exchange(client, "alice", item_id)
    for number, (by, left) in enumerate([(5, 7), (-7, 0), (0, 0), (1, 1)]):
        answer = await adjust(client, item_id, by, f"key-{number}")
        assert (answer["item"]["stock"], answer["replayed"]) == (left, False)
        assert await stock_of(mall, item_id) == (left, left + 1)
    noted = await actions(mall)
    assert noted[0] == (
        olga,
        "adjust_stock",
        "ExchangeItem",
        str(item_id),
        {"before": {"stock": 2}, "after": {"stock": 7}},
    )
    assert len(noted) == 4


@pytest.mark.usefixtures("olga")
async def test_a_key_moves_stock_once(mall: Mall, client: Client) -> None:
    """Again: the same answer, and nothing moves. Each operator has keys of their own."""
    item_id = await add_item(mall, stock=3)
    first = await adjust(client, item_id, 2)
    before = await fingerprint_of_database(mall)
    again = await adjust(client, item_id, 2)
    assert again == first | {"replayed": True}
    assert await fingerprint_of_database(mall) == before
    await add_operator(mall, "otto")
    theirs = await adjust(client, item_id, 2, operator="otto")
    assert (theirs["item"]["stock"], theirs["replayed"]) == (7, False)


@pytest.mark.usefixtures("olga")
async def test_a_key_used_for_something_else_is_a_conflict(mall: Mall, client: Client) -> None:
    """Another number, or another item."""
    item_id, other = await add_item(mall), await add_item(mall)
    await adjust(client, item_id, 1)
    for asked in ((item_id, 2), (other, 1)):
        more = {"itemId": item_id_of(asked[0]), "by": asked[1], "idempotencyKey": "key"}
        answer = await refused(mall, client, "adjustStock", **more)
        assert (answer["code"], answer["idempotencyKey"]) == ("IDEMPOTENCY_CONFLICT", "key")


@pytest.mark.usefixtures("olga")
async def test_stock_never_falls_below_nothing(mall: Mall, client: Client) -> None:
    """Refused whole, telling what is left; the key is free for another try."""
    item_id = await add_item(mall, stock=3)
    asked = {"itemId": item_id_of(item_id), "idempotencyKey": "key"}
    answer = await refused(mall, client, "adjustStock", **asked, by=-4)
    assert answer["code"] == "OUT_OF_STOCK"
    assert answer["item"] == {"id": item_id_of(item_id), "stock": 3}
    assert "3" in answer["message"]
    assert (await adjust(client, item_id, -3))["item"]["stock"] == 0


@pytest.mark.usefixtures("olga")
async def test_those_who_wish_for_it_hear_that_it_is_back(mall: Mall, client: Client) -> None:
    """Once each time that stock goes up from none, and once a key."""
    item_id = await add_item(mall, stock=0)
    await wish(mall, item_id)
    for by, key in ((1, "a"), (1, "a"), (1, "b"), (-2, "c"), (0, "d"), (3, "e")):
        await adjust(client, item_id, by, key)
    assert await asked_for(mall, "back_in_stock") == [{"item_id": item_id}] * 2


@pytest.mark.usefixtures("olga")
async def test_what_the_contract_has_no_problem_for(mall: Mall, client: Client) -> None:
    """Unknown items are; bad keys, pools and too much stock are bad input, and change nothing."""
    item_id, pool = await add_item(mall), await add_item(mall, type="coupon", config={}, stock=0)
    good = {"itemId": item_id_of(item_id), "by": 1, "idempotencyKey": "key"}
    answer = await refused(mall, client, "adjustStock", **good | {"itemId": item_id_of(4711)})
    assert (answer["code"], answer["id"]) == ("NOT_FOUND", item_id_of(4711))
    before = await fingerprint_of_database(mall)
    for wrong in (
        {"idempotencyKey": ""},
        {"idempotencyKey": "k" * 129},
        {"idempotencyKey": "\x00"},
        {"itemId": encode_id("Task", 1)},
        {"itemId": item_id_of(pool)},
        {"by": 2**31 - 1},
    ):
        code = await operate_in_vain(client, "adjustStock", **good | wrong)
        assert code == "BAD_USER_INPUT", wrong
    assert await fingerprint_of_database(mall) == before


@pytest.mark.usefixtures("olga")
async def test_calls_at_once_with_one_key_move_stock_once(mall: Mall, client: Client) -> None:
    """20 calls with each of two keys, and 20 with keys of their own that take more than there is.

    Stock is 5: one unit comes with each of the two keys, and exactly 7 of the others get one.
    """
    item_id = await add_item(mall, stock=5)
    up = [adjust(client, item_id, 1, f"up-{number % 2}") for number in range(40)]
    answers = await asyncio.gather(*up)
    assert Counter(answer["replayed"] for answer in answers) == {True: 38, False: 2}
    down = [adjust(client, item_id, -1, f"down-{number}") for number in range(20)]
    kinds = Counter(answer["__typename"] for answer in await asyncio.gather(*down))
    assert kinds == {"AdjustStockSuccess": 7, "OutOfStock": 13}
    assert await stock_of(mall, item_id) == (0, 0)
