"""Operators fill the catalogue: items created, changed, and what is refused."""

from typing import Any

import pytest

from schema.ids import encode_id
from services.mall import Mall
from tests.client import Client
from tests.factories import add_item, add_user, execute, give_points
from tests.journeys.operator_steps import (
    actions,
    add_operator,
    all_refused,
    asked_for,
    item_id_of,
    operate,
    operate_in_vain,
    refused,
    stock_of,
    wish,
)
from tests.journeys.steps import exchange

MUG: dict[str, Any] = {"name": "马克杯", "points": 500, "stock": 3, "type": "PHYSICAL"}
EVERYTHING: dict[str, Any] = {
    "name": " 黄金会员 ",
    "description": "一个月的黄金会员。",
    "points": 2**53 - 1,
    "stock": 2**31 - 1,
    "imageUrl": "https://cdn.example.com/gold.png?size=2",
    "category": "会员",
    "tags": ["会员", "黄金", "会员"],
    "type": "VIP",
    "isActive": False,
    "availableFrom": "2026-11-20T04:00:00Z",
    "availableUntil": "2026-12-20T04:00:00Z",
    "perUserLimit": {"count": 1, "period": "MONTH"},
    "config": {"level": 2, "days": 31, "verification": True},
}


@pytest.fixture
async def olga(mall: Mall) -> int:
    """An operator."""
    return await add_operator(mall)


@pytest.fixture
async def alice(mall: Mall) -> int:
    """A member with 1,000 points."""
    user_id = await add_user(mall, "alice", last_login_at=mall.clock())
    await give_points(mall, user_id, 1000)
    return user_id


async def test_an_item_is_created_with_all_that_is_said_of_it(
    mall: Mall, client: Client, olga: int
) -> None:
    """Every field is stored; the first line of the item's history says so."""
    saved = await operate(client, "saveItem", **EVERYTHING)
    expected = {key: value for key, value in EVERYTHING.items() if key != "config"}
    expected |= {"name": "黄金会员", "tags": ["会员", "黄金"], "id": saved["item"]["id"]}
    assert saved == {"__typename": "SaveItemSuccess", "item": expected}
    (row,) = await execute(mall, "SELECT id, config, total_stock FROM exchange_items")
    assert (row.config, row.total_stock) == (EVERYTHING["config"], 2**31 - 1)
    ((operator_id, action, kind, key, details),) = await actions(mall)
    assert (operator_id, action, kind, key) == (olga, "save_item", "ExchangeItem", str(row.id))
    assert details["before"] is None
    assert (details["after"]["name"], details["after"]["stock"]) == ("黄金会员", 2**31 - 1)


@pytest.mark.usefixtures("olga")
async def test_little_is_needed(client: Client) -> None:
    """An item without stock, on sale at once, is for nobody to take yet."""
    item = (await operate(client, "saveItem", name="x", points=1, type="VIRTUAL"))["item"]
    assert (item["stock"], item["isActive"], item["tags"]) == (0, True, [])
    optional = ("description", "imageUrl", "category", "availableFrom", "perUserLimit")
    assert [item[name] for name in optional] == [None] * 5


@pytest.mark.usefixtures("olga", "alice")
async def test_a_new_item_can_be_taken(client: Client) -> None:
    """By the member, as soon as it is saved."""
    note = {"note": "发到您的邮箱"}
    saved = await operate(client, "saveItem", **MUG | {"type": "VIRTUAL", "config": note})
    query = """mutation ($id: ID!) { oneClickExchange(input: {itemId: $id, idempotencyKey: "k"}) {
        ... on OneClickExchangeSuccess { exchange { item { stock }
          reward { ... on ManualDelivery { note } } } } } }"""
    data = await client.data(query, {"id": saved["item"]["id"]}, as_="alice")
    assert data["oneClickExchange"]["exchange"] == {"item": {"stock": 2}, "reward": note}


@pytest.mark.usefixtures("alice")
async def test_a_change_replaces_what_is_said_and_notes_what_differs(
    mall: Mall, client: Client, olga: int
) -> None:
    """What is left out is emptied; stock and config, which cannot be read back, stay."""
    item_id = await add_item(mall, description="alt", tags=["a"], config={"note": "bald"})
    await exchange(client, "alice", item_id)
    item = await operate(
        client, "saveItem", id=item_id_of(item_id), name="neu", points=7, type="VIRTUAL"
    )
    assert (item["item"]["name"], item["item"]["description"]) == ("neu", None)
    assert (item["item"]["stock"], item["item"]["tags"]) == (9, [])
    ((_, _, _, _, details),) = await actions(mall)
    assert details == {
        "before": {"name": "测试商品", "description": "alt", "points": 100, "tags": ["a"]},
        "after": {"name": "neu", "description": None, "points": 7, "tags": []},
    }
    (row,) = await execute(mall, "SELECT config, stock, total_stock FROM exchange_items")
    assert tuple(row) == ({"note": "bald"}, 9, 10)
    assert olga


