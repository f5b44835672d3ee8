"""What follows an unlocked achievement, the end of a week, and a definition that is new."""

from datetime import datetime, timedelta

import pytest

from services.achievements.catch_up import catch_up
from services.achievements.weekly_top import (
    WEEKLY_TOP_JOB,
    unlock_weekly_top,
    weekly_top_payload,
)
from services.bulk import Writes
from services.mall import Mall
from services.outbox import enqueue
from services.transaction import transaction
from tests.client import Client
from tests.clock import MovableClock
from tests.factories import (
    add_achievement,
    add_item,
    add_task,
    add_user,
    execute,
    give_points,
    points_of,
)
from tests.jobs.due import jobs_named, pushes, run_due
from tests.journeys.steps import achievements_of, check_in, complete, exchange, unlocked_by

CONGRATULATING = jobs_named("achievement_unlocked")


@pytest.mark.parametrize(
    ("locale", "points", "title", "body"),
    [
        ("zh-CN", 0, "成就达成：初次兑换", "首次使用积分兑换商品。"),
        ("zh-CN", 30, "成就达成：初次兑换", "您已获得 30 积分奖励。"),
        ("en", 1, "Achievement unlocked: First exchange", "1 point for it is yours."),
        ("en", 30, "Achievement unlocked: First exchange", "30 points for it are yours."),
    ],
)
async def test_a_member_is_congratulated_once(
    mall: Mall, client: Client, locale: str, points: int, title: str, body: str
) -> None:
    """By a push of its own kind, in their language, with the points; repeated, nothing comes."""
    alice = await add_user(mall, "alice", locale=locale)
    await execute(
        mall, "UPDATE achievements SET points_reward = :p WHERE key = 'first_exchange'", p=points
    )
    await give_points(mall, alice, 100)
    await exchange(client, "alice", await add_item(mall))
    assert await run_due(mall, CONGRATULATING) == 1
    (push,) = await pushes(mall, alice)
    assert (push.type, push.title, push.body) == ("achievement", title, body)
    assert push.payload == {
        "achievementId": (await achievements_of(client, "alice"))["first_exchange"]["id"]
    }
    await execute(mall, "UPDATE outbox SET done_at = NULL, due_at = created_at")
    assert await run_due(mall, CONGRATULATING) == 1
    assert len(await pushes(mall, alice)) == 1


async def test_points_that_are_held_are_not_promised(
    mall: Mall, client: Client, clock: MovableClock
) -> None:
    """The achievement is the member's; of its points nothing is said while nobody released them."""
    alice = await add_user(mall, "alice", locale="en")
    await give_points(mall, alice, 100)
    until = clock.now + timedelta(days=1)
    await execute(mall, "UPDATE users SET gains_held_until = :until", until=until)
    await execute(mall, "UPDATE achievements SET points_reward = 30 WHERE key = 'first_exchange'")
    await exchange(client, "alice", await add_item(mall))
    await run_due(mall, CONGRATULATING)
    (push,) = await pushes(mall, alice)
    assert push.title == "Achievement unlocked: First exchange"
    assert push.body == "Exchange points for the first time."


async def test_the_best_of_a_week_are_unlocked_once(mall: Mall, client: Client) -> None:
    """The first gets both; the eleventh neither; the best rank stays; the job may come again."""
    await execute(mall, "UPDATE achievements SET points_reward = 50 WHERE key = 'weekly_champion'")
    members = [await add_user(mall, f"member-{rank}") for rank in range(1, 12)]
    ranks = {user_id: rank for rank, user_id in enumerate(members, start=1)}
    for _ in range(2):
        async with transaction(mall.stores.write) as session:
            writes = Writes()
            enqueue(writes, WEEKLY_TOP_JOB, [weekly_top_payload(ranks)], mall.clock())
            await writes.flush(session)
        await run_due(mall, jobs_named(WEEKLY_TOP_JOB))
    assert await unlocked_by(client, "member-1") == {"weekly_top_ten", "weekly_champion"}
    assert await unlocked_by(client, "member-10") == {"weekly_top_ten"}
    assert await unlocked_by(client, "member-11") == set()
    assert [await points_of(mall, user_id) for user_id in members] == [50] + [0] * 10
    async with transaction(mall.stores.write) as session:
        worse = await unlock_weekly_top(
            session, {members[0]: 90, members[10]: 1, 4711: 2}, clock=mall.clock, zone=mall.zone
        )
    assert {user_id: len(ids) for user_id, ids in worse.items()} == {members[10]: 2}
    rows = await execute(mall, "SELECT best_weekly_rank FROM users ORDER BY id")
    assert [row[0] for row in rows] == [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 1]


