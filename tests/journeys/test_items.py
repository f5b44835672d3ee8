"""The catalogue: what is listed, in which order, page by page, and what a member may take."""

from datetime import date, timedelta
from typing import Any

import pytest

from schema.ids import encode_id
from services.mall import Mall
from tests.client import Client
from tests.clock import MovableClock
from tests.factories import add_item, add_user, execute, give_points
from tests.journeys.steps import exchange

ORDERS = ("POPULAR", "NEWEST", "POINTS_ASC", "POINTS_DESC")
QUERY = """query ($first: Int, $after: String, $filter: ExchangeItemFilter,
                  $orderBy: ExchangeItemOrder! = POINTS_ASC) {
  items(first: $first, after: $after, filter: $filter, orderBy: $orderBy) {
    totalCount pageInfo { hasNextPage hasPreviousPage startCursor endCursor }
    edges { cursor node { id } } nodes { id name points }
  }
}"""


async def items(client: Client, **variables: Any) -> dict[str, Any]:
    """A page of the catalogue, for nobody in particular, by price unless said otherwise."""
    return (await client.data(QUERY, variables))["items"]


async def names(client: Client, **variables: Any) -> list[str]:
    """The names on a page."""
    return [node["name"] for node in (await items(client, **variables))["nodes"]]


@pytest.fixture
def tolerated() -> set[str]:
    """Popularity is planted here without the exchanges that would have made it."""
    return {"daily counts do not tie to exchanges"}


async def popular(mall: Mall, item_id: int, day: date, exchanges: int) -> None:
    """Let an item have been exchanged on a day."""
    statement = "INSERT INTO item_daily_exchanges VALUES (:day, :item_id, :exchanges)"
    await execute(mall, statement, day=day, item_id=item_id, exchanges=exchanges)


async def test_an_item_says_everything_about_itself(
    mall: Mall, client: Client, clock: MovableClock
) -> None:
    """Every field of the contract; what only a member has is null for anyone else."""
    item_id = await add_item(
        mall,
        description="两张",
        image_url="https://cdn.test/1.png",
        category="娱乐",
        tags=["电影", "周末"],
        available_from=clock.now,
        available_until=clock.now + timedelta(days=1),
        per_user_limit_count=2,
        per_user_limit_period="month",
    )
    query = """{ items { nodes {
      id name description points stock imageUrl category tags type isActive availableFrom
      availableUntil perUserLimit { count period } exchangeCount canExchange
    } } }"""
    assert (await client.data(query))["items"]["nodes"] == [
        {
            "id": encode_id("ExchangeItem", item_id),
            "name": "测试商品",
            "description": "两张",
            "points": 100,
            "stock": 10,
            "imageUrl": "https://cdn.test/1.png",
            "category": "娱乐",
            "tags": ["电影", "周末"],
            "type": "VIRTUAL",
            "isActive": True,
            "availableFrom": "2026-11-20T04:00:00Z",
            "availableUntil": "2026-11-21T04:00:00Z",
            "perUserLimit": {"count": 2, "period": "MONTH"},
            "exchangeCount": 0,
            "canExchange": None,
        }
    ]


async def test_items_that_are_off_or_over_are_not_listed(
    mall: Mall, client: Client, clock: MovableClock
) -> None:
    """What is sold out, or still to come, is; the count is of what is listed."""
    second = timedelta(seconds=1)
    await add_item(mall, name="off", is_active=False)
    await add_item(mall, name="over", available_until=clock.now)
    await add_item(mall, name="ending", points=1, available_until=clock.now + second)
    await add_item(mall, name="coming", points=2, available_from=clock.now + second)
    await add_item(mall, name="sold out", points=3, stock=0)
    assert await names(client) == ["ending", "coming", "sold out"]
    assert (await items(client, first=1))["totalCount"] == 3
    clock.advance(seconds=1)
    assert await names(client) == ["coming", "sold out"]


async def test_filters_combine(mall: Mall, client: Client) -> None:
    """Category, types and prices, each alone and together; null filters nothing."""
    gold = {"level": 1, "days": 1}
    await add_item(
        mall, name="a", points=10, category="美食", type="coupon", config={"generate": True}
    )
    await add_item(mall, name="b", points=20, category="美食")
    await add_item(mall, name="c", points=30, category="旅行", type="vip", config=gold)
    await add_item(mall, name="d", points=40, category=None, type="physical")
    for asked, expected in (
        (None, "abcd"),
        ({}, "abcd"),
        ({"category": None, "types": None, "minPoints": None, "maxPoints": None}, "abcd"),
        ({"category": "美食"}, "ab"),
        ({"category": "食"}, ""),
        ({"types": ["VIP", "PHYSICAL"]}, "cd"),
        ({"types": ["COUPON", "COUPON"]}, "a"),
        ({"types": []}, ""),
        ({"minPoints": 20}, "bcd"),
        ({"maxPoints": 30}, "abc"),
        ({"minPoints": 20, "maxPoints": 30}, "bc"),
        ({"minPoints": 30, "maxPoints": 20}, ""),
        ({"minPoints": -(2**53) + 1, "maxPoints": 2**53 - 1}, "abcd"),
        ({"category": "美食", "types": ["VIRTUAL"], "minPoints": 20}, "b"),
    ):
        page = await items(client, filter=asked)
        assert "".join(node["name"] for node in page["nodes"]) == expected, asked
        assert page["totalCount"] == len(expected), asked


