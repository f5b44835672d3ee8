"""Operators look at users, and suspend them; what a suspension keeps from happening."""

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
    add_task,
    add_user,
    execute,
    fingerprint_of_database,
    give_points,
    points_of,
)
from tests.journeys.steps import check_in, complete, event, exchange, record

SUSPEND = """mutation ($input: SuspendUserInput!) { suspendUser(input: $input) {
  __typename
  ... on Problem { code message }
  ... on NotFound { id }
  ... on SuspendUserSuccess { user { id suspendedUntil } }
} }"""
LOG = """query ($user: ID!, $first: Int = 50, $after: String) {
  auditLog(userId: $user, first: $first, after: $after) {
    nodes { action amount pointsAfter } edges { cursor }
    pageInfo { hasNextPage hasPreviousPage endCursor }
  }
}"""
ALICE = encode_id("User", 1)
UNTIL = "2026-11-23T04:00:00Z"


async def as_operator(client: Client, query: str, **variables: Any) -> dict[str, Any]:
    """The whole answer, as an operator gets it."""
    return await client.post(query, variables, client.token("olga", "operator"))


async def suspend(client: Client, **asked: Any) -> dict[str, Any]:
    """Suspend Alice, unless another is named, and hear what came of it."""
    asked = {"userId": ALICE, "reason": "a bot", **asked}
    answer = await as_operator(client, SUSPEND, input=asked)
    assert "errors" not in answer, answer
    return answer["data"]["suspendUser"]


async def act(client: Client) -> list[dict[str, Any]]:
    """Everything by which Alice earns or spends."""
    return [
        await check_in(client, "alice"),
        await complete(client, "alice", 1),
        await exchange(client, "alice", 1),
    ]


@pytest.mark.usefixtures("alice")
async def test_a_suspended_member_neither_earns_nor_spends_until_it_is_lifted(
    mall: Mall, client: Client
) -> None:
    """Refused with the end of it; once lifted, all goes on as before."""
    answer = await suspend(client, until=UNTIL)
    assert answer["user"] == {"id": ALICE, "suspendedUntil": UNTIL}
    for refused in await act(client):
        assert (refused["code"], refused["until"]) == ("MEMBER_SUSPENDED", UNTIL)
    assert (await record(client, event(1, "e", mall.clock())))["recorded"] == 1
    me = await client.data("{ me { suspendedUntil } balance { available } }", as_="alice")
    assert me == {"me": {"suspendedUntil": UNTIL}, "balance": {"available": 1000}}
    assert (await suspend(client, until=None))["user"]["suspendedUntil"] is None
    for allowed in await act(client):
        assert allowed["__typename"].endswith("Success"), allowed


@pytest.mark.usefixtures("alice")
async def test_a_suspension_ends_by_itself(client: Client, clock: MovableClock) -> None:
    """At the instant that was named; a longer one replaces a shorter."""
    await suspend(client, until=UNTIL)
    await suspend(client, until="2026-11-24T04:00:00Z")
    clock.advance(days=4, microseconds=-1)
    assert (await check_in(client, "alice"))["code"] == "MEMBER_SUSPENDED"
    clock.advance(microseconds=1)
    assert (await check_in(client, "alice"))["streak"] == 1


async def test_each_step_is_noted(mall: Mall, client: Client) -> None:
    """Who, what, why, and from what to what."""
    await add_user(mall, "alice")
    await suspend(client, until=UNTIL, reason="too many\nclicks")
    await suspend(client, reason="a person after all")
    rows = await execute(
        mall,
        "SELECT username, action, kind, key, details - 'reason_id' || jsonb_build_object('reason',"
        " text) FROM operator_actions JOIN users ON users.id = operator_id"
        " JOIN reasons ON reasons.id = CAST(details ->> 'reason_id' AS uuid)"
        " ORDER BY operator_actions.created_at, action DESC",
    )
    until = "2026-11-23T04:00:00+00:00"
    assert rows == [
        (
            *("olga", "suspend_user", "User", "1"),
            {"from": None, "to": until, "reason": "too many\nclicks"},
        ),
        (
            *("olga", "lift_suspension", "User", "1"),
            {"from": until, "to": None, "reason": "a person after all"},
        ),
    ]


async def test_what_cannot_be_done_changes_nothing(mall: Mall, client: Client) -> None:
    """An unknown user is not found; an end in the past and a bad reason are bad input."""
    await add_user(mall, "alice")
    await client.user_id("olga", "operator")
    before = await fingerprint_of_database(mall)
    unknown = encode_id("User", 4711)
    answer = await suspend(client, userId=unknown, until=UNTIL)
    assert (answer["code"], answer["id"]) == ("NOT_FOUND", unknown)
    for bad in (
        *({"until": "2026-11-20T04:00:00Z"}, {"until": "2000-01-01T00:00:00Z"}),
        *({"reason": ""}, {"reason": " \n"}, {"reason": "x" * 501}, {"reason": "a\x00"}),
        *({"userId": "x"}, {"userId": encode_id("Task", 1)}),
    ):
        asked = {"userId": ALICE, "reason": "a bot", "until": UNTIL, **bad}
        refused = await as_operator(client, SUSPEND, input=asked)
        assert refused["errors"][0]["extensions"]["code"] == "BAD_USER_INPUT", bad
    assert await fingerprint_of_database(mall) == before
    assert (await suspend(client, until=UNTIL, reason="x" * 500))["user"]["id"] == ALICE


