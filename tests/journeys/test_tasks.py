"""Tasks: who sees which, when each can be completed again, what it pays, and why it is refused."""

from datetime import datetime, timedelta
from typing import Any

import pytest

from schema.ids import encode_id
from services.mall import Mall
from tests.client import Client
from tests.clock import MovableClock
from tests.factories import add_task, add_user, execute, give_points
from tests.journeys.steps import available, complete, event, record, tasks

MIDNIGHT, MONDAY = "2026-11-20T16:00:00Z", "2026-11-22T16:00:00Z"


async def test_a_member_sees_what_is_active_and_has_not_ended(
    mall: Mall, client: Client, clock: MovableClock
) -> None:
    """Inactive and ended tasks are not listed; one that is still to come is, as unavailable."""
    hour = timedelta(hours=1)
    await add_task(mall, name="now", starts_at=clock.now - hour, ends_at=clock.now + hour)
    await add_task(mall, name="later", starts_at=clock.now + hour)
    await add_task(mall, name="over", ends_at=clock.now)
    await add_task(mall, name="off", is_active=False)
    seen = await tasks(client, "alice")
    assert [(task["name"], task["status"]) for task in seen] == [
        ("now", "AVAILABLE"),
        ("later", "UNAVAILABLE"),
    ]


async def test_a_task_says_everything_about_itself(
    mall: Mall, client: Client, clock: MovableClock
) -> None:
    """Every field of the contract, as the row has it."""
    ends_at, config = clock.now + timedelta(days=1), {"event": "read", "target": 3}
    await add_task(mall, description="三篇文章", frequency="weekly", ends_at=ends_at, config=config)
    query = "{ tasks { name description pointsReward frequency startsAt endsAt config } }"
    assert (await client.data(query, as_="alice"))["tasks"] == [
        {
            "name": "测试任务",
            "description": "三篇文章",
            "pointsReward": 10,
            "frequency": "WEEKLY",
            "startsAt": None,
            "endsAt": "2026-11-21T04:00:00Z",
            "config": config,
        }
    ]


async def test_tasks_are_filtered_by_frequency_and_completion(mall: Mall, client: Client) -> None:
    """Completed ones only when asked for; null filters nothing."""
    ids = {kind: await add_task(mall, frequency=kind) for kind in ("daily", "weekly", "once")}
    await complete(client, "alice", ids["weekly"])
    for arguments, expected in {
        "": ["daily", "once"],
        "(includeCompleted: true)": ["daily", "weekly", "once"],
        "(frequency: WEEKLY)": [],
        "(frequency: WEEKLY, includeCompleted: true)": ["weekly"],
        "(frequency: ONCE)": ["once"],
        "(frequency: null)": ["daily", "once"],
    }.items():
        seen = await tasks(client, "alice", arguments)
        assert [task["id"] for task in seen] == [encode_id("Task", ids[k]) for k in expected]


async def test_completing_pays_a_lot(mall: Mall, client: Client) -> None:
    """The reward is a lot of its own, from this task, for 12 calendar months."""
    task_id = await add_task(mall, points_reward=30)
    done = await complete(client, "alice", task_id)
    assert done["pointsEarned"] == 30
    assert done["balance"] == {"available": 30}
    assert done["task"]["status"] == "COMPLETED"
    assert done["task"]["progress"] == {"current": 1, "target": 1}
    lot = done["pointsRecord"]
    assert lot.pop("id")
    assert lot == {
        "points": 30,
        "originalPoints": 30,
        "source": "task",
        "sourceReference": str(task_id),
        "status": "ACTIVE",
        "expiresAt": "2027-11-20T04:00:00Z",
        "createdAt": "2026-11-20T04:00:00Z",
    }


@pytest.mark.parametrize(
    ("expiry", "expires_at"),
    [
        ({"type": "days", "value": 30}, "2026-12-20T04:00:00Z"),
        ({"type": "months", "value": 3}, "2027-02-20T04:00:00Z"),
        ({"type": "years", "value": 2}, "2028-11-20T04:00:00Z"),
        ({"type": "never"}, None),
    ],
)
async def test_a_task_may_say_how_long_its_points_live(
    mall: Mall, client: Client, expiry: dict[str, Any], expires_at: str | None
) -> None:
    """`config.expiry` replaces the 12 months."""
    task_id = await add_task(mall, config={"expiry": expiry})
    done = await complete(client, "alice", task_id)
    assert done["pointsRecord"]["expiresAt"] == expires_at


@pytest.mark.parametrize(
    ("frequency", "again"), [("daily", MIDNIGHT), ("weekly", MONDAY), ("once", None)]
)
async def test_a_task_is_completed_once_a_period(
    mall: Mall, client: Client, clock: MovableClock, frequency: str, again: str | None
) -> None:
    """A day and a week (from Monday) end at the mall's midnight; once is once."""
    task_id = await add_task(mall, frequency=frequency)
    done = await complete(client, "alice", task_id)
    assert done["task"]["availableAgainAt"] == again
    clock.now = datetime.fromisoformat(again or "2036-11-20T04:00:00Z") - timedelta(microseconds=1)
    refused = await complete(client, "alice", task_id)
    assert refused["code"] == "TASK_NOT_COMPLETABLE"
    assert refused["reason"] == "ALREADY_COMPLETED"
    assert refused["availableAgainAt"] == again
    clock.advance(microseconds=1)
    repeated = await complete(client, "alice", task_id)
    assert repeated["__typename"] == ("CompleteTaskSuccess" if again else "TaskNotCompletable")
    assert (await complete(client, "bob", task_id))["pointsEarned"] == 10


