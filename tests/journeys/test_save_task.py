"""Operators set tasks: created, changed, and what is refused."""

from typing import Any

import pytest

from schema.ids import encode_id
from services.mall import Mall
from tests.client import Client
from tests.factories import add_task, add_user, execute
from tests.journeys.operator_steps import (
    actions,
    add_operator,
    all_refused,
    operate,
    operate_in_vain,
    refused,
)
from tests.journeys.steps import complete, event, record, tasks

READ: dict[str, Any] = {"name": "阅读", "pointsReward": 20, "frequency": "DAILY"}
CONFIG: dict[str, Any] = {
    "event": "read",
    "target": 3,
    "min_amount": 1.5,
    "claim": "auto",
    "verification": False,
    "expiry": {"type": "days", "value": 30},
}


@pytest.fixture
async def olga(mall: Mall) -> int:
    """An operator; Alice signed in before."""
    await add_user(mall, "alice", last_login_at=mall.clock())
    return await add_operator(mall)


async def test_a_task_is_created_with_all_that_is_said_of_it(
    mall: Mall, client: Client, olga: int
) -> None:
    """Every field is stored and noted; members see the task."""
    window = {"startsAt": "2026-11-20T04:00:00Z", "endsAt": "2026-12-20T04:00:00Z"}
    asked = READ | window | {"description": "三篇", "config": CONFIG}
    saved = await operate(client, "saveTask", **asked)
    task = saved["task"]
    progress = {"current": 0, "target": 3}
    assert task == asked | {"id": task["id"], "status": "AVAILABLE", "progress": progress}
    assert [seen["name"] for seen in await tasks(client, "alice")] == ["阅读"]
    ((operator_id, action, kind, key, details),) = await actions(mall)
    assert (operator_id, action, kind) == (olga, "save_task", "Task")
    assert encode_id(kind, key) == task["id"]
    assert (details["before"], details["after"]["config"]) == (None, CONFIG)


@pytest.mark.usefixtures("olga")
async def test_a_new_task_can_be_completed(client: Client) -> None:
    """And pays what was said."""
    saved = await operate(client, "saveTask", **READ)
    claim = """mutation ($id: ID!) { completeTask(input: {taskId: $id}) {
        ... on CompleteTaskSuccess { pointsEarned } } }"""
    data = await client.data(claim, {"id": saved["task"]["id"]}, as_="alice")
    assert data == {"completeTask": {"pointsEarned": 20}}


@pytest.mark.usefixtures("olga")
async def test_the_largest_reward_can_be_earned(mall: Mall, client: Client) -> None:
    """As much as tasks may bring a day; the same for the largest amount that counts."""
    config = {"event": "purchase", "min_amount": 1_000_000_000, "claim": "auto"}
    await operate(client, "saveTask", **READ | {"pointsReward": 1000, "config": config})
    (alice,) = (await execute(mall, "SELECT id FROM users WHERE external_id = 'alice'"))[0]
    bought = event(alice, "e", mall.clock(), "purchase", amount=1_000_000_000)
    assert (await record(client, bought))["tasksCompleted"] == 1


@pytest.mark.usefixtures("olga")
async def test_a_change_keeps_the_config_and_what_was_completed(mall: Mall, client: Client) -> None:
    """The operator sees the task as a member: switched off, it is unavailable."""
    task_id = await add_task(mall, description="alt", config={"target": 1})
    await complete(client, "alice", task_id)
    changed = READ | {"frequency": "WEEKLY", "isActive": False}
    saved = await operate(client, "saveTask", **changed, id=encode_id("Task", task_id))
    task = saved["task"]
    assert (task["status"], task["frequency"], task["config"]) == (
        "UNAVAILABLE",
        "WEEKLY",
        {"target": 1},
    )
    ((_, _, _, key, details),) = await actions(mall)
    assert (key, details["before"]["description"], details["after"]["description"]) == (
        str(task_id),
        "alt",
        None,
    )
    assert "config" not in details["after"]
    assert await tasks(client, "alice") == []
    assert await execute(mall, "SELECT points_earned FROM user_tasks") == [(10,)]


