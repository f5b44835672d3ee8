"""Operators set achievements: created, changed, noted, refused, and given to who is past them."""

from typing import Any

import pytest

from schema.ids import encode_id
from services.mall import Mall
from tests.client import Client
from tests.factories import add_achievement, add_task, add_user, execute, points_of
from tests.jobs.due import jobs_named, run_due
from tests.journeys.operator_steps import (
    actions,
    add_operator,
    all_refused,
    asked_for,
    operate,
    operate_in_vain,
    refused,
)
from tests.journeys.steps import achievements_of, complete, unlocked_by

READER: dict[str, Any] = {
    "key": "reader",
    "name": "书虫",
    "description": "完成两个任务。",
    "badgeUrl": "https://example.com/reader.png",
    "measure": "TASKS_COMPLETED",
    "target": 2,
    "pointsReward": 20,
}
BUILT_IN: dict[str, Any] = {"key": "week_streak", "measure": "BEST_STREAK", "target": 7}
CATCH_UP = "unlock_reached"


@pytest.fixture
async def olga(mall: Mall) -> int:
    """An operator; Alice signed in before."""
    await add_user(mall, "alice", last_login_at=mall.clock())
    return await add_operator(mall)


async def id_of(mall: Mall, key: str) -> str:
    """The global id of the achievement with that key."""
    rows = await execute(mall, "SELECT id FROM achievements WHERE key = :key", key=key)
    return encode_id("Achievement", rows[0][0])


async def test_an_achievement_is_created_with_all_that_is_said_of_it(
    mall: Mall, client: Client, olga: int
) -> None:
    """Every field is stored and noted; members see it, and unlock it with what it grants."""
    saved = (await operate(client, "saveAchievement", **READER))["achievement"]
    told = {name: value for name, value in READER.items() if name != "target"}
    progress = {"current": 0, "target": 2}
    assert saved == told | {"id": saved["id"], "isActive": True, "progress": progress}
    ((operator_id, action, kind, key, details),) = await actions(mall)
    assert (operator_id, action, encode_id(kind, key)) == (olga, "save_achievement", saved["id"])
    assert details["before"] is None
    assert (details["after"]["target"], details["after"]["points_reward"]) == (2, 20)
    seen = (await achievements_of(client, "alice"))["reader"]
    assert (seen["name"], seen["badgeUrl"]) == ("书虫", READER["badgeUrl"])
    for _ in range(2):
        await complete(client, "alice", await add_task(mall))
    assert await unlocked_by(client, "alice") == {"reader"}


async def test_members_past_a_new_one_get_it_with_a_movement_or_by_the_job(
    mall: Mall, client: Client, olga: int
) -> None:
    """Whichever comes first, and once: Alice moves, Bob does not; the operator did nothing."""
    tasks = [await add_task(mall) for _ in range(3)]
    for name in ("alice", "bob"):
        for task_id in tasks[:2]:
            await complete(client, name, task_id)
    await operate(client, "saveAchievement", **READER)
    assert await asked_for(mall, CATCH_UP) == [{}]
    await complete(client, "alice", tasks[2])
    assert await unlocked_by(client, "alice") == {"reader"}
    assert await unlocked_by(client, "bob") == set()
    await run_due(mall, jobs_named(CATCH_UP))
    assert await unlocked_by(client, "bob") == {"reader"}
    rows = await execute(mall, "SELECT points FROM users ORDER BY external_id")
    assert [row[0] for row in rows] == [50, 40, 0]
    assert await points_of(mall, olga) == 0


@pytest.mark.usefixtures("olga")
async def test_only_what_can_be_reached_by_more_is_looked_for(mall: Mall, client: Client) -> None:
    """A nearer target, a worse rank, switching on; no reward, and nothing that is switched off."""
    number = await add_achievement(mall, "reader", target=5)
    rank = await add_achievement(mall, "ranked", measure="weekly_rank", target=5)
    reader = READER | {"id": encode_id("Achievement", number)}
    ranked = READER | {"id": encode_id("Achievement", rank), "key": "ranked"}
    ranked |= {"measure": "WEEKLY_RANK"}
    saves: list[tuple[dict[str, Any], bool]] = [
        (reader | {"target": 5}, False),
        (reader | {"target": 6, "pointsReward": 1}, False),
        (reader | {"target": 4}, True),
        (reader | {"target": 3, "isActive": False}, False),
        (reader | {"target": 3, "isActive": True}, True),
        (ranked | {"target": 4}, False),
        (ranked | {"target": 20}, True),
    ]
    walks, newest = 0, 1
    for asked, is_wider in saves:
        await operate(client, "saveAchievement", **asked)
        walks, newest = walks + is_wider, newest + is_wider
        assert len(await asked_for(mall, CATCH_UP)) == walks, asked
        versions = await execute(mall, "SELECT max(version) FROM achievements")
        assert versions == [(newest,)], asked
    assert len(await actions(mall)) == len(saves)


