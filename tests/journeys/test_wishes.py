"""The wish list, and listing what can be paid or is wished for."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from schema.ids import encode_id
from services.mall import Mall
from tests.client import Client
from tests.clock import MovableClock
from tests.factories import (
    add_item,
    add_user,
    execute,
    fingerprint_of_database,
    give_points,
)
from tests.journeys.steps import exchange

WISH = """mutation ($input: SetWishedInput!) { setWished(input: $input) {
  __typename
  ... on Problem { code message }
  ... on NotFound { id }
  ... on SetWishedSuccess { item { id name isWished } }
} }"""
LIST = """query ($first: Int, $after: String, $filter: ExchangeItemFilter) {
  items(first: $first, after: $after, filter: $filter, orderBy: POINTS_ASC) {
    totalCount pageInfo { endCursor hasNextPage } nodes { name isWished }
  }
}"""


async def wish(client: Client, name: str, item_id: int, *, wished: bool = True) -> dict[str, Any]:
    """Put an item on the member's wish list, or take it off."""
    asked = {"itemId": encode_id("ExchangeItem", item_id), "wished": wished}
    return (await client.data(WISH, {"input": asked}, as_=name))["setWished"]


async def listed(client: Client, name: str | None, **asked: Any) -> str:
    """The names that a filter lists, which are single letters; the count has to agree."""
    page = (await client.data(LIST, {"filter": asked}, as_=name))["items"]
    assert page["totalCount"] == len(page["nodes"])
    return "".join(node["name"] for node in page["nodes"])


@pytest.fixture
async def four(mall: Mall) -> dict[str, int]:
    """Items a to d for 10 to 40 points, and Alice with 25."""
    await give_points(mall, await add_user(mall, "alice"), 25)
    return {
        name: await add_item(mall, name=name, points=10 * number, category="x" * (number % 2))
        for number, name in enumerate("abcd", start=1)
    }


async def test_a_member_wishes_and_thinks_again(
    mall: Mall, client: Client, four: dict[str, int]
) -> None:
    """Said twice it is said once, and each member has a list of their own."""
    item = {"id": encode_id("ExchangeItem", four["b"]), "name": "b"}
    for wished in (True, True, False, False, True):
        answer = await wish(client, "alice", four["b"], wished=wished)
        assert answer == {"__typename": "SetWishedSuccess", "item": {**item, "isWished": wished}}
    await wish(client, "bob", four["c"])
    nodes = [(await client.data(LIST, as_=n))["items"]["nodes"] for n in ("alice", "bob", None)]
    seen = [[node["isWished"] for node in page] for page in nodes]
    assert seen == [[False, True, False, False], [False, False, True, False], [None] * 4]
    assert await execute(mall, "SELECT count(*) FROM wishes") == [(2,)]


async def test_what_is_sold_out_or_off_can_be_wished_for(mall: Mall, client: Client) -> None:
    """Waiting for it is what the list is for."""
    for columns in ({"stock": 0}, {"is_active": False}):
        answer = await wish(client, "alice", await add_item(mall, **columns))
        assert answer["item"]["isWished"] is True


async def test_an_unknown_item_is_not_found(mall: Mall, client: Client) -> None:
    """Wished for or not; the database stays as it was."""
    await client.user_id("alice")
    before = await fingerprint_of_database(mall)
    for wished in (True, False):
        answer = await wish(client, "alice", 4711, wished=wished)
        assert (answer["code"], answer["id"]) == ("NOT_FOUND", encode_id("ExchangeItem", 4711))
    for bad in ("x", encode_id("Task", 1)):
        asked = {"input": {"itemId": bad, "wished": True}}
        assert await client.error_code(WISH, asked, as_="alice") == "BAD_USER_INPUT"
    assert await fingerprint_of_database(mall) == before


async def test_wishing_at_once_wishes_once(
    mall: Mall, client: Client, four: dict[str, int]
) -> None:
    """Ten times the same wish, from anywhere: all succeed, one row."""
    answers = await asyncio.gather(*(wish(client, "alice", four["a"]) for _ in range(10)))
    assert all(answer["item"]["isWished"] for answer in answers)
    assert await execute(mall, "SELECT count(*) FROM wishes") == [(1,)]


async def test_items_are_listed_by_what_the_member_wishes_and_can_pay(
    client: Client, four: dict[str, int]
) -> None:
    """Each filter alone, both, and with the others; null filters nothing."""
    for name in "bd":
        await wish(client, "alice", four[name])
    await wish(client, "bob", four["a"])
    for asked, expected in (
        ({"wished": None, "affordable": None}, "abcd"),
        ({"wished": True}, "bd"),
        ({"wished": False}, "ac"),
        ({"affordable": True}, "ab"),
        ({"affordable": False}, "cd"),
        ({"wished": True, "affordable": True}, "b"),
        ({"wished": False, "affordable": False}, "c"),
        ({"wished": False, "category": "x", "minPoints": 20}, "c"),
        ({"affordable": True, "types": ["COUPON"]}, ""),
    ):
        assert await listed(client, "alice", **asked) == expected, asked
    assert await listed(client, "bob", affordable=True) == ""
    assert await listed(client, "bob", wished=True) == "a"


async def test_what_is_due_pays_for_nothing(
    mall: Mall, client: Client, clock: MovableClock, four: dict[str, int]
) -> None:
    """A lot past its end does not count, settled or not; what was just spent neither."""
    await give_points(mall, 1, 10, expires_at=clock.now + timedelta(hours=1))
    assert await listed(client, "alice", affordable=True) == "abc"
    clock.advance(hours=1)
    assert await listed(client, "alice", affordable=True) == "ab"
    await exchange(client, "alice", four["b"])
    assert await listed(client, "alice", affordable=True) == ""


async def test_a_filtered_list_is_paged(client: Client, four: dict[str, int]) -> None:
    """Page by page the same items as at once."""
    for name in "acd":
        await wish(client, "alice", four[name])
    seen, after = "", None
    for _ in range(2):
        asked = {"first": 2, "after": after, "filter": {"wished": True}}
        page = (await client.data(LIST, asked, as_="alice"))["items"]
        seen += "".join(node["name"] for node in page["nodes"])
        after = page["pageInfo"]["endCursor"]
        assert page["totalCount"] == 3
    assert (seen, page["pageInfo"]["hasNextPage"]) == ("acd", False)


@pytest.mark.parametrize("asked", ["wished: true", "wished: false", "affordable: true"])
async def test_these_filters_are_for_members(client: Client, asked: str) -> None:
    """Anonymous or as a service they are an error, not an empty page."""
    query = f"{{ items(filter: {{{asked}}}) {{ totalCount }} }}"
    assert await client.error_code(query) == "UNAUTHENTICATED"
    answer = await client.post(query, None, client.token("till", "service"))
    assert answer["errors"][0]["extensions"]["code"] == "FORBIDDEN"
