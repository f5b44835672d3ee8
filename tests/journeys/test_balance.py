"""What a member has, in which lots, what is about to end, and everything that changed it."""

from datetime import datetime, timedelta
from typing import Any

import pytest

from schema.ids import encode_id
from services.mall import Mall
from tests.client import Client
from tests.clock import MovableClock
from tests.factories import add_item, add_user, execute, give_points, points_of
from tests.journeys.steps import available, check_in, exchange

BALANCE = "{ balance { available pending expiringSoon lifetimeEarned lifetimeRedeemed } }"
SUMMARY = """query ($days: Int! = 30) { expirySummary(days: $days) {
  days expiringPoints earliestExpiry daysUntilExpiry upcoming { date points } warning
} }"""
RUN_EXPIRY = "mutation { runExpiry { expiredRecords expiredPoints } }"


async def lots(client: Client, arguments: str = "") -> dict[str, Any]:
    """Alice's lots; `arguments` in GraphQL, with their brackets."""
    page = "totalCount pageInfo { hasNextPage hasPreviousPage startCursor endCursor }"
    query = f"{{ balance {{ lots{arguments} {{ {page} edges {{ cursor node {{ id }} }}"
    data = await client.data(query + " nodes { id points expiresAt } } } }", as_="alice")
    return data["balance"]["lots"]


async def summary(client: Client, days: int = 30) -> dict[str, Any]:
    """Alice's expiry summary."""
    return (await client.data(SUMMARY, {"days": days}, as_="alice"))["expirySummary"]


async def run_expiry(client: Client) -> dict[str, int]:
    """Settle all due lots, as an operator."""
    answer = await client.post(RUN_EXPIRY, None, client.token("olga", "operator"))
    return answer["data"]["runExpiry"]


async def give(mall: Mall, user_id: int, **points_by_days: int) -> None:
    """Lots that end after so many days: `give(mall, 1, d3=50)`."""
    for days, points in points_by_days.items():
        expires_at = mall.clock() + timedelta(days=int(days[1:]))
        await give_points(mall, user_id, points, expires_at=expires_at)


async def test_a_new_member_has_nothing(mall: Mall, client: Client) -> None:
    """Zeros, not nulls; no lots, no history, no warning."""
    zeros = dict.fromkeys(
        ("available", "pending", "expiringSoon", "lifetimeEarned", "lifetimeRedeemed"), 0
    )
    assert await client.data(BALANCE, as_="alice") == {"balance": zeros}
    assert (await lots(client))["totalCount"] == 0
    assert await summary(client) == {
        "days": 30,
        "expiringPoints": 0,
        "earliestExpiry": None,
        "daysUntilExpiry": None,
        "upcoming": [],
        "warning": None,
    }


async def test_a_balance_adds_up(mall: Mall, client: Client) -> None:
    """Earned and redeemed over a lifetime; expiring soon is what ends within 7 days."""
    user_id = await add_user(mall)
    await give(mall, user_id, d7=10, d8=20, d300=100)
    await give_points(mall, user_id, 50, expires_at=None)
    await exchange(client, "alice", await add_item(mall, points=5))
    assert (await client.data(BALANCE, as_="alice"))["balance"] == {
        "available": 175,
        "pending": 0,
        "expiringSoon": 5,
        "lifetimeEarned": 180,
        "lifetimeRedeemed": 5,
    }


async def test_an_expired_lot_does_not_count_though_it_is_not_settled(
    mall: Mall, client: Client, clock: MovableClock
) -> None:
    """From the instant of its expiry on: neither in the balance, nor among lots, nor soon."""
    user_id = await add_user(mall)
    await give(mall, user_id, d1=30, d2=40)
    clock.advance(days=1, microseconds=-1)
    assert await available(client, "alice") == 70
    clock.advance(microseconds=1)
    balance = (await client.data(BALANCE, as_="alice"))["balance"]
    assert (balance["available"], balance["expiringSoon"]) == (40, 40)
    assert [lot["points"] for lot in (await lots(client))["nodes"]] == [40]
    assert (await summary(client))["expiringPoints"] == 40
    assert await points_of(mall, user_id) == 70  # nothing has settled it


