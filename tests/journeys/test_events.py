"""What other systems report: progress on tasks and points for purchases, once per event."""

from datetime import datetime, timedelta
from typing import Any

import pytest

from schema.ids import encode_id
from services.mall import Mall
from tests.client import Client
from tests.clock import MovableClock
from tests.factories import add_task, add_user, execute, points_of
from tests.journeys.steps import complete, event, record, tasks

MIDNIGHT = datetime.fromisoformat("2026-11-20T16:00:00Z")


async def test_a_purchase_pays_a_point_per_whole_unit(mall: Mall, client: Client) -> None:
    """Rounded down; an event that pays nothing is recorded all the same."""
    user_id, paid = await add_user(mall), 0
    amounts = {12: 12, 12.99: 12, 1: 1, 0.99: 0, 0: 0, 1e9: 1_000_000_000}
    for amount, points in amounts.items():
        bought = event(user_id, f"order-{amount}", mall.clock(), "purchase", amount=amount)
        result = await record(client, bought)
        assert (result["recorded"], result["pointsEarned"]) == (1, points)
        paid += points
    assert await points_of(mall, user_id) == paid


async def test_a_purchase_is_a_lot_that_names_its_event(mall: Mall, client: Client) -> None:
    """Source `purchase`, reference the event's id, for 12 months from the grant."""
    user_id = await add_user(mall)
    await record(client, event(user_id, "order-1", mall.clock(), "purchase", amount=5))
    query = "{ balance { lots { nodes { points source sourceReference expiresAt } } } }"
    lots = (await client.data(query, as_="alice"))["balance"]["lots"]["nodes"]
    expires_at = "2027-11-20T04:00:00Z"
    lot = {"points": 5, "source": "purchase", "sourceReference": "order-1", "expiresAt": expires_at}
    assert lots == [lot]


async def test_sending_an_event_again_changes_nothing(mall: Mall, client: Client) -> None:
    """Neither later, nor twice in one call, nor with another content."""
    user_id, other = await add_user(mall), await add_user(mall, "bob")
    first = event(user_id, "e1", mall.clock(), "purchase", amount=5)
    result = await record(client, first, first, {**first, "amount": 500})
    assert (result["recorded"], result["duplicates"], result["pointsEarned"]) == (1, 2, 5)
    again = event(other, "e1", mall.clock(), "purchase", amount=7)
    result = await record(client, again, event(other, "e2", mall.clock()))
    assert (result["recorded"], result["duplicates"], result["pointsEarned"]) == (1, 1, 0)
    assert (await points_of(mall, user_id), await points_of(mall, other)) == (5, 0)


async def test_a_manual_task_is_claimed_once_its_progress_is_there(
    mall: Mall, client: Client
) -> None:
    """Events of its type count, up to the target; before that nobody can claim."""
    user_id = await add_user(mall)
    task_id = await add_task(mall, config={"event": "read", "target": 2})
    now = mall.clock()
    await record(client, event(user_id, "e1", now), event(user_id, "e2", now, "write"))
    assert (await complete(client, "alice", task_id))["reason"] == "REQUIREMENT_UNMET"
    (seen,) = await tasks(client, "alice")
    assert (seen["status"], seen["progress"]) == ("IN_PROGRESS", {"current": 1, "target": 2})
    result = await record(client, event(user_id, "e3", now), event(user_id, "e4", now))
    assert (result["tasksCompleted"], result["pointsEarned"]) == (0, 0)
    done = await complete(client, "alice", task_id)
    assert (done["pointsEarned"], done["task"]["progress"]["current"]) == (10, 2)


async def test_a_purchase_below_the_minimum_does_not_count(mall: Mall, client: Client) -> None:
    """`min_amount` itself does; an event without an amount does not."""
    user_id = await add_user(mall)
    config = {"event": "visit", "target": 9, "min_amount": 50.5}
    await add_task(mall, config=config)
    for number, amount in enumerate([50.49, 50.5, 60, None]):
        await record(client, event(user_id, f"e{number}", mall.clock(), "visit", amount=amount))
    assert (await tasks(client, "alice"))[0]["progress"]["current"] == 2