@pytest.mark.usefixtures("olga")
async def test_a_built_in_one_can_be_retuned(mall: Mall, client: Client) -> None:
    """Reward, badge, a name of its own, and whether it is there; without a name it has its own."""
    week = await id_of(mall, "week_streak")
    tuned = {"pointsReward": 70, "badgeUrl": "https://example.com/7.png", "name": "Seven!"}
    saved = (await operate(client, "saveAchievement", id=week, **BUILT_IN, **tuned))["achievement"]
    assert (saved["name"], saved["pointsReward"]) == ("Seven!", 70)
    assert saved["description"] == "连续签到 7 天。"
    saved = (await operate(client, "saveAchievement", id=week, **BUILT_IN))["achievement"]
    assert (saved["name"], saved["pointsReward"], saved["badgeUrl"]) == ("一周全勤", 0, None)
    await operate(client, "saveAchievement", id=week, **BUILT_IN, isActive=False)
    assert "week_streak" not in await achievements_of(client, "alice")
    (_, *_, details) = (await actions(mall))[-1]
    assert details == {"before": {"is_active": True}, "after": {"is_active": False}}


@pytest.mark.usefixtures("olga")
async def test_what_was_granted_stays_what_it_was(mall: Mall, client: Client) -> None:
    """A later reward is for others; a farther target takes nothing away."""
    reader = (await operate(client, "saveAchievement", **READER))["achievement"]["id"]
    for _ in range(2):
        await complete(client, "alice", await add_task(mall))
    await operate(
        client, "saveAchievement", id=reader, **READER | {"target": 50, "pointsReward": 99}
    )
    seen = (await achievements_of(client, "alice"))["reader"]
    assert (seen["pointsReward"], seen["pointsGranted"]) == (99, 20)
    assert seen["progress"] == {"current": 50, "target": 50}


INVALID: list[tuple[dict[str, Any], list[str]]] = [
    ({"key": ""}, ["key"]),
    ({"key": "Reader"}, ["key"]),
    ({"key": "1st"}, ["key"]),
    ({"key": "reader\n"}, ["key"]),
    ({"key": "r" * 65}, ["key"]),
    ({"key": "week_streak"}, ["key"]),
    ({"name": None}, ["name"]),
    ({"name": " "}, ["name"]),
    ({"name": "n" * 201}, ["name"]),
    ({"description": None}, ["description"]),
    ({"description": "a\x00"}, ["description"]),
    ({"badgeUrl": "javascript:alert(1)"}, ["badgeUrl"]),
    ({"badgeUrl": "https://example.com/" + "x" * 2_000}, ["badgeUrl"]),
    ({"target": 0}, ["target"]),
    ({"target": -1}, ["target"]),
    ({"measure": "WEEKLY_RANK", "target": 101}, ["target"]),
    ({"pointsReward": -1}, ["pointsReward"]),
    ({"pointsReward": 10**12 + 1}, ["pointsReward"]),
]


@pytest.mark.usefixtures("olga")
async def test_terms_that_break_a_rule_are_refused(mall: Mall, client: Client) -> None:
    """Naming the field; nothing is stored, noted or asked for."""
    cases = [(READER | broken, field) for broken, field in INVALID]
    await all_refused(mall, client, "saveAchievement", cases)


@pytest.mark.usefixtures("olga")
async def test_what_is_decided_for_good_is_refused(mall: Mall, client: Client) -> None:
    """Key and measure of any, the target of a built-in one as well; and what is not there."""
    number = await add_achievement(mall, "reader", target=2)
    reader = READER | {"id": encode_id("Achievement", number)}
    week = BUILT_IN | {"id": await id_of(mall, "week_streak")}
    cases: list[tuple[dict[str, Any], list[str]]] = [
        (reader | {"key": "writer"}, ["key"]),
        (reader | {"key": "week_streak"}, ["key"]),
        (reader | {"measure": "EXCHANGES_MADE"}, ["measure"]),
        (week | {"key": "eight_days"}, ["key"]),
        (week | {"measure": "TASKS_COMPLETED"}, ["measure"]),
        (week | {"target": 8}, ["target"]),
    ]
    await all_refused(mall, client, "saveAchievement", cases)
    nothing = encode_id("Achievement", 4711)
    answer = await refused(mall, client, "saveAchievement", **READER | {"id": nothing})
    assert (answer["__typename"], answer["id"]) == ("NotFound", nothing)
    wrong = READER | {"id": encode_id("Task", 1)}
    assert await operate_in_vain(client, "saveAchievement", **wrong) == "BAD_USER_INPUT"
