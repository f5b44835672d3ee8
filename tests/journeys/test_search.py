"""Searching the catalogue: what is found, in which order, page by page, beside other filters."""

from datetime import timedelta
from typing import Any

import pytest

from services.mall import Mall
from tests.client import Client
from tests.clock import MovableClock
from tests.factories import add_item, execute
from tests.journeys.refusals import BAD_INPUT, all_answered

ORDERS = ("RELEVANCE", "POPULAR", "NEWEST", "POINTS_ASC", "POINTS_DESC")
QUERY = """query ($first: Int, $after: String, $filter: ExchangeItemFilter,
                  $orderBy: ExchangeItemOrder! = RELEVANCE) {
  items(first: $first, after: $after, filter: $filter, orderBy: $orderBy) {
    totalCount pageInfo { hasNextPage endCursor } nodes { name }
  }
}"""


async def items(client: Client, search: str | None, **variables: Any) -> dict[str, Any]:
    """A page of what is found, by relevance unless said otherwise."""
    wanted = {"search": search, **variables.pop("filter", {})}
    return (await client.data(QUERY, {"filter": wanted, **variables}))["items"]


async def names(client: Client, search: str | None, **variables: Any) -> list[str]:
    """The names on a page; the count must be theirs."""
    page = await items(client, search, **variables)
    found = [node["name"] for node in page["nodes"]]
    assert page["totalCount"] == len(found)
    return found


@pytest.fixture
def tolerated() -> set[str]:
    """Popularity is planted here without the exchanges that would have made it."""
    return {"daily counts do not tie to exchanges"}


async def popular(mall: Mall, item_id: int, exchanges: int) -> None:
    """Let an item have been exchanged today."""
    statement = "INSERT INTO item_daily_exchanges VALUES (:day, :item_id, :exchanges)"
    await execute(mall, statement, day=mall.clock().date(), item_id=item_id, exchanges=exchanges)


async def test_every_text_of_an_item_finds_it(mall: Mall, client: Client) -> None:
    """The name before tags and category, these before the description."""
    await add_item(mall, name="in the description", description="配咖啡杯一只")
    await add_item(mall, name="in the category", category="咖啡")
    await add_item(mall, name="in a tag", tags=["新品", "咖啡"])
    await add_item(mall, name="云南咖啡豆")
    await add_item(mall, name="nowhere", description="茶")
    found = await names(client, "咖啡")
    assert (found[0], set(found[1:3]), found[3]) == (
        "云南咖啡豆",
        {"in a tag", "in the category"},
        "in the description",
    )
    assert await names(client, "云南") == ["云南咖啡豆"]
    assert await names(client, "牛奶") == []


async def test_blanks_do_not_filter_and_signs_find_nothing(mall: Mall, client: Client) -> None:
    """An item that nobody made searchable is listed, and never found."""
    await add_item(mall, name="茶", search=None)
    await add_item(mall, name="绿茶")
    for blank in (None, "", "  ", "\t", "　"):
        assert await names(client, blank) == ["绿茶", "茶"]
    for nothing in ("!?", "🎉", "'", "\\", "&|!", "' | 'x"):
        assert await names(client, nothing) == []
    assert await names(client, "茶") == ["绿茶"]


@pytest.mark.usefixtures("alice")
async def test_a_search_that_is_too_long_is_refused(mall: Mall, client: Client) -> None:
    """200 characters are not; nor is a count alone spared, nor a text with U+0000."""
    query = "query ($s: String) { items(filter: {search: $s}) { nodes { id } } }"
    count = "query ($s: String) { items(filter: {search: $s}) { totalCount } }"
    asked = {
        f"{name} {text[:2]!r}": (sent, {"s": text})
        for name, sent in (("page", query), ("count", count))
        for text in ("茶" * 201, "a" * 201, " " * 200 + "a", "a\x00")
    }
    await all_answered(mall, client, BAD_INPUT, asked)
    await client.data(query, {"s": "茶" * 200})
    assert "200 characters" in str(await client.post(query, {"s": "a" * 201}))


async def test_a_search_combines_with_filters(
    mall: Mall, client: Client, clock: MovableClock
) -> None:
    """Only what is listed is found; a filter never brings in what the search did not find."""
    await add_item(mall, name="绿茶 礼盒", points=10, category="美食")
    await add_item(mall, name="绿茶", points=20, category="美食", type="physical")
    await add_item(mall, name="花茶 礼盒", points=30, category="送礼")
    await add_item(mall, name="绿茶 礼盒 off", is_active=False)
    await add_item(mall, name="绿茶 礼盒 over", available_until=clock.now)
    await add_item(mall, name="绿茶 soon", points=1, available_from=clock.now + timedelta(days=1))
    for search, wanted, expected in (
        ("绿茶", {}, {"绿茶 礼盒", "绿茶", "绿茶 soon"}),
        ("绿茶", {"category": "美食"}, {"绿茶 礼盒", "绿茶"}),
        ("绿茶", {"types": ["PHYSICAL"]}, {"绿茶"}),
        ("绿茶", {"minPoints": 10, "maxPoints": 10}, {"绿茶 礼盒"}),
        ("绿茶", {"category": "送礼"}, set()),
        ("绿茶 礼盒", {}, {"绿茶 礼盒"}),
        ("绿茶 礼盒", {"category": "送礼"}, set()),
        ("绿茶 off", {}, {"绿茶 礼盒", "绿茶", "绿茶 soon"}),
    ):
        assert set(await names(client, search, filter=wanted)) == expected, (search, wanted)