@pytest.mark.usefixtures("olga", "alice")
async def test_stock_is_what_is_left_from_now_on(mall: Mall, client: Client) -> None:
    """What was exchanged stays accounted for, up and down, to nothing and back."""
    item_id = await add_item(mall, stock=5)
    await exchange(client, "alice", item_id)
    for left in (50, 1, 0, 2):
        terms = MUG | {"type": "VIRTUAL", "stock": left, "id": item_id_of(item_id)}
        saved = await operate(client, "saveItem", **terms)
        assert saved["item"]["stock"] == left
        assert await stock_of(mall, item_id) == (left, left + 1)


@pytest.mark.usefixtures("olga")
async def test_those_who_wish_for_it_hear_that_it_is_back(mall: Mall, client: Client) -> None:
    """Once, when stock goes up from none; not for an item that nobody wishes for."""
    wished, unwished = await add_item(mall, stock=0), await add_item(mall, stock=0)
    await wish(mall, wished)
    for item_id, stock in ((wished, 0), (unwished, 5), (wished, 5), (wished, 6)):
        terms = MUG | {"type": "VIRTUAL", "stock": stock, "id": item_id_of(item_id)}
        await operate(client, "saveItem", **terms)
    assert await asked_for(mall, "back_in_stock") == [{"item_id": wished}]


INVALID: list[tuple[dict[str, Any], list[str]]] = [
    ({"name": ""}, ["name"]),
    ({"name": "  "}, ["name"]),
    ({"name": "n" * 201}, ["name"]),
    ({"name": "a\x00"}, ["name"]),
    ({"description": "d" * 5001}, ["description"]),
    ({"points": 0}, ["points"]),
    ({"points": -1}, ["points"]),
    ({"stock": -1}, ["stock"]),
    ({"imageUrl": "ftp://example.com/a"}, ["imageUrl"]),
    ({"imageUrl": "javascript:alert(1)"}, ["imageUrl"]),
    ({"imageUrl": "https://"}, ["imageUrl"]),
    ({"imageUrl": "https://[::1/a"}, ["imageUrl"]),
    ({"imageUrl": "https://a b"}, ["imageUrl"]),
    ({"imageUrl": ""}, ["imageUrl"]),
    ({"category": ""}, ["category"]),
    ({"category": "c" * 101}, ["category"]),
    ({"tags": [str(number) for number in range(21)]}, ["tags"]),
    ({"tags": ["ok", "t" * 51]}, ["tags", "1"]),
    ({"tags": [""]}, ["tags", "0"]),
    (
        {"availableFrom": "2026-11-20T04:00:00Z", "availableUntil": "2026-11-20T04:00:00Z"},
        ["availableUntil"],
    ),
    ({"perUserLimit": {"count": 0, "period": "DAY"}}, ["perUserLimit", "count"]),
    ({"perUserLimit": {"count": -2, "period": "DAY"}}, ["perUserLimit", "count"]),
    ({"config": []}, ["config"]),
    ({"config": "x"}, ["config"]),
    ({"config": {"a": "\x00"}}, ["config"]),
    ({"config": {"a": [{"b": 2**64}]}}, ["config"]),
    ({"config": {"a": -1e300}}, ["config"]),
    ({"config": {"note": "soon"}}, ["config", "note"]),
    ({"type": "VIRTUAL", "config": {"notes": "soon"}}, ["config", "notes"]),
    ({"type": "VIP", "config": {"level": 1, "days": 1, "note": ""}}, ["config", "note"]),
    ({"type": "COUPON", "config": {"generate": True, "days": 1}}, ["config", "days"]),
    ({"config": {"verification": 1}}, ["config", "verification"]),
    ({"type": "VIRTUAL", "config": {"note": 1}}, ["config", "note"]),
    ({"type": "VIP"}, ["config", "level"]),
    ({"type": "VIP", "config": {"level": 1}}, ["config", "days"]),
    ({"type": "VIP", "config": {"level": 0, "days": 1}}, ["config", "level"]),
    ({"type": "VIP", "config": {"level": 101, "days": 1}}, ["config", "level"]),
    ({"type": "VIP", "config": {"level": True, "days": 1}}, ["config", "level"]),
    ({"type": "VIP", "config": {"level": 1.5, "days": 1}}, ["config", "level"]),
    ({"type": "VIP", "config": {"level": 1, "days": 36_501}}, ["config", "days"]),
    ({"type": "COUPON", "config": {"generate": "true"}}, ["config", "generate"]),
    ({"type": "COUPON", "config": {"generate": True, "prefix": 1}}, ["config", "prefix"]),
    ({"type": "COUPON", "config": {"generate": True, "valid_days": 0}}, ["config", "valid_days"]),
    ({"type": "COUPON"}, ["stock"]),
    ({"type": "COUPON", "config": {"generate": False}}, ["stock"]),
]


