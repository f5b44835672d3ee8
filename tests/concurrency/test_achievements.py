"""An achievement is unlocked once, and paid once, whoever reaches it how often at once."""

from collections import Counter
from uuid import uuid4

import pytest

from schema.ids import encode_id
from services.achievements.catch_up import catch_up
from services.transaction import transaction
from tests.concurrency.conftest import Town
from tests.concurrency.operations import Answer, add_members, all_at_once, only_field
from tests.factories import add_achievement, add_item, add_task, execute, points_of

_CALLS, _PAID = 50, 11
_UNLOCKED = "__typename unlocked { key }"
_EXCHANGE = f"""mutation ($item: ID!, $key: String!) {{
  oneClickExchange(input: {{itemId: $item, idempotencyKey: $key}}) {{
    ... on OneClickExchangeSuccess {{ {_UNLOCKED} }} ... on Problem {{ __typename }} }} }}"""
_COMPLETE = f"""mutation ($task: ID!) {{ completeTask(input: {{taskId: $task}}) {{
    ... on CompleteTaskSuccess {{ {_UNLOCKED} }} ... on Problem {{ __typename }} }} }}"""
_GRANT = """mutation ($input: GrantPointsInput!) { grantPoints(input: $input) { __typename } }"""


@pytest.fixture
async def shopper(town: Town) -> tuple[str, int]:
    """A member with points for many exchanges; only the built-in achievements are there."""
    await execute(town.mall, "UPDATE achievements SET is_active = is_built_in")
    name = f"shopper-{uuid4().hex}"
    (user_id,) = await add_members(town.mall, [name], 1_000)
    return name, user_id


async def _unlocked(town: Town, user_id: int) -> list[tuple[str, int]]:
    """What the member has unlocked, and what each granted."""
    sql = """
        SELECT key, points FROM user_achievements
        JOIN achievements ON achievements.id = achievement_id
        WHERE user_id = :user ORDER BY key
    """
    return [tuple(row) for row in await execute(town.mall, sql, user=user_id)]


def _told(answers: list[Answer]) -> Counter[str]:
    """How often each achievement was told to have been unlocked."""
    told = (each["key"] for answer in answers for each in answer.get("unlocked", ()))
    return Counter(told)


async def test_fifty_exchanges_at_once_unlock_once(town: Town, shopper: tuple[str, int]) -> None:
    """Through two processes: one row, one lot, one answer that tells."""
    name, user_id = shopper
    key = f"thirty_{uuid4().hex[:8]}"
    measure = "exchanges_made"
    await add_achievement(town.mall, key, measure=measure, target=30, points_reward=_PAID)
    item_id = await add_item(town.mall, points=1, stock=_CALLS)
    asked = {"item": encode_id("ExchangeItem", item_id)}
    answers = await all_at_once(
        town.members.ask(name, _EXCHANGE, through=number, key=f"key-{number}", **asked)
        for number in range(_CALLS)
    )
    expected = {"first_exchange": 0, "ten_exchanges": 0, key: _PAID}
    assert dict(await _unlocked(town, user_id)) == expected
    assert _told([only_field(answer) for answer in answers]) == Counter(expected.keys())
    assert await points_of(town.mall, user_id) == 1_000 - _CALLS + _PAID


async def test_movements_of_all_kinds_at_once_unlock_once(
    town: Town, shopper: tuple[str, int]
) -> None:
    """Tasks, exchanges and grants reach a sum together, in batches of their own."""
    name, user_id = shopper
    key = f"earned_{uuid4().hex[:8]}"
    await add_achievement(
        town.mall, key, measure="points_earned", target=1_100, points_reward=_PAID
    )
    item_id = await add_item(town.mall, points=1, stock=_CALLS)
    tasks = [await add_task(town.mall, points_reward=5) for _ in range(_CALLS)]
    item = {"item": encode_id("ExchangeItem", item_id)}

    async def grant(number: int) -> Answer:
        asked = {
            "userId": encode_id("User", user_id),
            "points": 3,
            "source": "campaign",
            "idempotencyKey": f"{name}-{number}",
        }
        return await town.members.ask("till", _GRANT, "service", through=number, input=asked)

    answers = await all_at_once(
        [
            *(
                town.members.ask(name, _COMPLETE, through=n, task=encode_id("Task", task_id))
                for n, task_id in enumerate(tasks)
            ),
            *(
                town.members.ask(name, _EXCHANGE, through=n, key=f"k-{n}", **item)
                for n in range(_CALLS)
            ),
            *(grant(n) for n in range(_CALLS)),
        ]
    )
    told = _told([only_field(answer) for answer in answers])
    assert (key, _PAID) in await _unlocked(town, user_id)
    assert told[key] <= 1  # a grant answers to another system, which is told nothing
    assert await points_of(town.mall, user_id) == 1_000 + _CALLS * (5 + 3 - 1) + _PAID


async def test_a_walk_and_movements_at_once_unlock_once(
    town: Town, shopper: tuple[str, int]
) -> None:
    """A member is past a new achievement: 50 movements and the walk, one of which pays."""
    name, user_id = shopper
    item_id = await add_item(town.mall, points=1, stock=2 * _CALLS)
    item = {"item": encode_id("ExchangeItem", item_id)}
    await town.members.ask(name, _EXCHANGE, key="before", **item)
    key, newest = f"late_{uuid4().hex[:8]}", 1_000_000 + user_id
    await add_achievement(
        town.mall, key, measure="exchanges_made", points_reward=_PAID, version=newest
    )

    async def walk() -> Answer:
        async with transaction(town.mall.stores.write) as session:
            await catch_up(session, 0, clock=town.mall.clock, zone=town.mall.zone)
        return {"data": {"walk": {}}}

    calls = [
        town.members.ask(name, _EXCHANGE, through=number, key=f"key-{number}", **item)
        for number in range(_CALLS)
    ]
    await all_at_once([*calls[:25], walk(), *calls[25:], walk()])
    assert (key, _PAID) in await _unlocked(town, user_id)
    assert await points_of(town.mall, user_id) == 1_000 - _CALLS - 1 + _PAID