async def test_an_automatic_task_is_paid_when_its_target_is_reached(
    mall: Mall, client: Client
) -> None:
    """Without a claim, once a period, and the purchase beside it is paid as well."""
    user_id = await add_user(mall)
    config = {"event": "purchase", "target": 2, "claim": "auto"}
    task_id = await add_task(mall, config=config)
    bought = [event(user_id, f"e{n}", mall.clock(), "purchase", amount=3) for n in range(3)]
    result = await record(client, bought[0])
    assert (result["tasksCompleted"], result["pointsEarned"]) == (0, 3)
    result = await record(client, *bought[1:])
    assert (result["tasksCompleted"], result["pointsEarned"]) == (1, 16)
    assert (await complete(client, "alice", task_id))["reason"] == "ALREADY_COMPLETED"
    assert await points_of(mall, user_id) == 19


async def test_one_call_serves_many_members(mall: Mall, client: Client) -> None:
    """Each event moves its own user's tasks and points alone."""
    users = [await add_user(mall, f"user-{number}") for number in range(5)]
    await add_task(mall, config={"event": "read", "claim": "auto"})
    events = [event(user, f"e{user}", mall.clock()) for user in users[:4]]
    result = await record(client, *events)
    assert (result["tasksCompleted"], result["pointsEarned"]) == (4, 40)
    assert [await points_of(mall, user) for user in users] == [10, 10, 10, 10, 0]


@pytest.mark.parametrize("by_event", [False, True])
async def test_an_automatic_task_over_the_cap_stays_open(
    mall: Mall, client: Client, clock: MovableClock, by_event: bool
) -> None:
    """It waits, its progress full, until the member or another event claims it below the cap."""
    user_id = await add_user(mall)
    await complete(client, "alice", await add_task(mall, points_reward=995))
    config = {"event": "read", "claim": "auto"}
    task_id = await add_task(mall, frequency="once", config=config)
    result = await record(client, event(user_id, "e1", clock.now))
    assert (result["recorded"], result["tasksCompleted"], result["pointsEarned"]) == (1, 0, 0)
    seen = (await tasks(client, "alice"))[-1]
    assert (seen["status"], seen["progress"]) == ("IN_PROGRESS", {"current": 1, "target": 1})
    assert (await complete(client, "alice", task_id))["code"] == "LIMIT_REACHED"
    clock.now = MIDNIGHT
    if by_event:
        assert (await record(client, event(user_id, "e2", clock.now)))["tasksCompleted"] == 1
    else:
        assert (await complete(client, "alice", task_id))["pointsEarned"] == 10
    assert await points_of(mall, user_id) == 1005


async def test_a_late_event_counts_for_its_own_period(
    mall: Mall, client: Client, clock: MovableClock
) -> None:
    """Yesterday's last moment is progress on yesterday's task, and leaves today's alone."""
    user_id = await add_user(mall)
    await add_task(mall, config={"event": "read", "claim": "auto"})
    clock.now = MIDNIGHT + timedelta(hours=3)
    before, after = MIDNIGHT - timedelta(microseconds=1), MIDNIGHT
    assert (await record(client, event(user_id, "late", before)))["tasksCompleted"] == 1
    assert (await tasks(client, "alice"))[0]["status"] == "AVAILABLE"
    assert (await record(client, event(user_id, "later", before)))["tasksCompleted"] == 0
    assert (await record(client, event(user_id, "today", after)))["tasksCompleted"] == 1
    assert await tasks(client, "alice") == []
    rows = await execute(mall, "SELECT period_start::text FROM user_tasks ORDER BY 1")
    assert [row[0] for row in rows] == ["2026-11-20", "2026-11-21"]


async def test_late_points_count_against_the_cap_of_today(
    mall: Mall, client: Client, clock: MovableClock
) -> None:
    """The cap is about when points are granted."""
    user_id = await add_user(mall)
    await add_task(mall, points_reward=600, config={"event": "read", "claim": "auto"})
    clock.now = MIDNIGHT
    days = [event(user_id, f"e{n}", MIDNIGHT - timedelta(days=n)) for n in range(3)]
    assert (await record(client, *days))["tasksCompleted"] == 1


async def test_events_count_only_while_a_task_runs(
    mall: Mall, client: Client, clock: MovableClock
) -> None:
    """By the time at which they occurred, whenever they arrive."""
    user_id = await add_user(mall)
    hour = timedelta(hours=1)
    window = {"starts_at": clock.now - 2 * hour, "ends_at": clock.now - hour}
    await add_task(mall, frequency="once", config={"event": "read", "target": 9}, **window)
    await add_task(mall, is_active=False, config={"event": "read"})
    moments = [-3 * hour, -2 * hour, -hour - timedelta(seconds=1), -hour, 0 * hour]
    events = [event(user_id, f"e{n}", clock.now + at) for n, at in enumerate(moments)]
    assert (await record(client, *events))["recorded"] == 5
    assert await execute(mall, "SELECT progress FROM user_tasks") == [(2,)]


