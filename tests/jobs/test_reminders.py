"""Each reminder comes once: whoever asks how often, after downtimes, and to members who move."""

import asyncio
from collections import Counter
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import Engine, event

from jobs.runner import Runner
from services.exchange.place import exchange_request
from services.identifiers import new_id
from services.mall import Mall
from services.notifications.remind import MEMBERS_A_PAGE
from services.notifications.reminder_days import DAYS_KEPT, ask_for_reminders
from services.tasks.check_in import CheckInRequest
from services.transaction import transaction
from tests.clock import MovableClock
from tests.factories import add_item, add_task, add_user, execute, give_points
from tests.jobs.due import PLANNING, look_at_schedule, pushes, run_due, tell

SHANGHAI, NEW_YORK = "Asia/Shanghai", "America/New_York"


def instant(text: str) -> datetime:
    """An instant written in ISO 8601."""
    return datetime.fromisoformat(text)


async def references(mall: Mall) -> list[str]:
    """What members were reminded of, in order."""
    return [push.reference for push in await pushes(mall)]


async def ask(mall: Mall) -> int:
    """Ask for what is due, in a transaction of its own; returns for how many zones that was."""
    async with transaction(mall.stores.write) as session:
        return len(await ask_for_reminders(session, mall.clock()))


async def add_many(mall: Mall, count: int) -> None:
    """Members of Shanghai who came today."""
    await execute(
        mall,
        "INSERT INTO users (external_id, username, locale, timezone, last_login_at)"
        " SELECT 'm' || n, 'm' || n, 'en', 'Asia/Shanghai', :now FROM generate_series(1, :n) AS n",
        n=count,
        now=mall.clock(),
    )


async def test_whoever_asks_a_day_is_asked_for_once(mall: Mall, clock: MovableClock) -> None:
    """Twenty at the same time, again later, and by the evening nothing more."""
    for number, zone in enumerate((SHANGHAI, "Asia/Tokyo", NEW_YORK, "Asia/Kathmandu")):
        await add_user(mall, f"member-{number}", timezone=zone)
    # In Tokyo it is ten, and in New York eight in the evening of a day that nobody asked for yet.
    clock.now = instant("2026-11-20T09:00:00+08:00")
    assert sum(await asyncio.gather(*(ask(mall) for _ in range(20)))) == 3
    assert await ask(mall) == 0
    clock.now = instant("2026-11-20T09:00:00+05:45")
    assert await ask(mall) == 1
    clock.now = instant("2026-11-20T08:59:59-05:00")
    assert await ask(mall) == 0
    clock.now = instant("2026-11-20T09:00:00-05:00")
    assert await ask(mall) == 1
    rows = await execute(
        mall,
        "SELECT payload->>'timezone' AS zone, payload->>'day' AS day FROM outbox"
        " ORDER BY due_at, 1",
    )
    assert [tuple(row) for row in rows] == [
        (NEW_YORK, "2026-11-19"),
        (SHANGHAI, "2026-11-20"),
        ("Asia/Tokyo", "2026-11-20"),
        ("Asia/Kathmandu", "2026-11-20"),
        (NEW_YORK, "2026-11-20"),
    ]


async def test_old_days_are_forgotten(mall: Mall, clock: MovableClock) -> None:
    """They can never come again, and are not kept for ever."""
    await add_user(mall)
    for _ in range(DAYS_KEPT + 10):
        assert await ask(mall) == 1
        clock.advance(days=1)
    (row,) = await execute(mall, "SELECT count(*) AS days FROM reminder_days")
    assert row.days <= DAYS_KEPT + 1


async def test_a_zone_that_nobody_knows_holds_up_nobody(mall: Mall) -> None:
    """Its members are not reminded; all others are."""
    await add_user(mall, "alice", timezone="Mars/Olympus_Mons")
    bob = await add_user(mall, "bob", last_login_at=mall.clock())
    await add_task(mall)
    await ask(mall)
    await run_due(mall)
    assert [push.user_id for push in await pushes(mall)] == [bob]


async def test_pages_run_twice_or_at_once_remind_once(mall: Mall, clock: MovableClock) -> None:
    """More members than a page holds; every page is asked for and run several times."""
    members = 2 * MEMBERS_A_PAGE + 3
    await add_many(mall, members)
    await add_task(mall)
    await ask(mall)
    runner, pages = Runner(mall, PLANNING), 0
    while rows := await execute(mall, "SELECT id FROM outbox WHERE done_at IS NULL"):
        await execute(
            mall,
            "INSERT INTO outbox (job, payload, due_at) SELECT job, payload, due_at FROM outbox"
            " WHERE done_at IS NULL AND job = 'remind_members' AND :pages < 2",
            pages=pages,
        )
        pages += len(rows)
        await asyncio.gather(
            *(runner.run("remind_members", [row.id]) for row in rows for _ in range(2))
        )
        await execute(mall, "DELETE FROM outbox WHERE job = 'deliver_pushes'")
        clock.advance(minutes=5)
    told = Counter(push.user_id for push in await pushes(mall))
    assert pages > 3
    assert (len(told), set(told.values())) == (members, {1})


