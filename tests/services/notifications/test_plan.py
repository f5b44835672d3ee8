"""Planning pushes: once per reference, never over the cap, whoever plans how often at once."""

import asyncio
from collections import Counter
from contextlib import suppress
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import Engine, event, text

from models.notifications import PushType
from services.bulk import Writes
from services.errors import Unauthenticated
from services.mall import Mall
from services.notifications.decide import MOST_A_DAY
from services.notifications.plan import PUSHES_A_DELIVERY, plan_pushes
from services.transaction import transaction
from services.users.erase import erase_user
from tests.clock import MovableClock
from tests.factories import add_user, execute
from tests.jobs.asking import until
from tests.pushes import add_device, draft, plan_now

PLANNERS = 30


async def add_members(mall: Mall, count: int) -> list[int]:
    """Members with a device each, as if they had been there for long."""
    rows = await execute(
        mall,
        "INSERT INTO users (external_id, username, locale, timezone, created_at)"
        " SELECT name, name, 'en', 'Asia/Shanghai', :now"
        " FROM (SELECT 'm' || number AS name FROM generate_series(1, :count) AS number) AS named"
        " RETURNING id",
        count=count,
        now=mall.clock(),
    )
    await execute(
        mall,
        "INSERT INTO devices (id, user_id, platform, token, created_at, last_seen_at)"
        " SELECT gen_random_uuid(), id, 'ios', 'token ' || id, created_at, created_at FROM users",
    )
    return [row.id for row in rows]


async def counted(mall: Mall) -> dict[int, int]:
    """How many pushes count towards a cap, by member; every one of them on one day."""
    rows = await execute(
        mall,
        "SELECT user_id, count(*) AS pushes, count(DISTINCT counted_on) AS days FROM push_records"
        " WHERE counted_on IS NOT NULL AND status <> 'suppressed' GROUP BY user_id",
    )
    assert {row.days for row in rows} <= {1}
    return {row.user_id: row.pushes for row in rows}


async def asked_for(mall: Mall) -> list[str]:
    """The pushes whose delivery was asked for, by id."""
    rows = await execute(mall, "SELECT payload FROM outbox WHERE job LIKE 'deliver%'")
    return [push_id for row in rows for push_id in row.payload["push_ids"]]


@pytest.mark.parametrize("is_known", [False, True], ids=["first push", "known"])
async def test_planners_of_one_push_at_once(mall: Mall, *, is_known: bool) -> None:
    """One records it, the others find it known; its delivery is asked for once."""
    (alice,) = await add_members(mall, 1)
    if is_known:
        await plan_now(mall, draft(alice, "before"))
    planned = await asyncio.gather(*(plan_now(mall, draft(alice, "news")) for _ in range(PLANNERS)))
    assert sorted(map(len, planned)) == [0] * (PLANNERS - 1) + [1]
    rows = await execute(mall, "SELECT id FROM push_records WHERE reference = 'news'")
    assert len(rows) == 1
    assert (await asked_for(mall)).count(str(rows[0].id)) == 1


async def test_planners_of_many_pushes_at_once(mall: Mall) -> None:
    """Each is recorded, three are sent that day, and the others say why not."""
    (alice,) = await add_members(mall, 1)
    drafts = [draft(alice, f"news {number}") for number in range(PLANNERS)]
    await asyncio.gather(*(plan_now(mall, each) for each in drafts))
    rows = await execute(mall, "SELECT reference, status, reason FROM push_records")
    assert {row.reference for row in rows} == {each.reference for each in drafts}
    assert Counter((row.status, row.reason) for row in rows) == {
        ("queued", None): MOST_A_DAY,
        ("suppressed", "daily_cap"): PLANNERS - MOST_A_DAY,
    }
    assert await counted(mall) == {alice: MOST_A_DAY}
    assert len(await asked_for(mall)) == MOST_A_DAY


async def test_planners_who_share_members_and_pushes(mall: Mall) -> None:
    """In any order, members new to pushes among them: nobody waits for ever."""
    members = await add_members(mall, 12)
    calls = [
        [
            draft(members[(first + step) % 12], f"news {first % 5}")
            for step in (range(8) if first % 2 else reversed(range(8)))
        ]
        for first in range(PLANNERS)
    ]
    await asyncio.gather(*(plan_now(mall, *drafts) for drafts in calls))
    asked = {(each.user_id, each.reference) for drafts in calls for each in drafts}
    rows = await execute(mall, "SELECT user_id, reference FROM push_records")
    assert sorted((row.user_id, row.reference) for row in rows) == sorted(asked)
    expected = Counter(user_id for user_id, _ in asked)
    assert await counted(mall) == {key: min(n, MOST_A_DAY) for key, n in expected.items()}


async def test_confirmations_are_beside_the_cap(mall: Mall, clock: MovableClock) -> None:
    """At midnight as well: at once, counted nowhere; what is held counts on the day it is due."""
    (alice,) = await add_members(mall, 1)
    clock.advance(hours=12)
    kind = PushType.EXCHANGE_CONFIRMATION
    await plan_now(mall, *(draft(alice, f"bought {number}", kind) for number in range(5)))
    await plan_now(mall, *(draft(alice, f"news {number}") for number in range(4)))
    rows = await execute(
        mall, "SELECT reference, status, due_at, counted_on FROM push_records ORDER BY reference"
    )
    morning, day = clock.now.replace(hour=0, day=21), clock.now.replace(day=21).date()
    assert [(row.status, row.due_at, row.counted_on) for row in rows] == [
        *[("queued", clock.now, None)] * 5,
        *[("queued", morning, day)] * 3,
        ("suppressed", clock.now, None),
    ]
    clock.now = morning.replace(hour=5)
    await plan_now(mall, draft(alice, "news at noon"))
    (row,) = await execute(mall, "SELECT reason FROM push_records WHERE reference ~ 'noon'")
    assert row.reason == "daily_cap"


