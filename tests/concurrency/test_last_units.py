"""Many at once, through two server processes: nothing is given twice, and nothing is lost."""

import random
from datetime import timedelta
from typing import Any

from schema.ids import encode_id
from services.tasks.events import record_events
from services.tasks.incoming_events import IncomingEvent, RecordedEvents
from services.transaction import transaction
from tests.concurrency.conftest import Town
from tests.concurrency.operations import (
    CHECK_IN,
    COMPLETE,
    RECORD,
    add_members,
    all_at_once,
    only_field,
    outcomes,
    some_at_once,
)
from tests.factories import add_item, add_task, execute, points_of


async def _stock(town: Town, item_id: int) -> int:
    sql = "SELECT stock FROM exchange_items WHERE id = :id"
    return (await execute(town.mall, sql, id=item_id))[0][0]


async def _exchanges(town: Town, item_id: int) -> list[Any]:
    sql = "SELECT user_id, id FROM exchanges WHERE item_id = :id"
    return await execute(town.mall, sql, id=item_id)


async def test_two_members_never_get_the_last_unit(town: Town) -> None:
    """200 members, 10 units: exactly 10 exchanges, 190 times OutOfStock, nothing left."""
    names = [f"last-{number}" for number in range(200)]
    user_ids = await add_members(town.mall, names, 100)
    item_id = await add_item(town.mall, points=100, stock=10)
    answers = await all_at_once(
        town.members.exchange(name, item_id, "key", through=number)
        for number, name in enumerate(names)
    )
    assert outcomes(answers) == {"OneClickExchangeSuccess": 10, "OUT_OF_STOCK": 190}
    assert await _stock(town, item_id) == 0
    assert len({user_id for user_id, _ in await _exchanges(town, item_id)}) == 10
    balances = [await points_of(town.mall, user_id) for user_id in user_ids]
    assert sorted(balances) == [0] * 10 + [100] * 190


async def test_every_unit_is_sold_once_while_many_keep_buying(town: Town) -> None:
    """Many batches of both processes race for one item: no sale overwrites another's."""
    names = [f"steady-{number}" for number in range(20)]
    await add_members(town.mall, names, 10_000)
    item_id = await add_item(town.mall, points=10, stock=350)
    answers = await some_at_once(
        (
            town.members.exchange(names[number % 20], item_id, f"key-{number}", through=number)
            for number in range(400)
        ),
        limit=16,
    )
    assert outcomes(answers) == {"OneClickExchangeSuccess": 350, "OUT_OF_STOCK": 50}
    assert await _stock(town, item_id) == 0
    assert len(await _exchanges(town, item_id)) == 350


async def test_one_key_has_one_effect(town: Town) -> None:
    """50 calls with one key: one exchange, and the same answer to all but for `replayed`."""
    (user_id,) = await add_members(town.mall, ["one-key"], 1_000)
    item_id = await add_item(town.mall, points=100, stock=100)
    answers = await all_at_once(
        town.members.exchange("one-key", item_id, "the key", through=number) for number in range(50)
    )
    assert outcomes(answers) == {"OneClickExchangeSuccess": 50}
    assert sorted(answer.pop("replayed") for answer in answers) == [False] + [True] * 49
    assert all(answer == answers[0] for answer in answers)
    assert answers[0]["exchange"]["paidFrom"][0]["points"] == 100
    assert len(await _exchanges(town, item_id)) == 1
    assert (await points_of(town.mall, user_id), await _stock(town, item_id)) == (900, 99)