@pytest.mark.parametrize(
    ("back_at", "expected"),
    [
        ("2026-11-20T14:00:00+08:00", ["2026-11-21:1", "2026-11-23:3", "2026-11-27:7"]),
        ("2026-11-20T20:59:00+08:00", ["2026-11-21:1", "2026-11-23:3", "2026-11-27:7"]),
        # Too late that day: the next morning tells what still matters, under its old name.
        ("2026-11-20T21:00:00+08:00", []),
        ("2026-11-21T08:59:00+08:00", []),
        ("2026-11-21T09:00:00+08:00", ["2026-11-21:1", "2026-11-23:3", "2026-11-27:7"]),
        # What was due twice meanwhile is told once, as what it has become; what ended is past.
        ("2026-11-23T10:00:00+08:00", ["2026-11-23:1", "2026-11-27:7"]),
    ],
)
async def test_a_downtime_is_caught_up_with(
    mall: Mall, clock: MovableClock, back_at: str, expected: list[str]
) -> None:
    """Neither scheduler nor worker runs from eight in the morning until `back_at`."""
    clock.now = instant("2026-11-20T08:00:00+08:00")
    user_id = await add_user(mall)
    await look_at_schedule(mall)
    for days, points in ((1, 1), (3, 3), (7, 7)):
        await give_points(mall, user_id, points, expires_at=clock() + timedelta(days=days, hours=9))
    clock.now = instant(back_at)
    await tell(mall)
    assert await references(mall) == expected
    assert await ask(mall) == 0
    await run_due(mall)
    assert await references(mall) == expected


async def test_after_a_downtime_the_next_days_are_as_ever(mall: Mall, clock: MovableClock) -> None:
    """Back at five days ahead: the reminder of seven late, then three and one on their days."""
    clock.now = instant("2026-11-20T08:00:00+08:00")
    user_id = await add_user(mall)
    await look_at_schedule(mall)
    await give_points(mall, user_id, 10, expires_at=instant("2026-11-27T15:00:00+08:00"))
    clock.now = instant("2026-11-22T09:00:00+08:00")
    for _ in range(8):
        await tell(mall)
        clock.advance(days=1)
    told = [(push.reference, push.created_at.date().isoformat()) for push in await pushes(mall)]
    assert told == [
        ("2026-11-27:7", "2026-11-22"),
        ("2026-11-27:3", "2026-11-24"),
        ("2026-11-27:1", "2026-11-26"),
    ]


async def test_points_that_came_late_are_not_announced_in_between(
    mall: Mall, clock: MovableClock
) -> None:
    """Granted for five days: at three and at one; nobody missed the reminder of seven."""
    clock.now = instant("2026-11-20T10:00:00+08:00")
    user_id = await add_user(mall)
    await look_at_schedule(mall)
    await give_points(mall, user_id, 10, expires_at=clock() + timedelta(days=5))
    for _ in range(8):
        clock.advance(days=1)
        await tell(mall)
    assert await references(mall) == ["2026-11-25:3", "2026-11-25:1"]


@pytest.mark.parametrize("late", [timedelta(hours=12), timedelta(days=1), timedelta(days=2)])
async def test_a_page_that_comes_too_late_does_nothing(
    mall: Mall, clock: MovableClock, late: timedelta
) -> None:
    """Workers were away: at night, or for a day that is over, nobody is reminded."""
    clock.now = instant("2026-11-20T09:00:00+08:00")
    await add_user(mall, last_login_at=clock())
    await add_task(mall)
    assert await ask(mall) == 1
    clock.now += late
    assert await run_due(mall) == 1
    assert await pushes(mall) == []


@pytest.mark.parametrize(
    ("moves", "ends_at"),
    [
        # Noon in one place is the evening before, or the night after, in the other: the same day,
        # a day earlier, a day later.
        ((SHANGHAI, NEW_YORK), "2026-11-27T20:00:00+08:00"),
        ((SHANGHAI, NEW_YORK), "2026-11-27T12:00:00+08:00"),
        ((NEW_YORK, SHANGHAI), "2026-11-27T12:00:00-05:00"),
        ((NEW_YORK, SHANGHAI), "2026-11-27T08:00:00-05:00"),
        (("Pacific/Kiritimati", "Pacific/Pago_Pago"), "2026-11-27T00:30:00+14:00"),
        (("Pacific/Pago_Pago", "Pacific/Kiritimati"), "2026-11-27T22:30:00-11:00"),
    ],
)
async def test_who_moves_after_the_morning_is_reminded_once(
    mall: Mall, clock: MovableClock, moves: tuple[str, str], ends_at: str
) -> None:
    """Of each threshold, wherever the morning comes again and on whichever day the points end."""
    clock.now = instant("2026-11-18T04:00:00Z")
    user_id = await add_user(mall, timezone=moves[0])
    await add_user(mall, "stays", timezone=moves[1])
    await look_at_schedule(mall)
    await give_points(mall, user_id, 10, expires_at=instant(ends_at))
    while not await pushes(mall):
        clock.advance(hours=1)
        await tell(mall)
    assert await references(mall) == ["2026-11-27:7"]
    await execute(
        mall, "UPDATE users SET timezone = :zone WHERE id = :id", zone=moves[1], id=user_id
    )
    there = instant(ends_at).astimezone(ZoneInfo(moves[1])).date()
    for _ in range(8 * 8):
        clock.advance(hours=3)
        await tell(mall)
    assert await references(mall) == ["2026-11-27:7", f"{there}:3", f"{there}:1"]


