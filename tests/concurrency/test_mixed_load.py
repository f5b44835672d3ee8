"""Everything at once on few members and few items, through two server processes.

No call may end in anything but success or a Problem, and the books must be right afterwards.
"""

import asyncio
import random
from collections.abc import Awaitable, Iterator
from datetime import timedelta

from schema.ids import encode_id
from tests.concurrency.conftest import Town
from tests.concurrency.operations import (
    CHECK_IN,
    COMPLETE,
    RECORD,
    RUN_EXPIRY,
    Answer,
    add_members,
    only_field,
    outcomes,
    some_at_once,
)
from tests.concurrency.servers import verify_books
from tests.factories import add_item, add_task, execute, give_points

_NAMES = [f"mixed-{number}" for number in range(6)]
_VIP_DAYS = 30


async def _arrange(town: Town) -> tuple[list[int], list[int], list[int]]:
    """Six members with lots that end while the load runs, three items, three tasks."""
    mall = town.mall
    user_ids = await add_members(mall, _NAMES, 2_000)
    for number, user_id in enumerate(user_ids * 4):
        ends = mall.clock() + timedelta(seconds=0.3 + number / 20)
        await give_points(mall, user_id, 400, expires_at=ends)
    vip = {"level": 1, "days": _VIP_DAYS}
    item_ids = [
        await add_item(mall, points=70, stock=30),
        await add_item(mall, points=50, stock=500, type="vip", config=vip),
        await add_item(mall, points=30, stock=500, type="coupon", config={"generate": True}),
    ]
    auto = {"event": "view", "target": 5, "claim": "auto"}
    manual = {"event": "view", "target": 20}
    task_ids = [
        await add_task(mall),
        await add_task(mall, config=auto, frequency="weekly"),
        await add_task(mall, config=manual),
    ]
    return user_ids, item_ids, task_ids


def _events(town: Town, user_ids: list[int]) -> list[Answer]:
    """20 events out of a few hundred, so that many were sent before."""
    return [
        {
            "eventId": f"mixed-{number}",
            "userId": encode_id("User", user_ids[number % len(user_ids)]),
            "type": "purchase" if number % 4 == 0 else "view",
            "amount": 9.9,
            "occurredAt": town.mall.clock().isoformat(),
        }
        for number in random.sample(range(300), 20)
    ]


def _calls(
    town: Town, user_ids: list[int], item_ids: list[int], task_ids: list[int]
) -> Iterator[Awaitable[Answer]]:
    members = town.members
    tasks = [encode_id("Task", task_id) for task_id in task_ids]
    for number in range(60):
        who = random.choice(_NAMES)
        for _ in range(5):
            item_id = random.choice(item_ids)
            yield members.exchange(who, item_id, f"{item_id}-{random.randrange(60)}")
        yield _member_call(town, who, CHECK_IN)
        yield _member_call(town, who, COMPLETE, task=random.choice(tasks))
        if number % 2:
            yield _member_call(town, "shop", RECORD, "service", events=_events(town, user_ids))
            yield _member_call(town, "boss", RUN_EXPIRY, "operator")


async def _member_call(
    town: Town, who: str, query: str, *roles: str, **variables: object
) -> Answer:
    answer = only_field(await town.members.ask(who, query, *roles, **variables))
    return {"__typename": "Other", **answer}


async def test_everything_at_once_leaves_the_books_right(town: Town) -> None:
    """Exchanges, check-ins, tasks, events and expiry race; the books are right all the time.

    `ledger verify` runs beside them, and once more when all is done.
    """
    arranged = await _arrange(town)
    calls = list(_calls(town, *arranged))
    random.shuffle(calls)
    verifying = asyncio.create_task(asyncio.to_thread(verify_books, town.mall.settings))
    answers = await some_at_once(calls, 40)
    assert (await verifying).returncode == 0, verifying.result().stdout
    counted = outcomes(answers)
    assert counted["OneClickExchangeSuccess"] > 50, counted
    assert counted["CheckInSuccess"] == len(_NAMES), counted
    assert counted["CompleteTaskSuccess"] > 0, counted
    assert sum(answer.get("recorded", 0) for answer in answers) > 200
    expired = await execute(town.mall, "SELECT 1 FROM points_audit_log WHERE action = 'expire'")
    assert len(expired) > 5
    allowed = {"INSUFFICIENT_POINTS", "OUT_OF_STOCK", "TASK_NOT_COMPLETABLE"}
    assert {code for code in counted if code.isupper()} <= allowed, counted
    await _assert_memberships_add_up(town)


async def _assert_memberships_add_up(town: Town) -> None:
    """Every exchange of a membership made it longer: none was overwritten by another."""
    rows = await execute(
        town.mall,
        "SELECT vip.expires_at - min(bought.created_at), count(*) FROM user_vip vip"
        " JOIN exchanges bought ON bought.user_id = vip.user_id AND bought.vip_level = vip.level"
        " GROUP BY vip.user_id, vip.level, vip.expires_at",
    )
    assert len(rows) == len(_NAMES)
    assert all(length == timedelta(days=_VIP_DAYS * count) for length, count in rows)