@pytest.mark.parametrize(
    ("columns", "reason", "again"),
    [
        ({"is_active": False}, "INACTIVE", None),
        ({"starts_at": timedelta(hours=1)}, "NOT_STARTED", "2026-11-20T05:00:00Z"),
        ({"ends_at": timedelta(0)}, "ENDED", None),
        ({"config": {"event": "read"}}, "REQUIREMENT_UNMET", None),
    ],
)
async def test_a_task_that_cannot_be_completed_says_why(
    mall: Mall,
    client: Client,
    clock: MovableClock,
    columns: dict[str, Any],
    reason: str,
    again: str | None,
) -> None:
    """Every reason but ALREADY_COMPLETED, and when it will be possible, where that is known."""
    moved = {k: clock.now + v if isinstance(v, timedelta) else v for k, v in columns.items()}
    refused = await complete(client, "alice", await add_task(mall, **moved))
    assert refused["__typename"] == "TaskNotCompletable"
    assert (refused["reason"], refused["availableAgainAt"]) == (reason, again)
    assert await available(client, "alice") == 0


async def test_a_task_opens_and_ends_on_its_instants(
    mall: Mall, client: Client, clock: MovableClock
) -> None:
    """From `startsAt` on, until just before `endsAt`."""
    starts_at, ends_at = clock.now + timedelta(hours=1), clock.now + timedelta(hours=2)
    task_id = await add_task(mall, starts_at=starts_at, ends_at=ends_at)
    clock.now = starts_at
    assert (await complete(client, "alice", task_id))["pointsEarned"] == 10
    clock.now = ends_at
    assert (await complete(client, "bob", task_id))["reason"] == "ENDED"


async def test_a_task_that_does_not_exist_is_not_found(mall: Mall, client: Client) -> None:
    """The id asked for comes back."""
    refused = await complete(client, "alice", 4711)
    assert (refused["__typename"], refused["code"]) == ("NotFound", "NOT_FOUND")
    assert refused["id"] == encode_id("Task", 4711)


async def test_a_suspended_member_completes_nothing_until_the_end_of_it(
    mall: Mall, client: Client, clock: MovableClock
) -> None:
    """MemberSuspended says until when; at that instant it is over."""
    until = clock.now + timedelta(days=2)
    await add_user(mall, "alice", suspended_until=until)
    task_id = await add_task(mall)
    refused = await complete(client, "alice", task_id)
    assert (refused["code"], refused["until"]) == ("MEMBER_SUSPENDED", "2026-11-22T04:00:00Z")
    clock.now = until
    assert (await complete(client, "alice", task_id))["pointsEarned"] == 10


async def test_tasks_pay_at_most_1000_points_a_day(
    mall: Mall, client: Client, clock: MovableClock
) -> None:
    """Exactly 1,000 are paid, not one more; at midnight it begins anew."""
    most, one = await add_task(mall, points_reward=999), await add_task(mall, points_reward=1)
    other = await add_task(mall, points_reward=1, frequency="once")
    await complete(client, "alice", most)
    assert (await complete(client, "alice", one))["balance"] == {"available": 1000}
    refused = await complete(client, "alice", other)
    assert (refused["code"], refused["limit"], refused["period"]) == ("LIMIT_REACHED", 1000, "DAY")
    assert refused["availableAgainAt"] == MIDNIGHT
    assert (await tasks(client, "alice"))[0]["status"] == "AVAILABLE"
    assert (await complete(client, "bob", other))["pointsEarned"] == 1
    clock.now = datetime.fromisoformat(MIDNIGHT)
    assert (await complete(client, "alice", other))["pointsEarned"] == 1


async def test_tasks_pay_at_most_5000_points_a_week(
    mall: Mall, client: Client, clock: MovableClock
) -> None:
    """Five full days, then nothing until Monday."""
    daily = await add_task(mall, points_reward=1000)
    small = await add_task(mall, points_reward=1)
    clock.now = datetime.fromisoformat("2026-11-15T16:00:00Z")  # Monday begins
    for _ in range(5):
        await complete(client, "alice", daily)
        clock.advance(days=1)
    refused = await complete(client, "alice", small)
    assert (refused["code"], refused["limit"], refused["period"]) == ("LIMIT_REACHED", 5000, "WEEK")
    assert refused["availableAgainAt"] == MONDAY
    clock.now = datetime.fromisoformat(MONDAY)
    assert (await complete(client, "alice", small))["pointsEarned"] == 1


async def test_only_points_from_tasks_count_against_the_caps(mall: Mall, client: Client) -> None:
    """Purchases and other grants are not limited and limit nothing."""
    user_id = await add_user(mall)
    await give_points(mall, user_id, 6000)
    await record(client, event(user_id, "e1", mall.clock(), "purchase", amount=6000))
    done = await complete(client, "alice", await add_task(mall, points_reward=1000))
    assert done["balance"] == {"available": 13000}


async def test_a_completion_is_one_row_for_user_task_and_period(
    mall: Mall, client: Client, clock: MovableClock
) -> None:
    """What makes a completion single is the day, the Monday, or the one period there is."""
    for frequency in ("daily", "weekly", "once"):
        await complete(client, "alice", await add_task(mall, frequency=frequency))
    rows = await execute(mall, "SELECT period_start::text FROM user_tasks ORDER BY task_id")
    assert [row[0] for row in rows] == ["2026-11-20", "2026-11-16", "1970-01-01"]