BAD: list[dict[str, Any]] = [
    {"userId": encode_id("User", 4711)},
    {"userId": encode_id("Task", 1)},
    {"userId": "nobody"},
    {"eventId": ""},
    {"eventId": "e" * 129},
    {"eventId": "e\x00"},
    {"type": ""},
    {"type": "t" * 65},
    {"type": "t\x00"},
    {"occurredAt": "2026-11-20T04:05:00.000001Z"},
    {"type": "purchase"},
    {"type": "purchase", "amount": -1},
    {"type": "purchase", "amount": 1_000_000_001},
    {"attributes": {"a": ["\x00"]}},
    {"attributes": {"\x00": 1}},
]


async def test_an_event_that_is_no_good_is_rejected_alone(mall: Mall, client: Client) -> None:
    """It is named with the reason; its neighbours are recorded."""
    user_id = await add_user(mall)
    good = [event(user_id, name, mall.clock(), "purchase", amount=1) for name in ("a", "b")]
    bad = [{**event(user_id, f"bad-{n}", mall.clock()), **wrong} for n, wrong in enumerate(BAD)]
    result = await record(client, good[0], *bad, good[1])
    assert (result["recorded"], result["pointsEarned"]) == (2, 2)
    rejected = [entry["eventId"] for entry in result["rejected"]]
    assert rejected == [entry["eventId"] for entry in bad]
    assert all(entry["message"] for entry in result["rejected"])
    assert await execute(mall, "SELECT event_id FROM events ORDER BY 1") == [("a",), ("b",)]


async def test_what_is_just_good_enough_is_recorded(mall: Mall, client: Client) -> None:
    """The longest id and type, the largest amount, a clock five minutes ahead, any attributes."""
    user_id = await add_user(mall)
    attributes = {"页": [1, 2.5, None, {"深": True}], "text": "\\"}
    ahead = mall.clock() + timedelta(minutes=5)
    good = event(user_id, "e" * 128, ahead, "t" * 64, amount=1e9, attributes=attributes)
    assert (await record(client, good))["rejected"] == []
    assert await execute(mall, "SELECT attributes FROM events") == [(attributes,)]


async def test_text_that_looks_like_an_escape_is_text(mall: Mall, client: Client) -> None:
    """A backslash followed by u0000 is six harmless characters."""
    user_id = await add_user(mall)
    harmless = event(user_id, "e1", mall.clock(), attributes={"text": "\\u0000"})
    assert (await record(client, harmless))["rejected"] == []


async def test_a_call_brings_at_most_1000_events(mall: Mall, client: Client) -> None:
    """1,000 are recorded in one go; 1,001 are invalid input, and none is recorded."""
    user_id = await add_user(mall)
    events = [event(user_id, f"e{number}", mall.clock()) for number in range(1001)]
    refused = await record(client, *events)
    assert (refused["__typename"], refused["code"]) == ("InvalidInput", "INVALID_INPUT")
    assert refused["field"] == ["events"]
    assert await execute(mall, "SELECT count(*) FROM events") == [(0,)]
    assert (await record(client, *events[:1000]))["recorded"] == 1000


async def test_a_call_may_bring_no_event(mall: Mall, client: Client) -> None:
    """Nothing in, nothing done."""
    nothing = {"recorded": 0, "duplicates": 0, "tasksCompleted": 0, "pointsEarned": 0}
    assert await record(client) == {"__typename": "RecordEventsSuccess", **nothing, "rejected": []}


async def test_a_suspended_member_is_paid_no_task(
    mall: Mall, client: Client, clock: MovableClock
) -> None:
    """Progress is kept; an automatic task waits until the suspension is over."""
    user_id = await add_user(mall, suspended_until=clock.now + timedelta(days=1))
    task_id = await add_task(mall, frequency="once", config={"event": "read", "claim": "auto"})
    assert (await record(client, event(user_id, "e1", clock.now)))["tasksCompleted"] == 0
    clock.advance(days=1)
    assert (await complete(client, "alice", task_id))["pointsEarned"] == 10