INVALID: list[tuple[dict[str, Any], list[str]]] = [
    ({"name": " "}, ["name"]),
    ({"name": "n" * 201}, ["name"]),
    ({"description": "a\x00"}, ["description"]),
    ({"pointsReward": 0}, ["pointsReward"]),
    ({"pointsReward": -5}, ["pointsReward"]),
    ({"pointsReward": 1001}, ["pointsReward"]),
    ({"pointsReward": 2**53 - 1}, ["pointsReward"]),
    ({"startsAt": "2026-11-20T04:00:00Z", "endsAt": "2026-11-20T03:00:00Z"}, ["endsAt"]),
    ({"config": []}, ["config"]),
    ({"config": 1}, ["config"]),
    ({"config": {"x": "\x00"}}, ["config"]),
    ({"config": {"min_amout": 5}}, ["config", "min_amout"]),
    ({"config": CONFIG | {"": 5}}, ["config", ""]),
    ({"config": {"target": 0}}, ["config", "target"]),
    ({"config": {"target": 1.5}}, ["config", "target"]),
    ({"config": {"target": True}}, ["config", "target"]),
    ({"config": {"target": 2**31}}, ["config", "target"]),
    ({"config": {"target": 1e300}}, ["config"]),
    ({"config": {"claim": "never"}}, ["config", "claim"]),
    ({"config": {"claim": ["auto"]}}, ["config", "claim"]),
    ({"config": {"claim": "auto"}}, ["config", "event"]),
    ({"config": {"event": 1}}, ["config", "event"]),
    ({"config": {"event": ""}}, ["config", "event"]),
    ({"config": {"event": "e" * 65}}, ["config", "event"]),
    ({"config": {"min_amount": "1"}}, ["config", "min_amount"]),
    ({"config": {"min_amount": -1}}, ["config", "min_amount"]),
    ({"config": {"min_amount": 1_000_000_000.5}}, ["config", "min_amount"]),
    ({"config": {"min_amount": 1e18}}, ["config", "min_amount"]),
    ({"config": {"verification": "yes"}}, ["config", "verification"]),
    ({"config": {"expiry": "soon"}}, ["config", "expiry"]),
    ({"config": {"expiry": {"type": "days"}}}, ["config", "expiry"]),
    ({"config": {"expiry": {"type": "days", "value": 0}}}, ["config", "expiry"]),
    ({"config": {"expiry": {"type": ["days"], "value": 1}}}, ["config", "expiry"]),
]


@pytest.mark.usefixtures("olga")
async def test_what_breaks_a_rule_is_refused_by_its_field(mall: Mall, client: Client) -> None:
    """Whether the task is new or there already, nothing has changed."""
    known = {"id": encode_id("Task", await add_task(mall))}
    cases = [(READ | wrong, field) for wrong, field in INVALID]
    await all_refused(mall, client, "saveTask", cases)
    await all_refused(mall, client, "saveTask", [(asked | known, field) for asked, field in cases])


@pytest.mark.usefixtures("olga")
async def test_a_task_that_cannot_be_read_has_to_be_mended(mall: Mall, client: Client) -> None:
    """A change that leaves its config is refused; one that brings a good one is not."""
    task_id = encode_id("Task", await add_task(mall, config={"target": 0}))
    answer = await refused(mall, client, "saveTask", **READ, id=task_id)
    assert answer["field"] == ["config", "target"]
    saved = await operate(client, "saveTask", **READ, id=task_id, config={})
    assert saved["task"]["config"] == {}


@pytest.mark.usefixtures("olga")
async def test_ids_that_name_nothing_or_no_task(mall: Mall, client: Client) -> None:
    """An unknown task is not found; another thing's id is bad input."""
    unknown = encode_id("Task", 4711)
    answer = await refused(mall, client, "saveTask", **READ, id=unknown)
    assert (answer["code"], answer["id"]) == ("NOT_FOUND", unknown)
    for wrong in (encode_id("ExchangeItem", 1), "x", ""):
        assert await operate_in_vain(client, "saveTask", **READ, id=wrong) == "BAD_USER_INPUT"
