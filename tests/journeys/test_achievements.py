"""Achievements as members live them: progress, unlocking, points, and what is told."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from schema.ids import encode_id
from services.exchange.place import exchange_request
from services.mall import Mall
from tests.client import Client
from tests.clock import MovableClock
from tests.factories import (
    add_achievement,
    add_item,
    add_task,
    add_user,
    execute,
    fingerprint_of_database,
    give_points,
    points_of,
)
from tests.journeys.money import grant
from tests.journeys.steps import (
    achievements_of,
    check_in,
    complete,
    event,
    exchange,
    record,
    unlocked_by,
)

_UNLOCKED = "unlocked { key pointsGranted unlockedAt progress { current target } }"
_COMPLETE = f"""mutation ($id: ID!) {{ completeTask(input: {{taskId: $id}}) {{
  ... on CompleteTaskSuccess {{ pointsEarned balance {{ available }} {_UNLOCKED} }} }} }}"""
_CHECK_IN = f"""mutation {{ checkIn(input: {{}}) {{
  ... on CheckInSuccess {{ streak {_UNLOCKED} }} }} }}"""
_EXCHANGE = f"""mutation ($id: ID!, $key: String!) {{
  oneClickExchange(input: {{itemId: $id, idempotencyKey: $key}}) {{
    ... on OneClickExchangeSuccess {{ replayed remainingPoints {_UNLOCKED} }} }} }}"""
NOW = "2026-11-20T04:00:00Z"
BUILT_IN = {
    "first_exchange": 1,
    "ten_exchanges": 10,
    "week_streak": 7,
    "month_streak": 30,
    "hundred_tasks": 100,
    "ten_thousand_points": 10_000,
    "weekly_top_ten": 1,
    "weekly_champion": 1,
}


async def claim(client: Client, task_id: int) -> Any:
    """What completing the task unlocked, and the balance."""
    asked = {"id": encode_id("Task", task_id)}
    return (await client.data(_COMPLETE, asked, as_="alice"))["completeTask"]


async def take(client: Client, item_id: int, key: str) -> Any:
    """What the exchange unlocked."""
    asked = {"id": encode_id("ExchangeItem", item_id), "key": key}
    return (await client.data(_EXCHANGE, asked, as_="alice"))["oneClickExchange"]


@pytest.fixture
async def alice(mall: Mall) -> int:
    """A member who has nothing yet."""
    return await add_user(mall, "alice", last_login_at=mall.clock())


@pytest.mark.usefixtures("alice")
async def test_the_built_in_set_is_there_for_everybody(client: Client) -> None:
    """With nothing reached, nothing granted, and no points for any of them."""
    found = await achievements_of(client, "alice")
    assert {key: each["progress"]["target"] for key, each in found.items()} == BUILT_IN
    for each in found.values():
        assert (each["progress"]["current"], each["unlockedAt"], each["pointsGranted"]) == (
            0,
            None,
            None,
        )
        assert (each["pointsReward"], each["isActive"], each["badgeUrl"]) == (0, True, None)


async def test_built_in_texts_speak_the_members_language(mall: Mall, client: Client) -> None:
    """Chinese, and English for who wants it; each has a name and a text of its own."""
    await add_user(mall, "li", locale="zh-CN")
    await add_user(mall, "ann", locale="en")
    chinese, english = await achievements_of(client, "li"), await achievements_of(client, "ann")
    assert chinese["week_streak"]["name"] == "一周全勤"
    assert chinese["ten_thousand_points"]["description"] == "在商城累计获得 10,000 积分。"
    assert english["week_streak"]["description"] == "Check in on 7 days in a row."
    assert english["weekly_top_ten"]["name"] == "Top 10 of a week"
    for found in (chinese, english):
        assert len({each["name"] for each in found.values()}) == len(BUILT_IN)
        assert len({each["description"] for each in found.values()}) == len(BUILT_IN)


async def test_a_task_unlocks_and_pays_what_was_promised(
    mall: Mall, client: Client, alice: int
) -> None:
    """In its answer, in the balance, in the list and in the log, which names the key."""
    await add_achievement(mall, "one_task", points_reward=25)
    task_id = await add_task(mall)
    done = await claim(client, task_id)
    progress = {"current": 1, "target": 1}
    told = {"key": "one_task", "pointsGranted": 25, "unlockedAt": NOW, "progress": progress}
    assert done == {"pointsEarned": 10, "balance": {"available": 35}, "unlocked": [told]}
    found = (await achievements_of(client, "alice"))["one_task"]
    assert (found["unlockedAt"], found["pointsGranted"], found["progress"]) == (NOW, 25, progress)
    log = "SELECT action, amount, source, reference, created_by FROM points_audit_log"
    assert await execute(mall, f"{log} WHERE source = 'achievement'") == [
        ("earn", 25, "achievement", "one_task", "system")
    ]
    assert await points_of(mall, alice) == 35
    assert (await claim(client, await add_task(mall)))["unlocked"] == []


@pytest.mark.usefixtures("alice")
async def test_a_week_of_check_ins_is_a_streak(client: Client, clock: MovableClock) -> None:
    """On the seventh day and no other; the best streak counts, a missed day takes nothing away."""
    for day in range(1, 9):
        done = (await client.data(_CHECK_IN, as_="alice"))["checkIn"]
        keys = [each["key"] for each in done["unlocked"]]
        assert keys == (["week_streak"] if day == 7 else []), day
        clock.advance(days=1)
    assert (await achievements_of(client, "alice"))["month_streak"]["progress"] == {
        "current": 8,
        "target": 30,
    }
    clock.advance(days=3)
    await check_in(client, "alice")
    assert (await achievements_of(client, "alice"))["month_streak"]["progress"]["current"] == 8


async def test_an_exchange_unlocks_and_says_so_again_when_its_key_comes_again(
    mall: Mall, client: Client, alice: int
) -> None:
    """The first answer again, from its own request and later; it is paid once."""
    await execute(mall, "UPDATE achievements SET points_reward = 7 WHERE key = 'first_exchange'")
    await give_points(mall, alice, 100)
    item_id = await add_item(mall, points=10)
    first = await take(client, item_id, "key")
    assert [(each["key"], each["pointsGranted"]) for each in first["unlocked"]] == [
        ("first_exchange", 7)
    ]
    assert (first["remainingPoints"], first["replayed"]) == (90, False)
    assert await take(client, item_id, "key") == {**first, "replayed": True}
    assert (await take(client, item_id, "other"))["unlocked"] == []
    assert await points_of(mall, alice) == 87


async def test_one_key_twice_in_a_batch_tells_the_same_twice(mall: Mall, alice: int) -> None:
    """Whichever of them was settled first; another exchange of the batch tells nothing of it."""
    await give_points(mall, alice, 100)
    item_id = await add_item(mall, points=10)
    requests = [
        exchange_request(alice, item_id, key, None, is_verified=False)
        for key in ("other", "key", "key")
    ]
    other, first, again = await asyncio.gather(*map(mall.exchanges.submit, requests))
    assert len(first.unlocked) == 1
    assert (again.replayed, again.unlocked, other.unlocked) == (True, first.unlocked, ())


async def test_a_cancelled_exchange_does_not_count_any_more(
    mall: Mall, client: Client, alice: int
) -> None:
    """What it had unlocked stays, and is not granted again."""
    await give_points(mall, alice, 100)
    item_id = await add_item(mall, points=10, type="coupon", config={"generate": True})
    done = await exchange(client, "alice", item_id)
    cancel = "mutation ($id: ID!) { cancelExchange(input: {exchangeId: $id}) { __typename } }"
    await client.data(cancel, {"id": done["exchange"]["id"]}, as_="alice")
    found = await achievements_of(client, "alice")
    assert found["ten_exchanges"]["progress"]["current"] == 0
    assert found["first_exchange"]["unlockedAt"] == NOW
    assert found["first_exchange"]["progress"] == {"current": 1, "target": 1}
    assert (await take(client, item_id, "again"))["unlocked"] == []
    assert (await achievements_of(client, "alice"))["ten_exchanges"]["progress"]["current"] == 1


@pytest.mark.usefixtures("alice")
async def test_points_of_one_reach_the_next(mall: Mall, client: Client) -> None:
    """All of them in one answer, in one transaction."""
    points = {"measure": "points_earned"}
    await add_achievement(mall, "many", target=400, points_reward=1, **points)
    await add_achievement(mall, "some", target=110, points_reward=290, **points)
    await add_achievement(mall, "one_task", points_reward=100)
    done = await claim(client, await add_task(mall))
    assert [each["key"] for each in done["unlocked"]] == ["one_task", "some", "many"]
    assert done["balance"]["available"] == 401
    assert (await achievements_of(client, "alice"))["ten_thousand_points"]["progress"][
        "current"
    ] == 401


async def test_events_and_grants_unlock_as_well(
    mall: Mall, client: Client, clock: MovableClock, alice: int
) -> None:
    """A purchase, an automatic task, a grant; points held back when they become active."""
    for target in (50, 100, 150):
        await add_achievement(mall, f"p{target}", measure="points_earned", target=target)
    await add_achievement(mall, "one_task")
    await add_task(mall, config={"event": "read", "claim": "auto"}, points_reward=1)
    await record(client, event(alice, "1", clock(), "purchase", amount=49))
    assert await unlocked_by(client, "alice") == set()
    await record(client, event(alice, "2", clock()))
    assert await unlocked_by(client, "alice") == {"one_task", "p50"}
    await grant(client, alice, 50, "grant")
    assert await unlocked_by(client, "alice") == {"one_task", "p50", "p100"}
    await grant(client, alice, 50, "held", availableAt="2026-11-21T04:00:00Z")
    assert "p150" not in await unlocked_by(client, "alice")
    clock.advance(days=2)
    await client.post(
        "mutation { runExpiry { expiredRecords } }", None, client.token("olga", "operator")
    )
    assert "p150" in await unlocked_by(client, "alice")


async def test_a_suspended_member_unlocks_with_the_first_movement_afterwards(
    mall: Mall, client: Client, clock: MovableClock, alice: int
) -> None:
    """A purchase still earns meanwhile; the achievement waits."""
    await add_achievement(mall, "earned", measure="points_earned", target=50, points_reward=5)
    until = clock() + timedelta(days=1)
    await execute(mall, "UPDATE users SET suspended_until = :until", until=until)
    await record(client, event(alice, "1", clock(), "purchase", amount=60))
    assert (await unlocked_by(client, "alice"), await points_of(mall, alice)) == (set(), 60)
    clock.advance(days=1)
    done = (await client.data(_CHECK_IN, as_="alice"))["checkIn"]
    assert [each["key"] for each in done["unlocked"]] == ["earned"]
    assert await points_of(mall, alice) == 70


async def test_an_account_without_room_is_told_so(mall: Mall, client: Client, alice: int) -> None:
    """Unlocked, with no points granted: `pointsReward` says what it grants, `pointsGranted` not."""
    await give_points(mall, alice, 2**53 - 1 - 12)
    await execute(mall, "UPDATE users SET achievements_version = 1")
    await add_achievement(mall, "one_task", points_reward=3)
    done = await claim(client, await add_task(mall))
    told = {each["key"]: each["pointsGranted"] for each in done["unlocked"]}
    assert told["one_task"] == 0
    found = (await achievements_of(client, "alice"))["one_task"]
    assert (found["pointsReward"], found["pointsGranted"]) == (3, 0)
    assert await points_of(mall, alice) == 2**53 - 1 - 2


async def test_what_was_switched_off_is_seen_by_who_has_it_only(
    mall: Mall, client: Client, alice: int
) -> None:
    """In the list and by its id; an operator finds it by its id."""
    achievement_id = await add_achievement(mall, "summer")
    await claim(client, await add_task(mall))
    await execute(mall, "UPDATE achievements SET is_active = false WHERE key = 'summer'")
    assert "summer" in await achievements_of(client, "alice")
    assert "summer" not in await achievements_of(client, "bob")
    query = "query ($id: ID!) { node(id: $id) { ... on Achievement { key } } }"
    asked = {"id": encode_id("Achievement", achievement_id)}
    assert (await client.data(query, asked, as_="alice"))["node"] == {"key": "summer"}
    assert (await client.data(query, asked, as_="bob"))["node"] is None
    answer = await client.post(query, asked, client.token("olga", "operator"))
    assert answer["data"]["node"] == {"key": "summer"}


@pytest.mark.usefixtures("alice")
async def test_a_refusal_unlocks_nothing(mall: Mall, client: Client) -> None:
    """Whatever the member is past: nothing changes with a refusal."""
    task_id = await add_task(mall)
    await complete(client, "alice", task_id)
    await add_achievement(mall, "one_task", version=2)
    before = await fingerprint_of_database(mall)
    assert (await complete(client, "alice", task_id))["code"] == "TASK_NOT_COMPLETABLE"
    assert await fingerprint_of_database(mall) == before