async def test_who_moves_hears_once_a_day_what_can_be_earned(
    mall: Mall, clock: MovableClock
) -> None:
    """The day is the mall's: the morning that comes again, further west, is of the same."""
    clock.now = instant("2026-11-20T08:00:00+08:00")
    user_id = await add_user(mall, last_login_at=clock())
    await add_user(mall, "stays", timezone=NEW_YORK)
    await add_task(mall)
    await look_at_schedule(mall)
    clock.advance(hours=1)
    await tell(mall)
    await execute(
        mall, "UPDATE users SET timezone = :zone WHERE id = :id", zone=NEW_YORK, id=user_id
    )
    clock.now = instant("2026-11-20T09:00:00-05:00")
    await tell(mall)
    assert await references(mall) == ["2026-11-20"]


async def test_who_moves_past_the_morning_is_not_forgotten(mall: Mall, clock: MovableClock) -> None:
    """West to east before the morning, to where it is over: told the next one, once."""
    clock.now = instant("2026-11-20T08:00:00+08:00")
    user_id = await add_user(mall, timezone=NEW_YORK)
    await add_user(mall, "other")
    await look_at_schedule(mall)
    await give_points(mall, user_id, 10, expires_at=instant("2026-11-27T20:00:00+08:00"))
    clock.advance(hours=1)
    await tell(mall)
    await execute(
        mall, "UPDATE users SET timezone = :zone WHERE id = :id", zone=SHANGHAI, id=user_id
    )
    for _ in range(96):
        clock.advance(minutes=15)
        await tell(mall)
    (push,) = await pushes(mall)
    assert (push.reference, push.created_at) == (
        "2026-11-27:7",
        instant("2026-11-21T09:00:00+08:00"),
    )


@pytest.fixture
def statements() -> Iterator[list[str]]:
    """The statements that are executed, as they come."""
    seen: list[str] = []

    def hear(_c: Any, _cursor: Any, sql: str, *_: Any) -> None:
        seen.append(" ".join(sql.split())[:80])

    event.listen(Engine, "before_cursor_execute", hear)
    yield seen
    event.remove(Engine, "before_cursor_execute", hear)


async def statements_of(mall: Mall, job: str, statements: list[str]) -> int:
    """How many statements one message of the job costs, its own account in the outbox included."""
    rows = await execute(
        mall, "SELECT id FROM outbox WHERE job = :job AND done_at IS NULL", job=job
    )
    statements.clear()
    await Runner(mall, PLANNING).run(job, [row.id for row in rows])
    return len(statements)


@pytest.mark.parametrize("members", [2, 60])
async def test_a_page_costs_so_many_statements(
    mall: Mall, clock: MovableClock, statements: list[str], members: int
) -> None:
    """However many members it has, who all have something of every kind to be told."""
    for number in range(members):
        user_id = await add_user(mall, f"member-{number}", last_login_at=clock())
        await mall.check_ins.submit(CheckInRequest(user_id, is_verified=False, lot_id=new_id()))
        for days in (8, 2):
            await give_points(mall, user_id, 5, expires_at=clock() + timedelta(days=days))
    for _ in range(5):
        await add_task(mall)
    clock.advance(days=1)
    await ask(mall)
    assert await statements_of(mall, "remind_members", statements) == 15, statements
    assert len(await pushes(mall)) == members * 4


@pytest.mark.parametrize("exchanges", [2, 200])
async def test_confirmations_cost_so_many_statements(
    mall: Mall, statements: list[str], exchanges: int
) -> None:
    """A message confirms up to 200 exchanges."""
    item_id = await add_item(mall, stock=1_000, points=1)
    for number in range(exchanges):
        user_id = await add_user(mall, f"member-{number}")
        await give_points(mall, user_id, 1)
        request = exchange_request(user_id, item_id, "key", None, is_verified=False)
        await mall.exchanges.submit(request)
    assert await statements_of(mall, "exchange_confirmation", statements) == 9, statements
    assert len(await pushes(mall)) == exchanges