@pytest.mark.usefixtures("olga")
async def test_what_breaks_a_rule_is_refused_by_its_field(mall: Mall, client: Client) -> None:
    """Whether the item is new or there already, nothing has changed."""
    known = {"id": item_id_of(await add_item(mall, stock=0))}
    cases = [(MUG | wrong, field) for wrong, field in INVALID]
    await all_refused(mall, client, "saveItem", cases)
    await all_refused(mall, client, "saveItem", [(asked | known, field) for asked, field in cases])


@pytest.mark.usefixtures("olga", "alice")
async def test_what_was_exchanged_keeps_its_kind(mall: Mall, client: Client) -> None:
    """The exchange tells by the item what it gave; everything else of it may change."""
    generated = {"type": "coupon", "config": {"generate": True}}
    virtual, coupon = await add_item(mall), await add_item(mall, **generated)
    for item_id in (virtual, coupon):
        await exchange(client, "alice", item_id, f"key-{item_id}")
    answer = await refused(mall, client, "saveItem", **MUG, id=item_id_of(virtual))
    assert (answer["code"], answer["field"]) == ("INVALID_INPUT", ["type"])
    own_codes = {"name": "x", "points": 1, "type": "COUPON", "stock": 0, "config": {}}
    answer = await refused(mall, client, "saveItem", **own_codes, id=item_id_of(coupon))
    assert (answer["code"], answer["field"]) == ("INVALID_INPUT", ["config", "generate"])


@pytest.mark.usefixtures("olga")
async def test_what_nobody_took_may_become_something_else(mall: Mall, client: Client) -> None:
    """Any kind, as long as nothing of it is gone."""
    item_id = item_id_of(await add_item(mall))
    for kind, config in (
        ("VIP", {"level": 1, "days": 30}),
        ("COUPON", {"generate": True}),
        ("PHYSICAL", {}),
    ):
        saved = await operate(
            client, "saveItem", **MUG | {"type": kind, "config": config, "id": item_id}
        )
        assert saved["item"]["type"] == kind
    assert (await stock_of(mall, 1)) == (3, 3)


@pytest.mark.usefixtures("olga", "alice")
async def test_the_stock_that_was_ever_put_in_can_be_counted(mall: Mall, client: Client) -> None:
    """One was exchanged: one unit less than the largest number is the most that can be left."""
    item_id = await add_item(mall)
    await exchange(client, "alice", item_id)
    terms = {"name": "x", "points": 1, "type": "VIRTUAL", "id": item_id_of(item_id)}
    answer = await refused(mall, client, "saveItem", **terms, stock=2**31 - 1)
    assert answer["field"] == ["stock"]
    saved = await operate(client, "saveItem", **terms, stock=2**31 - 2)
    assert saved["item"]["stock"] == 2**31 - 2


@pytest.mark.usefixtures("olga")
async def test_ids_that_name_nothing_or_no_item(mall: Mall, client: Client) -> None:
    """An unknown item is not found; another thing's id is bad input."""
    answer = await refused(mall, client, "saveItem", **MUG, id=item_id_of(4711))
    assert (answer["code"], answer["id"]) == ("NOT_FOUND", item_id_of(4711))
    for wrong in (encode_id("Task", 1), "x", ""):
        assert await operate_in_vain(client, "saveItem", **MUG, id=wrong) == "BAD_USER_INPUT"


@pytest.mark.usefixtures("olga")
async def test_a_saved_item_is_found(client: Client) -> None:
    """By its name at once; after another is given, by that one only."""
    saved = await operate(client, "saveItem", **MUG | {"name": "蓝牙耳机"})
    query = "query($text: String!) { items(filter: {search: $text}) { nodes { id } } }"

    async def found(text: str) -> list[str]:
        page = (await client.data(query, {"text": text}))["items"]
        return [node["id"] for node in page["nodes"]]

    item_id = saved["item"]["id"]
    assert await found("耳机") == [item_id]
    await operate(client, "saveItem", id=item_id, **MUG | {"name": "保温水杯"})
    assert (await found("耳机"), await found("水杯")) == ([], [item_id])