async def test_any_movement_settles_what_is_due(
    mall: Mall, client: Client, clock: MovableClock
) -> None:
    """The expiry is booked before the movement."""
    await give(mall, await add_user(mall), d1=30)
    clock.advance(days=1)
    assert (await check_in(client, "alice"))["balance"] == {"available": 5}
    query = "{ pointsHistory { nodes { action amount pointsBefore pointsAfter } } }"
    nodes = (await client.data(query, as_="alice"))["pointsHistory"]["nodes"]
    assert [tuple(node.values()) for node in nodes] == [
        ("EARN", 5, 0, 5),
        ("EXPIRE", -30, 30, 0),
        ("EARN", 30, 0, 30),
    ]


async def test_run_expiry_settles_everybody_once(
    mall: Mall, client: Client, clock: MovableClock
) -> None:
    """It says how many lots and points ended; a second run finds nothing."""
    for name in ("alice", "bob", "carol"):
        await give(mall, await add_user(mall, name), d1=30, d2=7, d5=100)
    clock.advance(days=2)
    assert await run_expiry(client) == {"expiredRecords": 6, "expiredPoints": 111}
    assert await run_expiry(client) == {"expiredRecords": 0, "expiredPoints": 0}
    assert await available(client, "bob") == 100
    rows = await execute(
        mall, "SELECT DISTINCT points, lifetime_expired FROM users WHERE points > 0"
    )
    assert rows == [(100, 37)]


async def test_run_expiry_settles_more_than_a_batch(
    mall: Mall, client: Client, clock: MovableClock
) -> None:
    """All members, however many there are."""
    await execute(
        mall,
        "INSERT INTO users (external_id, username, locale, timezone, points, lifetime_earned,"
        " audit_sequence) SELECT 'u' || n, 'u', 'en', 'UTC', 2, 2, 1"
        " FROM generate_series(1, 600) n",
    )
    await execute(
        mall,
        "INSERT INTO points_records (id, user_id, points, original_points, source, status,"
        " expires_at, created_at) SELECT gen_random_uuid(), id, 2, 2, 'opening_balance',"
        " 'active', CAST(:now AS timestamptz), CAST(:now AS timestamptz) FROM users",
        now=clock.now,
    )
    await execute(
        mall,
        "INSERT INTO points_audit_log SELECT user_id, 1, 'earn', 2, 0, 2, 'opening_balance',"
        " NULL, jsonb_build_object('lot', id, 'expires_at', expires_at), created_at, 'test'"
        " FROM points_records",
    )
    assert await run_expiry(client) == {"expiredRecords": 600, "expiredPoints": 1200}


async def test_lots_are_paged_soonest_expiry_first(mall: Mall, client: Client) -> None:
    """Those that never end come last; a lot that is new or gone shifts no page."""
    user_id = await add_user(mall)
    await give_points(mall, user_id, 9, expires_at=None)
    await give(mall, user_id, d40=4, d10=1, d30=3, d20=2)
    first = await lots(client, "(first: 2)")
    assert [lot["points"] for lot in first["nodes"]] == [1, 2]
    assert (first["totalCount"], first["pageInfo"]["hasPreviousPage"]) == (5, False)
    assert first["pageInfo"]["startCursor"] == first["edges"][0]["cursor"]
    assert [e["node"]["id"] for e in first["edges"]] == [n["id"] for n in first["nodes"]]
    await give(mall, user_id, d5=6)
    await exchange(client, "alice", await add_item(mall, points=7))  # takes d5 and d10
    second = await lots(client, '(first: 2, after: "{}")'.format(first["pageInfo"]["endCursor"]))
    assert [lot["points"] for lot in second["nodes"]] == [3, 4]
    assert second["pageInfo"]["hasNextPage"] is True
    last = await lots(client, '(first: 1, after: "{}")'.format(second["pageInfo"]["endCursor"]))
    assert (last["nodes"][0]["points"], last["nodes"][0]["expiresAt"]) == (9, None)
    assert (last["pageInfo"]["hasNextPage"], last["pageInfo"]["hasPreviousPage"]) == (False, True)
    beyond = await lots(client, '(first: 1, after: "{}")'.format(last["pageInfo"]["endCursor"]))
    assert (beyond["nodes"], beyond["pageInfo"]["endCursor"]) == ([], None)