async def test_a_suspension_falls_between_movements(mall: Mall, client: Client) -> None:
    """Exchanges at the same moment: each whole or refused, and none after the suspension."""
    await give_points(mall, await add_user(mall, "alice"), 1000)
    item = await add_item(mall, stock=100)

    async def take(number: int) -> bool:
        answer = await exchange(client, "alice", item, f"key {number}")
        return answer["__typename"] == "OneClickExchangeSuccess"

    taken, _ = await asyncio.gather(
        asyncio.gather(*(take(number) for number in range(8))), suspend(client, until=UNTIL)
    )
    assert await points_of(mall, 1) == 1000 - 100 * sum(taken)
    assert not await take(8)


async def test_an_operator_looks_at_anybody(mall: Mall, client: Client) -> None:
    """With private data; null for nobody, bad input for what is no user's id."""
    user_id = await add_user(mall, "alice", email="alice@mall.test")
    await give_points(mall, user_id, 30)
    query = "query ($id: ID!) { user(id: $id) { username email balance { available } } }"
    found = await as_operator(client, query, id=ALICE)
    assert found["data"]["user"] == {
        "username": "alice",
        "email": "alice@mall.test",
        "balance": {"available": 30},
    }
    assert (await as_operator(client, query, id=encode_id("User", 4711)))["data"]["user"] is None
    bad = await as_operator(client, query, id=encode_id("Task", 1))
    assert bad["errors"][0]["extensions"]["code"] == "BAD_USER_INPUT"


async def test_an_operator_reads_anybodys_log(
    mall: Mall, client: Client, clock: MovableClock
) -> None:
    """Newest first, page by page, the same rows that the member sees."""
    await give_points(mall, await add_user(mall, "alice"), 70)
    await give_points(mall, await add_user(mall, "bob"), 1)
    for _ in range(3):
        await check_in(client, "alice")
        clock.advance(days=1)
    page = (await as_operator(client, LOG, user=ALICE, first=3))["data"]["auditLog"]
    assert [node["amount"] for node in page["nodes"]] == [10, 5, 5]
    end = page["pageInfo"]["endCursor"]
    rest = (await as_operator(client, LOG, user=ALICE, after=end))["data"]["auditLog"]
    assert rest["nodes"] == [{"action": "EARN", "amount": 70, "pointsAfter": 70}]
    assert (page["pageInfo"]["hasNextPage"], rest["pageInfo"]["hasNextPage"]) == (True, False)
    unknown = encode_id("User", 4711)
    empty = (await as_operator(client, LOG, user=unknown))["data"]["auditLog"]
    assert (empty["nodes"], empty["pageInfo"]["hasNextPage"]) == ([], False)


async def test_a_log_has_fifty_rows_a_page(mall: Mall, client: Client) -> None:
    """Unless another number, 1 to 100, is asked for; null asks for none."""
    user_id = await add_user(mall, "alice")
    for _ in range(51):
        await give_points(mall, user_id, 1)
    lengths = [
        len((await as_operator(client, LOG, user=ALICE, **first))["data"]["auditLog"]["nodes"])
        for first in ({}, {"first": None}, {"first": 1}, {"first": 100})
    ]
    assert lengths == [50, 50, 1, 51]
    for bad in ({"first": 0}, {"first": 101}, {"after": "x"}, {"user": "x"}):
        refused = await as_operator(client, LOG, **{"user": ALICE, **bad})
        assert refused["errors"][0]["extensions"]["code"] == "BAD_USER_INPUT", bad


async def test_tasks_that_events_complete_pay_nothing_either(
    mall: Mall, client: Client, clock: MovableClock
) -> None:
    """And are paid once the suspension is over."""
    user_id = await add_user(mall, "alice")
    await add_task(mall, config={"event": "read", "claim": "auto", "target": 1})
    await suspend(client, until=UNTIL)
    assert (await record(client, event(user_id, "e1", clock.now)))["pointsEarned"] == 0
    clock.now += timedelta(days=3)
    assert (await record(client, event(user_id, "e2", clock.now)))["pointsEarned"] == 10


async def test_an_operator_who_is_suspended_goes_on_operating(mall: Mall, client: Client) -> None:
    """Roles are the identity provider's; as a member they earn nothing, like anybody (0013)."""
    olga = await add_user(mall, "olga")
    ids = [encode_id("User", each) for each in (olga, await add_user(mall, "alice"))]
    for user_id in ids:
        await suspend(client, userId=user_id, until=UNTIL, reason="odd")
    assert await suspend(client, userId=ids[1], until=None, reason="a mistake")
    noted = "SELECT operator_id, action, key FROM operator_actions ORDER BY id"
    assert [tuple(row) for row in await execute(mall, noted)] == [
        (olga, "suspend_user", str(olga)),
        (olga, "suspend_user", str(olga + 1)),
        (olga, "lift_suspension", str(olga + 1)),
    ]
    assert (await check_in(client, "olga"))["code"] == "MEMBER_SUSPENDED"