async def test_one_call_with_the_same_push_twice(mall: Mall) -> None:
    """The first of them counts; the same reference of another kind is another push."""
    (alice,) = await add_members(mall, 1)
    first, second = draft(alice, "news", copy=1), draft(alice, "news", copy=2)
    other = draft(alice, "news", PushType.ALERT)
    planned = await plan_now(mall, first, second, other)
    assert [entry.draft for entry in planned] == [first, other]


async def test_nobody_is_told_anything_who_is_not_there(mall: Mall) -> None:
    """Never was, or was erased; and no draft at all is no mistake."""
    await add_members(mall, 2)
    async with transaction(mall.stores.write) as session:
        await erase_user(session, "m1", mall.clock(), timezone="Asia/Shanghai")
    assert await plan_now(mall, draft(1, "news"), draft(4711, "news")) == []
    assert await plan_now(mall) == []
    assert await execute(mall, "SELECT user_id FROM push_records") == []
    assert await execute(mall, "SELECT user_id FROM push_preferences") == []


async def test_planning_and_erasing_at_once(mall: Mall) -> None:
    """Whichever comes first: no text about somebody who is gone, and nobody waits for ever."""
    members = await add_members(mall, 8)

    async def erase(number: int) -> None:
        async with transaction(mall.stores.write) as session:
            await erase_user(session, f"m{number}", mall.clock(), timezone="Asia/Shanghai")

    async def register(number: int) -> None:
        with suppress(Unauthenticated):
            await add_device(mall, members[number - 1], f"another {number}")

    await asyncio.gather(
        *(plan_now(mall, *(draft(key, f"news {n}") for key in members)) for n in range(4)),
        *(erase(number) for number in range(1, 9)),
        *(register(number) for number in range(1, 9)),
    )
    left = (
        "SELECT token FROM devices UNION ALL SELECT user_id::text FROM push_preferences"
        " UNION ALL SELECT title || body || status FROM push_records"
        " WHERE title <> '' OR body <> '' OR status <> 'suppressed'"
    )
    assert await execute(mall, left) == []


async def test_a_held_lock_of_erasing_keeps_texts_out(mall: Mall) -> None:
    """A planner that comes while a member is being erased waits, and then leaves them out."""
    (alice,) = await add_members(mall, 1)
    await plan_now(mall, draft(alice, "before"))
    async with transaction(mall.stores.write) as session:
        await erase_user(session, "m1", mall.clock(), timezone="Asia/Shanghai")
        planning = asyncio.create_task(plan_now(mall, draft(alice, "after")))
        await until_somebody_waits(mall)
    assert await planning == []
    rows = await execute(mall, "SELECT title, status, reason FROM push_records")
    assert rows == [("", "suppressed", "no_device")]


async def until_somebody_waits(mall: Mall) -> None:
    """Until a session of this database waits for a lock."""
    waiting = (
        "SELECT pid FROM pg_stat_activity"
        " WHERE wait_event_type = 'Lock' AND datname = current_database()"
    )
    await until(lambda: execute(mall, waiting), 10)


async def test_erasing_waits_for_a_planner(mall: Mall) -> None:
    """And then blanks what was planned."""
    (alice,) = await add_members(mall, 1)

    async def erase() -> None:
        async with transaction(mall.stores.write) as session:
            await erase_user(session, "m1", mall.clock(), timezone="Asia/Shanghai")

    async with transaction(mall.stores.write) as session:
        writes = Writes()
        await plan_pushes(session, writes, [draft(alice, "news", secret="tea")], mall.clock())
        erasing = asyncio.create_task(erase())
        await until_somebody_waits(mall)
        await writes.flush(session)
    await erasing
    rows = await execute(mall, "SELECT title, body, payload, status FROM push_records")
    assert rows == [("", "", {}, "suppressed")]


@pytest.mark.parametrize("timezone", ["Etc/GMT-14", "Etc/GMT+12"])
async def test_the_cap_does_not_depend_on_the_database_clock(mall: Mall, timezone: str) -> None:
    """A session of another time zone has another idea of today: it counts the same pushes."""
    alice = await add_user(mall, "alice", timezone="Pacific/Kiritimati")
    await add_device(mall, alice, "token")
    for number in range(MOST_A_DAY + 1):
        async with transaction(mall.stores.write) as session:
            await session.execute(text(f"SET LOCAL timezone = '{timezone}'"))
            writes = Writes()
            await plan_pushes(session, writes, [draft(alice, f"news {number}")], mall.clock())
            await writes.flush(session)
    assert await counted(mall) == {alice: MOST_A_DAY}


@pytest.mark.parametrize("count", [1, 3 * PUSHES_A_DELIVERY])
async def test_any_number_of_drafts_takes_six_statements(mall: Mall, count: int) -> None:
    """A million recipients are planned page by page: each page must cost the same."""
    members = await add_members(mall, count)
    drafts = [draft(member, str(uuid4())) for member in members]
    seen: list[Any] = []

    def note(_c: Any, _cursor: Any, sql: str, *_: Any) -> None:
        seen.append(sql)

    event.listen(Engine, "before_cursor_execute", note)
    try:
        planned = await plan_now(mall, *drafts)
    finally:
        event.remove(Engine, "before_cursor_execute", note)
    assert len(planned) == count
    assert len(seen) == 6, seen
    assert len(await asked_for(mall)) == count
    rows = await execute(mall, "SELECT payload FROM outbox WHERE job LIKE 'deliver%'")
    assert max(len(row.payload["push_ids"]) for row in rows) <= PUSHES_A_DELIVERY