async def test_who_is_suspended_at_the_end_of_the_week_gets_it_later(
    mall: Mall, client: Client, clock: MovableClock
) -> None:
    """The rank is kept; erased members have none."""
    sam = await add_user(mall, "sam", suspended_until=clock() + timedelta(days=1))
    gone = await add_user(mall, "gone", erased_at=clock())
    async with transaction(mall.stores.write) as session:
        done = await unlock_weekly_top(session, {sam: 1, gone: 2}, clock=mall.clock, zone=mall.zone)
    assert done == {}
    assert await execute(mall, "SELECT best_weekly_rank FROM users ORDER BY id") == [(1,), (None,)]
    clock.advance(days=1)
    await check_in(client, "sam")
    assert await unlocked_by(client, "sam") == {"weekly_top_ten", "weekly_champion"}


async def test_ranks_below_the_hundredth_are_not_even_asked_for() -> None:
    """No board shows them, and nothing can be achieved there."""
    assert weekly_top_payload({1: 100, 2: 101}) == {"ranks": [[1, 100]]}


async def test_who_is_past_a_new_one_gets_it_by_a_walk(mall: Mall, client: Client) -> None:
    """Page by page, each asking for the next; nobody twice, nobody suspended or erased."""
    task_id = await add_task(mall)
    for number in range(7):
        await add_user(mall, f"member-{number}")
        if number != 3:
            await complete(client, f"member-{number}", task_id)
    for member, column in (("member-1", "suspended_until"), ("member-2", "erased_at")):
        later = datetime.fromisoformat("2027-01-01T00:00:00Z")
        sql = f"UPDATE users SET {column} = :later WHERE username = :member"
        await execute(mall, sql, later=later, member=member)
    await add_achievement(mall, "one_task", points_reward=4, version=2)
    found: list[tuple[int, int]] = []
    for after in (0, 3, 6):
        async with transaction(mall.stores.write) as session:
            page = await catch_up(session, after, clock=mall.clock, zone=mall.zone, limit=3)
        found.append((page.members, page.unlocked))
    assert found == [(3, 1), (3, 2), (1, 1)]
    assert await execute(
        mall, "SELECT username FROM users JOIN user_achievements ON user_id = id ORDER BY id"
    ) == [("member-0",), ("member-4",), ("member-5",), ("member-6",)]
    told = "SELECT payload->>'user_id' AS who FROM outbox WHERE job = 'achievement_unlocked'"
    assert len(await execute(mall, told)) == 4  # it grants points: they are told
    asked = "SELECT payload FROM outbox WHERE job = 'unlock_reached' ORDER BY id"
    assert [row.payload for row in await execute(mall, asked)] == [{"after": 3}, {"after": 6}]
    async with transaction(mall.stores.write) as session:
        again = await catch_up(session, 0, clock=mall.clock, zone=mall.zone)
    assert (again.members, again.unlocked) == (7, 0)


async def test_nobody_is_told_of_what_was_long_ago(mall: Mall, client: Client) -> None:
    """A walk finds what was reached before: it is there, and brings nothing to be woken for."""
    await complete(client, "alice", await add_task(mall))
    await add_achievement(mall, "one_task", points_reward=0, version=2)
    async with transaction(mall.stores.write) as session:
        assert (await catch_up(session, 0, clock=mall.clock, zone=mall.zone)).unlocked == 1
    assert await unlocked_by(client, "alice") == {"one_task"}
    assert await execute(mall, "SELECT id FROM outbox WHERE job = 'achievement_unlocked'") == []