async def test_one_key_for_two_items_buys_one(town: Town) -> None:
    """One key for two items at once: one wins, every call for the other is a conflict."""
    await add_members(town.mall, ["two-items"], 1_000)
    item_ids = [await add_item(town.mall, points=100, stock=100) for _ in range(2)]
    answers = await all_at_once(
        town.members.exchange("two-items", item_ids[number // 2 % 2], "k", through=number)
        for number in range(40)
    )
    assert outcomes(answers) == {"OneClickExchangeSuccess": 20, "IDEMPOTENCY_CONFLICT": 20}
    assert sorted([len(await _exchanges(town, item_id)) for item_id in item_ids]) == [0, 1]


async def test_nobody_spends_more_than_they_have(town: Town) -> None:
    """Points for 3, 20 different keys: exactly 3 exchanges, and each saw the balance it left."""
    (user_id,) = await add_members(town.mall, ["spender"], 350)
    item_id = await add_item(town.mall, points=100, stock=100)
    answers = await all_at_once(
        town.members.exchange("spender", item_id, f"key-{number}", through=number)
        for number in range(20)
    )
    assert outcomes(answers) == {"OneClickExchangeSuccess": 3, "INSUFFICIENT_POINTS": 17}
    left = [answer["remainingPoints"] for answer in answers if "remainingPoints" in answer]
    assert sorted(left) == [50, 150, 250]
    assert (await points_of(town.mall, user_id), await _stock(town, item_id)) == (50, 97)


async def test_nobody_takes_more_than_their_limit(town: Town) -> None:
    """A limit of 4 a member, 40 different keys: exactly 4 exchanges."""
    await add_members(town.mall, ["limited"], 10_000)
    item_id = await add_item(
        town.mall, stock=100, per_user_limit_count=4, per_user_limit_period="lifetime"
    )
    answers = await all_at_once(
        town.members.exchange("limited", item_id, f"key-{number}", through=number)
        for number in range(40)
    )
    assert outcomes(answers) == {"OneClickExchangeSuccess": 4, "LIMIT_REACHED": 36}
    assert await _stock(town, item_id) == 96


async def test_a_day_is_signed_in_once(town: Town) -> None:
    """50 check-ins of one member: one counts."""
    (user_id,) = await add_members(town.mall, ["early"])
    answers = await all_at_once(
        town.members.ask("early", CHECK_IN, through=number) for number in range(50)
    )
    counted = outcomes(only_field(answer) for answer in answers)
    assert counted == {"CheckInSuccess": 1, "TASK_NOT_COMPLETABLE": 49}
    assert await points_of(town.mall, user_id) == 5


async def test_a_task_is_completed_once_a_period(town: Town) -> None:
    """50 completions of one task by one member: one counts."""
    (user_id,) = await add_members(town.mall, ["busy"])
    task = encode_id("Task", await add_task(town.mall, points_reward=30))
    answers = await all_at_once(
        town.members.ask("busy", COMPLETE, task=task, through=number) for number in range(50)
    )
    counted = outcomes(only_field(answer) for answer in answers)
    assert counted == {"CompleteTaskSuccess": 1, "TASK_NOT_COMPLETABLE": 49}
    assert await points_of(town.mall, user_id) == 30


async def test_tasks_together_never_pay_more_than_a_day_may_bring(town: Town) -> None:
    """12 tasks of 150 points at once: 6 are paid, the others are over 1,000 a day."""
    (user_id,) = await add_members(town.mall, ["greedy"])
    tasks = [
        encode_id("Task", await add_task(town.mall, points_reward=150, name=f"多劳多得{number}"))
        for number in range(12)
    ]
    answers = await all_at_once(
        town.members.ask("greedy", COMPLETE, task=task, through=number)
        for number, task in enumerate(tasks)
    )
    counted = outcomes(only_field(answer) for answer in answers)
    assert counted == {"CompleteTaskSuccess": 6, "LIMIT_REACHED": 6}
    assert await points_of(town.mall, user_id) == 900


def _events(town: Town, user_ids: list[int]) -> list[dict[str, Any]]:
    """30 events a member: 20 purchases of 3 and 10 shares."""
    before = town.mall.clock() - timedelta(seconds=1)
    return [
        {
            "eventId": f"event-{user_id}-{number}",
            "userId": encode_id("User", user_id),
            "type": "purchase" if number % 3 else "share",
            "amount": 3.5 if number % 3 else None,
            "occurredAt": (before - timedelta(milliseconds=number)).isoformat(),
        }
        for user_id in user_ids
        for number in range(30)
    ]


async def test_events_sent_six_times_at_once_count_once(town: Town) -> None:
    """The same 300 events in six different orders: each recorded once, no call fails."""
    user_ids = await add_members(town.mall, [f"buyer-{number}" for number in range(10)])
    config = {"event": "share", "target": 10, "claim": "auto"}
    await add_task(town.mall, points_reward=70, config=config)
    events = _events(town, user_ids)
    orders = [random.sample(events, len(events)) for _ in range(6)]
    answers = await all_at_once(
        town.members.ask("shop", RECORD, "service", events=order, through=number)
        for number, order in enumerate(orders)
    )
    results = [only_field(answer) for answer in answers]
    assert all(result["recorded"] + result["duplicates"] == 300 for result in results), results
    assert sum(result["recorded"] for result in results) == 300
    assert sum(result["tasksCompleted"] for result in results) == 10
    assert sum(result["pointsEarned"] for result in results) == 10 * (20 * 3 + 70)
    assert [await points_of(town.mall, user_id) for user_id in user_ids] == [130] * 10


async def _record(town: Town, user_id: int, event_ids: list[str]) -> RecordedEvents:
    now = town.mall.clock()
    events = [IncomingEvent(each, user_id, "share", None, now, {}) for each in event_ids]
    async with transaction(town.mall.stores.write) as session:
        return await record_events(session, events, clock=town.mall.clock, zone=town.mall.zone)


async def test_event_ids_of_different_members_do_not_deadlock(town: Town) -> None:
    """The same 500 ids for eight members, each in an order of its own: each is recorded once.

    No member's lock keeps these calls apart, only the ids do. Not through HTTP, which would, and
    several times, for a deadlock takes some luck.
    """
    user_ids = await add_members(town.mall, [f"rival-{number}" for number in range(8)])
    for attempt in range(8):
        ids = [f"shared-{attempt}-{number}" for number in range(500)]
        results = await all_at_once(
            _record(town, user_id, random.sample(ids, len(ids))) for user_id in user_ids
        )
        assert sum(result.recorded for result in results) == 500
        assert sum(result.duplicates for result in results) == 7 * 500


async def test_members_who_arrive_at_once_are_created_once(town: Town) -> None:
    """40 first requests of 4 new subjects: four users, and the same id for every request."""
    answers = await all_at_once(
        town.members.ask(f"newcomer-{number % 4}", "{ me { id } }", through=number // 4)
        for number in range(40)
    )
    assert len({only_field(answer)["id"] for answer in answers}) == 4
