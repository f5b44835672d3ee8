"""At nine in the morning of their own time members hear what ends and what they can earn."""

from datetime import datetime, timedelta
from typing import Any

import pytest

from services.mall import Mall
from tests.client import Client
from tests.clock import MovableClock
from tests.factories import add_task, add_user, execute, give_points
from tests.jobs.due import add_device, look_at_schedule, pushes, tell
from tests.journeys.steps import check_in, complete, event, record

EIGHT, NINE = "2026-11-20T08:00:00+08:00", "2026-11-20T09:00:00+08:00"
LONG_AGO = datetime.fromisoformat("2025-01-01T00:00:00Z")


@pytest.fixture
async def ready(mall: Mall, clock: MovableClock) -> Mall:
    """A mall at eight in the morning of Shanghai, whose schedule is kept."""
    clock.now = datetime.fromisoformat(EIGHT)
    await look_at_schedule(mall)
    return mall


async def told(mall: Mall, kind: str, user_id: int | None = None) -> list[Any]:
    """The pushes of one kind."""
    return [push for push in await pushes(mall, user_id) if push.type == kind]


async def test_points_that_end_are_announced_with_their_date(
    ready: Mall, clock: MovableClock
) -> None:
    """All lots of a day summed; the soonest first; also to who is suspended or long away."""
    english = await add_user(ready, "alice", locale="en", last_login_at=LONG_AGO)
    until = clock() + timedelta(days=3)
    chinese = await add_user(ready, "bob", suspended_until=until)
    await add_device(ready, english, chinese)
    for user_id in (english, chinese):
        for days, points in ((7, 1_000), (7, 200), (2, 10), (1, 1), (30, 5)):
            ends = clock() + timedelta(days=days, hours=3)
            await give_points(ready, user_id, points, expires_at=ends)
    clock.now = datetime.fromisoformat(NINE)
    await tell(ready)
    first, second = await pushes(ready, english)
    assert (first.type, first.status, first.reference) == (
        "expiry_reminder",
        "queued",
        "2026-11-21:1",
    )
    assert first.title == "Your points expire soon"
    assert first.body == "1 point expires on November 21, 2026: use it before it is gone."
    assert second.reference == "2026-11-27:7"
    assert second.body == (
        "1,200 points expire on November 27, 2026: use them before they are gone."
    )
    assert second.payload["expiresOn"] == "2026-11-27"
    bodies = [push.body for push in await pushes(ready, chinese)]
    assert bodies[1] == "您有 1,200 积分将于 2026年11月27日 过期，快来兑换心仪好物吧。"


async def test_spent_points_are_not_announced(ready: Mall, clock: MovableClock) -> None:
    """Neither are those held back, those that never end, and those of a member who was erased."""
    users = [await add_user(ready, name) for name in ("alice", "bob", "carol")]
    ends = clock() + timedelta(days=7)
    await give_points(ready, users[0], 10, expires_at=None)
    await give_points(ready, users[1], 10, expires_at=ends)
    await execute(ready, "UPDATE users SET erased_at = now() WHERE id = :id", id=users[1])
    clock.now = datetime.fromisoformat(NINE)
    await tell(ready)
    assert await pushes(ready) == []


async def test_a_streak_is_kept_alive(ready: Mall, client: Client, clock: MovableClock) -> None:
    """Those who came yesterday and not yet today; the bonus when today or tomorrow brings it."""
    users = {
        name: await add_user(ready, name, locale="en") for name in ("alice", "bob", "carol", "dora")
    }
    await add_device(ready, *users.values())
    clock.now -= timedelta(days=5)
    visits = {"alice": range(5), "bob": range(3, 5), "carol": range(6), "dora": range(4)}
    for day in range(6):
        for name, days in visits.items():
            if day in days:
                assert (await check_in(client, name))["__typename"] == "CheckInSuccess"
        clock.advance(days=1)
    clock.now = datetime.fromisoformat(NINE)
    await tell(ready)
    reminders = {push.user_id: push for push in await told(ready, "daily_check_in")}
    assert reminders.keys() == {users["alice"], users["bob"]}
    alice, bob = reminders[users["alice"]], reminders[users["bob"]]
    assert alice.title == "You have checked in 5 days in a row"
    assert alice.body == "Check in now to keep your streak: day 7 brings 20 points extra."
    assert bob.body == "Check in now to keep your streak: day 3 brings 5 points extra."
    assert alice.reference == "2026-11-20"


async def test_a_bonus_that_is_far_off_is_not_named(
    ready: Mall, client: Client, clock: MovableClock
) -> None:
    """After one day the third is two away; after three the seventh is four away."""
    user_id = await add_user(ready, "alice")
    for day in range(1, 4):
        await check_in(client, "alice")
        clock.advance(days=1, hours=1 if day == 1 else 0)
        await tell(ready)
    first, second, third = await told(ready, "daily_check_in", user_id)
    assert first.title == "您已连续签到 1 天"
    assert first.body == "马上签到，别让连续签到中断哦：第 3 天可额外获得 5 积分。"
    assert second.body == first.body
    assert third.body == "马上签到，别让连续签到中断哦。"