async def test_items_come_in_every_order(mall: Mall, client: Client, clock: MovableClock) -> None:
    """Ties are broken the same way each time: by age."""
    today = clock.now.date()
    for name, points, exchanges in (("a", 30, 5), ("b", 10, 0), ("c", 20, 9), ("d", 10, 5)):
        item_id = await add_item(mall, name=name, points=points)
        if exchanges:
            await popular(mall, item_id, today, exchanges)
        clock.advance(minutes=1)
    assert [await names(client, orderBy=order) for order in ORDERS] == [
        ["c", "d", "a", "b"],
        ["d", "c", "b", "a"],
        ["b", "d", "c", "a"],
        ["a", "c", "d", "b"],
    ]


async def test_popular_is_the_order_unless_another_is_asked_for(mall: Mall, client: Client) -> None:
    """And 20 items the page."""
    for number in range(21):
        await add_item(mall, name=str(number))
    await popular(mall, 5, mall.clock().date(), 1)
    data = await client.data("{ items { nodes { name } pageInfo { hasNextPage } } }")
    assert len(data["items"]["nodes"]) == 20
    assert data["items"]["nodes"][0] == {"name": "4"}
    assert data["items"]["pageInfo"]["hasNextPage"] is True


@pytest.mark.parametrize("order", ORDERS)
async def test_pages_do_not_shift_when_items_come_and_go(
    mall: Mall, client: Client, clock: MovableClock, order: str
) -> None:
    """Items before the cursor may vanish or appear: the next page begins after the last seen."""
    today = clock.now.date()
    for number in range(6):
        item_id = await add_item(mall, name=str(number), points=100)
        if number < 5:
            await popular(mall, item_id, today, 3)
        clock.advance(seconds=1)
    whole = await names(client, orderBy=order)
    assert sorted(whole) == list("012345")
    first = await items(client, orderBy=order, first=2)
    gone = whole[1]  # the item whose cursor goes with the next request
    await execute(mall, "UPDATE exchange_items SET is_active = false WHERE name = :n", n=gone)
    best = await add_item(mall, name="new", points=1000 if order == "POINTS_DESC" else 1)
    await popular(mall, best, today, 9)
    second = await items(client, orderBy=order, first=2, after=first["pageInfo"]["endCursor"])
    last = await items(client, orderBy=order, first=9, after=second["pageInfo"]["endCursor"])
    seen = [node["name"] for page in (first, second, last) for node in page["nodes"]]
    assert seen == whole
    pages = [page["pageInfo"] for page in (first, second, last)]
    assert [(p["hasPreviousPage"], p["hasNextPage"]) for p in pages] == [
        (False, True),
        (True, True),
        (True, False),
    ]
    assert second["pageInfo"]["startCursor"] == second["edges"][0]["cursor"]
    assert second["pageInfo"]["endCursor"] == second["edges"][-1]["cursor"]
    assert [edge["node"]["id"] for edge in second["edges"]] == [n["id"] for n in second["nodes"]]


async def test_a_page_beyond_the_end_is_empty(mall: Mall, client: Client) -> None:
    """No cursors, nothing after it."""
    await add_item(mall)
    last = (await items(client))["pageInfo"]["endCursor"]
    page = await items(client, after=last)
    assert (page["nodes"], page["edges"], page["totalCount"]) == ([], [], 1)
    assert page["pageInfo"] == {
        "hasNextPage": False,
        "hasPreviousPage": True,
        "startCursor": None,
        "endCursor": None,
    }


async def test_the_exchange_count_is_over_seven_days(
    mall: Mall, client: Client, clock: MovableClock
) -> None:
    """Today and the six days of the mall before it."""
    await give_points(mall, await add_user(mall), 1000)
    item_id = await add_item(mall)
    clock.advance(hours=11, minutes=59)  # one minute to midnight in Shanghai
    for number in range(2):
        await exchange(client, "alice", item_id, f"key {number}")
    clock.advance(minutes=1)
    await exchange(client, "alice", item_id, "today")
    counts = []
    for _ in range(3):
        data = await client.data("{ items { nodes { exchangeCount } } }")
        counts.append(data["items"]["nodes"][0]["exchangeCount"])
        clock.advance(days=6 if len(counts) == 1 else 1)
    assert counts == [3, 1, 0]


async def test_a_member_is_told_what_can_be_taken(
    mall: Mall, client: Client, clock: MovableClock
) -> None:
    """Affordable, in stock, on sale and within the limits; another member has other answers."""
    await give_points(mall, await add_user(mall), 150)
    limit = {"per_user_limit_count": 1, "per_user_limit_period": "day"}
    await add_item(mall, name="yes", points=50)
    taken = await add_item(mall, name="taken", points=100, **limit)
    await add_item(mall, name="dear", points=51)
    await add_item(mall, name="sold out", points=1, stock=0)
    await add_item(mall, name="coming", points=1, available_from=clock.now + timedelta(seconds=1))
    await exchange(client, "alice", taken)
    query = "{ items(orderBy: NEWEST) { nodes { name canExchange } } }"

    async def can(name: str) -> set[str]:
        nodes = (await client.data(query, as_=name))["items"]["nodes"]
        return {node["name"] for node in nodes if node["canExchange"]}

    assert await can("alice") == {"yes"}
    await give_points(mall, 1, 100)
    assert await can("alice") == {"yes", "dear"}
    clock.advance(days=1)
    assert await can("alice") == {"yes", "dear", "taken", "coming"}
    assert await can("bob") == set()