async def test_what_has_all_words_keeps_out_what_has_some(mall: Mall, client: Client) -> None:
    """And what has them as they are written keeps out what is only near."""
    await add_item(mall, name="Phone Case")
    await add_item(mall, name="Phone Charger")
    await add_item(mall, name="Flower Vase")
    assert await names(client, "phone case") == ["Phone Case"]
    assert await names(client, "case") == ["Phone Case"]
    assert await names(client, "phone cade") == ["Phone Case"]
    assert await names(client, "phone flower") == ["Flower Vase", "Phone Charger", "Phone Case"]
    await execute(mall, "UPDATE exchange_items SET is_active = false WHERE name = 'Phone Case'")
    assert await names(client, "case") == ["Flower Vase"]


async def test_what_is_found_comes_in_the_order_asked_for(
    mall: Mall, client: Client, clock: MovableClock
) -> None:
    """Without one by popularity, as everything; relevance without a search is popularity too."""
    for name, points, exchanges in (("茶 礼盒", 20, 1), ("礼盒", 30, 9), ("花 礼盒 茶 礼", 10, 5)):
        item_id = await add_item(mall, name=name, points=points, tags=["茶"] * (points == 20))
        await popular(mall, item_id, exchanges)
        clock.advance(minutes=1)
    first, second, third = "茶 礼盒", "礼盒", "花 礼盒 茶 礼"
    by_order = {order: await names(client, "礼盒", orderBy=order) for order in ORDERS[1:]}
    assert by_order == {
        "POPULAR": [second, third, first],
        "NEWEST": [third, second, first],
        "POINTS_ASC": [third, first, second],
        "POINTS_DESC": [second, first, third],
    }
    assert (await names(client, "礼盒 茶"))[0] == first
    assert await names(client, " ") == [second, third, first]
    query = '{ items(filter: {search: "礼盒"}) { nodes { name } } }'
    nodes = (await client.data(query))["items"]["nodes"]
    assert [node["name"] for node in nodes] == [second, third, first]


@pytest.mark.parametrize("order", ORDERS)
async def test_pages_of_a_search_do_not_shift(
    mall: Mall, client: Client, clock: MovableClock, order: str
) -> None:
    """Items before the cursor may vanish or appear; equal ranks are told apart by the id."""
    for number in range(7):
        name = f"茶 {number}" if number < 5 else f"{number}"
        await add_item(mall, name=name, tags=["茶"] if number > 2 else [], points=100)
        clock.advance(seconds=1)
    whole = await names(client, "茶", orderBy=order)
    assert len(whole) == 7
    page = await items(client, "茶", orderBy=order, first=2)
    assert page["totalCount"] == 7
    seen = [node["name"] for node in page["nodes"]]
    await execute(mall, "UPDATE exchange_items SET is_active = false WHERE name = :n", n=seen[1])
    best = {"POINTS_ASC": 1, "POINTS_DESC": 1000}.get(order, 100)
    await popular(mall, await add_item(mall, name="茶 茶叶", tags=["茶", "茶叶"], points=best), 9)
    while page["pageInfo"]["hasNextPage"]:
        after = page["pageInfo"]["endCursor"]
        page = await items(client, "茶", orderBy=order, first=2, after=after)
        seen += [node["name"] for node in page["nodes"]]
    assert seen == whole


@pytest.mark.usefixtures("alice")
async def test_a_cursor_belongs_to_its_order(mall: Mall, client: Client) -> None:
    """That of a relevance is none of popularity; without a search they are one order."""
    await add_item(mall, name="茶")
    query = (
        "query ($after: String, $search: String, $by: ExchangeItemOrder!) {"
        " items(after: $after, filter: {search: $search}, orderBy: $by)"
        " { nodes { id } pageInfo { endCursor } } }"
    )

    async def cursor(search: str | None, order: str) -> str:
        data = await client.data(query, {"search": search, "by": order})
        return data["items"]["pageInfo"]["endCursor"]

    relevance, popularity = await cursor("茶", "RELEVANCE"), await cursor(None, "RELEVANCE")
    assert popularity == await cursor(None, "POPULAR")
    asked = {
        "relevance in popular": (query, {"after": relevance, "search": "茶", "by": "POPULAR"}),
        "relevance unsearched": (query, {"after": relevance, "by": "RELEVANCE"}),
        "popular in relevance": (query, {"after": popularity, "search": "茶", "by": "RELEVANCE"}),
    }
    await all_answered(mall, client, BAD_INPUT, asked)