async def test_the_summary_tells_day_by_day(mall: Mall, client: Client) -> None:
    """Days of the mall, lots of one day together, within the window asked for."""
    user_id = await add_user(mall)
    for expires_at, points in (
        ("2026-11-25T15:59:59Z", 10),  # still the 25th in Shanghai
        ("2026-11-25T16:00:00Z", 20),  # the 26th
        ("2026-11-26T10:00:00Z", 5),
        ("2026-12-20T04:00:00Z", 7),
        ("2026-12-20T04:00:01Z", 100),
    ):
        await give_points(mall, user_id, points, expires_at=datetime.fromisoformat(expires_at))
    found = await summary(client)
    assert (found["expiringPoints"], found["earliestExpiry"]) == (42, "2026-11-25T15:59:59Z")
    assert found["daysUntilExpiry"] == 5
    assert found["upcoming"] == [
        {"date": "2026-11-25", "points": 10},
        {"date": "2026-11-26", "points": 25},
        {"date": "2026-12-20", "points": 7},
    ]
    assert (await summary(client, 5))["upcoming"] == []
    assert (await summary(client, 3660))["expiringPoints"] == 142


@pytest.mark.parametrize(
    ("locale", "warning"),
    [
        ("zh-CN", "您有 1,234 积分将于 2026年11月23日 过期，快来兑换心仪好物吧。"),
        ("en", "1,234 points expire on November 23, 2026: use them before they are gone."),
    ],
)
async def test_the_warning_speaks_the_members_language(
    mall: Mall, client: Client, locale: str, warning: str
) -> None:
    """About the next day within 7 days on which points end, whatever window was asked for."""
    user_id = await add_user(mall, locale=locale)
    await give(mall, user_id, d3=1234, d6=5)
    for days in (1, 3, 30):
        assert (await summary(client, days))["warning"] == warning


async def test_there_is_no_warning_beyond_seven_days(mall: Mall, client: Client) -> None:
    """Seven days to the moment are within; a second more is not."""
    user_id = await add_user(mall)
    await give_points(mall, user_id, 5, expires_at=mall.clock() + timedelta(days=7, seconds=1))
    assert (await summary(client))["warning"] is None
    await give(mall, user_id, d7=3)
    assert "3" in (await summary(client))["warning"]


async def test_the_history_is_filtered_and_paged(
    mall: Mall, client: Client, clock: MovableClock
) -> None:
    """Newest first, by actions, and stable while changes are added."""
    await give(mall, await add_user(mall), d1=10, d300=500)
    await check_in(client, "alice")
    taken = await exchange(client, "alice", await add_item(mall))
    clock.advance(days=1)
    await check_in(client, "alice")
    query = """query ($after: String, $actions: [PointsAction!]) {
      pointsHistory(first: 2, after: $after, actions: $actions) {
        pageInfo { hasNextPage endCursor } nodes { id action amount reference createdBy }
      }
    }"""
    variables: dict[str, Any] = {"actions": ["EARN", "REDEEM"]}
    seen: list[Any] = []
    for _ in range(3):
        page = (await client.data(query, variables, as_="alice"))["pointsHistory"]
        seen += page["nodes"]
        variables["after"] = page["pageInfo"]["endCursor"]
        clock.advance(days=1)
        await check_in(client, "alice")
    changes = [(node["action"], node["amount"]) for node in seen]
    earned = [("EARN", 5), ("EARN", 500), ("EARN", 10)]
    assert changes == [("EARN", 5), ("REDEEM", -100), *earned]
    redeemed = seen[1]
    assert encode_id("Exchange", redeemed["reference"]) == taken["exchange"]["id"]
    assert redeemed["createdBy"].startswith("user:")
    assert page["pageInfo"]["hasNextPage"] is False


async def test_no_action_asked_for_is_no_change(mall: Mall, client: Client) -> None:
    """An empty list filters everything out, null filters nothing."""
    await check_in(client, "alice")
    for actions, count in (("[]", 0), ("[EXPIRE]", 0), ("null", 1), ("[EARN, EARN]", 1)):
        query = f"{{ pointsHistory(actions: {actions}) {{ nodes {{ id }} }} }}"
        nodes = (await client.data(query, as_="alice"))["pointsHistory"]["nodes"]
        assert len(nodes) == count, actions
