"""One-click suggestions: what the balance pays for, best fitting first."""

from datetime import timedelta
from typing import Any

import pytest

from services.mall import Mall
from tests.client import Client
from tests.factories import add_item, add_user, give_points
from tests.journeys.steps import exchange

QUERY = """query ($limit: Int! = 3) { quickExchangeOptions(limit: $limit) {
  available minimumPoints
  options { item { name points } canExchange remainingPoints exchangeCount expiryWarning }
} }"""


async def options(client: Client, **variables: Any) -> dict[str, Any]:
    """Alice's options."""
    return (await client.data(QUERY, variables, as_="alice"))["quickExchangeOptions"]


async def prices(client: Client, **variables: Any) -> list[int]:
    """What the options cost, in their order."""
    return [o["item"]["points"] for o in (await options(client, **variables))["options"]]


async def test_three_items_closest_to_seven_tenths(mall: Mall, client: Client) -> None:
    """Between 0.3 and 1.0 of the balance, both included; more only when asked for."""
    await give_points(mall, await add_user(mall), 1000)
    for points in (299, 300, 450, 640, 710, 800, 1000, 1001):
        await add_item(mall, points=points)
    assert await prices(client) == [710, 640, 800]
    assert await prices(client, limit=1) == [710]
    assert await prices(client, limit=100) == [710, 640, 800, 450, 1000, 300]


async def test_below_100_points_there_are_none(mall: Mall, client: Client) -> None:
    """100 are enough; the minimum is told either way."""
    user_id = await add_user(mall)
    await give_points(mall, user_id, 99)
    await add_item(mall, points=70)
    assert await options(client) == {"available": 99, "minimumPoints": 100, "options": []}
    await give_points(mall, user_id, 1)
    assert await prices(client) == [70]


async def test_only_what_can_be_bought_now(mall: Mall, client: Client) -> None:
    """On sale, active, in stock."""
    await give_points(mall, await add_user(mall), 100)
    now, hour = mall.clock(), timedelta(hours=1)
    for columns in (
        {"stock": 0},
        {"is_active": False},
        {"available_from": now + hour},
        {"available_until": now},
    ):
        await add_item(mall, points=70, **columns)
    await add_item(mall, points=50, available_from=now, available_until=now + hour)
    assert await prices(client) == [50]


async def test_points_past_their_expiry_make_no_options(mall: Mall, client: Client) -> None:
    """The balance is what can be spent now."""
    user_id = await add_user(mall)
    await give_points(mall, user_id, 500, expires_at=mall.clock())
    await give_points(mall, user_id, 150)
    await add_item(mall, points=400)
    await add_item(mall, points=100)
    assert (await options(client))["available"] == 150
    assert await prices(client) == [100]


async def test_an_option_tells_what_it_leaves(mall: Mall, client: Client) -> None:
    """What remains, how popular the item is, and whether the member may take it again."""
    await give_points(mall, await add_user(mall), 1000)
    limit = {"per_user_limit_count": 1, "per_user_limit_period": "day"}
    item_id = await add_item(mall, name="电影票", points=300, **limit)
    await exchange(client, "alice", item_id)
    assert (await options(client))["options"] == [
        {
            "item": {"name": "电影票", "points": 300},
            "canExchange": False,
            "remainingPoints": 400,
            "exchangeCount": 1,
            "expiryWarning": None,
        }
    ]


@pytest.mark.parametrize(
    ("locale", "warning"),
    [
        ("zh-CN", "您有 1,500 积分将在 7 天内过期，正好可以用来兑换它。"),
        ("en", "1,500 of your points expire within 7 days; they would pay for this."),
    ],
)
async def test_the_warning_comes_when_expiring_points_would_pay(
    mall: Mall, client: Client, locale: str, warning: str
) -> None:
    """For items that cost as much as expires within 7 days, or less."""
    user_id = await add_user(mall, locale=locale)
    await give_points(mall, user_id, 1500, expires_at=mall.clock() + timedelta(days=7))
    await give_points(mall, user_id, 500)
    for points in (1400, 1500, 1501):
        await add_item(mall, points=points)
    found = {o["item"]["points"]: o["expiryWarning"] for o in (await options(client))["options"]}
    assert found == {1400: warning, 1500: warning, 1501: None}
