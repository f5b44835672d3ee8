"""Check-in: once a day of the mall, with a bonus on certain days of an unbroken streak."""

from datetime import datetime, timedelta

import pytest

from services.mall import Mall
from tests.client import Client
from tests.clock import MovableClock
from tests.factories import add_user, execute
from tests.journeys.steps import check_in

BONUSES = {3: 5, 7: 20, 14: 50, 30: 100, 60: 100, 90: 100}
MIDNIGHT = datetime.fromisoformat("2026-11-20T16:00:00Z")


async def streak_of(client: Client, name: str) -> int:
    """The streak as the profile shows it."""
    return (await client.data("{ me { checkInStreak } }", as_=name))["me"]["checkInStreak"]


async def test_ninety_days_pay_their_bonuses(
    mall: Mall, client: Client, clock: MovableClock
) -> None:
    """5 points a day, more on days 3, 7, 14, 30 and every 30th after; the next is announced."""
    paid = 0
    for day in range(1, 91):
        done = await check_in(client, "alice")
        bonus = BONUSES.get(day, 0)
        paid += 5 + bonus
        assert (done["streak"], done["pointsEarned"], done["bonusPoints"]) == (
            day,
            5 + bonus,
            bonus,
        )
        ahead = min(at for at in [*BONUSES, 120] if at > day)
        assert done["nextBonus"] == {"streak": ahead, "points": BONUSES.get(ahead, 100)}
        clock.advance(days=1)
    assert done["balance"] == {"available": paid}


async def test_a_missed_day_restarts_the_streak(
    mall: Mall, client: Client, clock: MovableClock
) -> None:
    """The profile shows it as soon as a whole day has passed without a check-in."""
    assert await streak_of(client, "alice") == 0
    for _ in range(2):
        await check_in(client, "alice")
        clock.advance(days=1)
    assert await streak_of(client, "alice") == 2
    clock.advance(days=1)
    assert await streak_of(client, "alice") == 0
    done = await check_in(client, "alice")
    assert (done["streak"], done["pointsEarned"]) == (1, 5)
    assert await streak_of(client, "alice") == 1


async def test_a_day_is_signed_once(mall: Mall, client: Client, clock: MovableClock) -> None:
    """The second try says when the next day begins: at the mall's midnight, not at UTC's."""
    await check_in(client, "alice")
    clock.now = MIDNIGHT - timedelta(microseconds=1)
    refused = await check_in(client, "alice")
    assert (refused["__typename"], refused["reason"]) == ("TaskNotCompletable", "ALREADY_COMPLETED")
    assert refused["code"] == "TASK_NOT_COMPLETABLE"
    assert refused["availableAgainAt"] == "2026-11-20T16:00:00Z"
    clock.now = MIDNIGHT
    assert (await check_in(client, "alice"))["streak"] == 2
    assert await execute(mall, "SELECT count(*) FROM points_records") == [(2,)]


async def test_two_minutes_around_midnight_are_two_days(
    mall: Mall, client: Client, clock: MovableClock
) -> None:
    """The day counts, not 24 hours; another member's day is their own."""
    clock.now = MIDNIGHT - timedelta(minutes=1)
    await check_in(client, "alice")
    clock.advance(minutes=2)
    assert (await check_in(client, "alice"))["streak"] == 2
    assert (await check_in(client, "bob"))["streak"] == 1


async def test_a_check_in_is_a_lot_and_a_change(mall: Mall, client: Client) -> None:
    """Bonus and points come as one lot, named after the day."""
    await check_in(client, "alice")
    query = """{
      balance { lots { nodes { points source sourceReference } } }
      pointsHistory { nodes { action amount pointsBefore pointsAfter source reference } }
    }"""
    data = await client.data(query, as_="alice")
    day = "2026-11-20"
    lot = {"points": 5, "source": "check_in", "sourceReference": day}
    change = {"action": "EARN", "amount": 5, "pointsBefore": 0, "pointsAfter": 5}
    assert data["balance"]["lots"]["nodes"] == [lot]
    expected = [{**change, "source": "check_in", "reference": day}]
    assert data["pointsHistory"]["nodes"] == expected


async def test_a_suspended_member_does_not_check_in(
    mall: Mall, client: Client, clock: MovableClock
) -> None:
    """MemberSuspended, with the end of it, and not a moment longer."""
    until = clock.now + timedelta(hours=1)
    await add_user(mall, "alice", suspended_until=until)
    refused = await check_in(client, "alice")
    assert (refused["__typename"], refused["code"]) == ("MemberSuspended", "MEMBER_SUSPENDED")
    assert refused["until"] == "2026-11-20T05:00:00Z"
    clock.now = until
    assert (await check_in(client, "alice"))["streak"] == 1


@pytest.mark.parametrize(
    ("locale", "message"),
    [("zh-CN", "今天已经签到过啦，明天再来吧。"), ("en", "You have checked in today already.")],
)
async def test_the_refusal_speaks_the_members_language(
    mall: Mall, client: Client, locale: str, message: str
) -> None:
    """By the locale of the user."""
    await add_user(mall, "alice", locale=locale)
    await check_in(client, "alice")
    assert (await check_in(client, "alice"))["message"] == message