async def test_open_tasks_are_named_to_those_who_come(
    ready: Mall, client: Client, clock: MovableClock
) -> None:
    """How many and what they give: not what is done, over, not begun or stopped."""
    now, day = clock(), timedelta(days=1)
    users = {
        "alice": await add_user(ready, "alice", locale="en", last_login_at=now),
        "bob": await add_user(ready, "bob", last_login_at=now - 6 * day),
        "away": await add_user(ready, "away", last_login_at=now - 8 * day),
        "never": await add_user(ready, "never"),
        "stopped": await add_user(ready, "stopped", last_login_at=now, suspended_until=now + day),
    }
    done = await add_task(ready, points_reward=400, frequency="weekly")
    await add_task(ready, points_reward=30)
    await add_task(ready, points_reward=1_200, frequency="once", config={"event": "visit"})
    await add_task(ready, points_reward=70, config={"event": "view", "claim": "auto"})
    await add_task(ready, points_reward=1, is_active=False)
    await add_task(ready, points_reward=1, starts_at=now + day)
    await add_task(ready, points_reward=1, ends_at=now)
    await add_task(ready, points_reward=1, config={"claim": "whenever"})
    assert (await complete(client, "alice", done))["pointsEarned"] == 400
    clock.now = datetime.fromisoformat(NINE)
    await tell(ready)
    reminders = {push.user_id: push for push in await told(ready, "task_reminder")}
    assert reminders.keys() == {users["alice"], users["bob"]}
    alice, bob = reminders[users["alice"]], reminders[users["bob"]]
    assert alice.title == "There are points to earn"
    assert alice.body == "2 tasks are open and bring 100 points together."
    assert bob.body == "还有 3 个任务可以完成，共可获得 500 积分。"
    assert alice.reference == "2026-11-20"


async def test_any_kind_of_activity_counts(
    ready: Mall, client: Client, clock: MovableClock
) -> None:
    """A check-in, a completed task, an event; whoever did none of it for a week is left alone."""
    names = ("checks", "completes", "buys", "idle")
    users = {name: await add_user(ready, name) for name in names}
    daily = await add_task(ready)
    await check_in(client, "checks")
    await complete(client, "completes", daily)
    await record(client, event(users["buys"], "event-1", clock()))
    await execute(ready, "UPDATE users SET last_login_at = :ago", ago=LONG_AGO)
    for days, expected in ((3, {"checks", "completes", "buys"}), (9, set[str]())):
        clock.now = datetime.fromisoformat(NINE) + timedelta(days=days)
        before = len(await pushes(ready))
        await tell(ready)
        new = [push for push in (await pushes(ready))[before:] if push.type == "task_reminder"]
        assert {push.user_id for push in new} == {users[name] for name in expected}


async def test_what_the_caps_leave_is_promised_and_no_more(
    ready: Mall, client: Client, clock: MovableClock
) -> None:
    """950 points of tasks are earned today: of the open ones only that of 50 can be paid."""
    await add_user(ready, "alice", locale="en", last_login_at=clock())
    first = await add_task(ready, points_reward=950)
    for reward in (60, 50, 100):
        await add_task(ready, points_reward=reward)
    await complete(client, "alice", first)
    clock.now = datetime.fromisoformat(NINE)
    await tell(ready)
    (push,) = await told(ready, "task_reminder")
    assert push.body == "1 task is open and brings 50 points."


async def test_what_ends_comes_before_what_can_be_earned(
    ready: Mall, client: Client, clock: MovableClock
) -> None:
    """Three a day: three warnings leave no room, and that is said."""
    clock.advance(days=-1)
    user_id = await add_user(ready, "alice")
    await add_device(ready, user_id)
    await add_task(ready)
    await check_in(client, "alice")
    clock.now = datetime.fromisoformat(EIGHT)
    for days in (7, 3, 1):
        await give_points(ready, user_id, 10, expires_at=clock() + timedelta(days=days))
    clock.now = datetime.fromisoformat(NINE)
    await tell(ready)
    by_type = {(push.type, push.reference): push for push in await pushes(ready, user_id)}
    assert {key: push.reason for key, push in by_type.items()} == {
        ("expiry_reminder", "2026-11-21:1"): None,
        ("expiry_reminder", "2026-11-23:3"): None,
        ("expiry_reminder", "2026-11-27:7"): None,
        ("daily_check_in", "2026-11-20"): "daily_cap",
        ("task_reminder", "2026-11-20"): "daily_cap",
    }
