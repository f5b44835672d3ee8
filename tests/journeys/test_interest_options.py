"""Tags to choose interests from."""

import pytest

from services.mall import Mall
from tests.client import Client
from tests.factories import add_item


async def options(client: Client, arguments: str = "") -> list[str]:
    """What anyone is offered."""
    return (await client.data(f"{{ interestOptions{arguments} }}"))["interestOptions"]


async def test_the_most_used_tags_of_active_items_come_first(mall: Mall, client: Client) -> None:
    """Ties by name; an item counts once; what is off does not count."""
    await add_item(mall, tags=["tea", "书", "tea", "tea"])
    await add_item(mall, tags=["书", "bread", " book "])
    await add_item(mall, tags=["书", "book", "Zoo"])
    await add_item(mall, tags=["off", "tea"], is_active=False)
    assert await options(client) == ["书", "book", "Zoo", "bread", "tea"]
    assert await options(client, "(limit: 2)") == ["书", "book"]


async def test_what_is_offered_can_be_chosen(mall: Mall, client: Client) -> None:
    """A tag that no profile would take is not offered."""
    await add_item(mall, tags=["", " ", "x" * 51, "y" * 50])
    chosen = await options(client)
    assert chosen == ["y" * 50]
    query = """mutation ($i: [String!]) { updateProfile(input: {interests: $i}) {
      ... on UpdateProfileSuccess { user { interests } } } }"""
    answer = await client.data(query, {"i": chosen}, as_="alice")
    assert answer["updateProfile"]["user"]["interests"] == chosen


async def test_an_empty_mall_offers_nothing(client: Client) -> None:
    """No items, no tags."""
    assert await options(client) == []


@pytest.mark.parametrize("limit", [0, -1, 101])
async def test_one_to_a_hundred(client: Client, limit: int) -> None:
    """Else bad input."""
    query = f"{{ interestOptions(limit: {limit}) }}"
    assert await client.error_code(query) == "BAD_USER_INPUT"
