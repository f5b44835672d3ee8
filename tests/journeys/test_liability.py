"""An operator asks what the mall owes: as it was measured at night, and counted from every lot."""

from collections import Counter
from datetime import date, datetime, timedelta
from typing import Any

from dev.demo.load import load_demo
from services.kpis.liability import keep_liability
from services.kpis.roll_up import ROLL_UP_JOB
from services.mall import Mall
from services.transaction import transaction
from tests.client import Client
from tests.clock import MovableClock
from tests.factories import add_user, execute, give_points
from tests.jobs.due import jobs_named, look_at_schedule, run_due

QUERY = (
    "{ pointsLiability { measuredAt outstandingPoints pendingPoints expiring { month points } } }"
)


async def liability(client: Client) -> dict[str, Any]:
    """What an operator is told."""
    answer = await client.post(QUERY, None, client.token("olga", "operator"))
    assert "errors" not in answer, answer["errors"]
    return answer["data"]["pointsLiability"]


async def naive(mall: Mall) -> dict[str, Any]:
    """The same from every row, in plain Python."""
    months, pending = Counter[str | None](), 0
    for lot in await execute(mall, "SELECT points, status, expires_at FROM points_records"):
        ends = lot.expires_at and lot.expires_at.astimezone(mall.zone).date().replace(day=1)
        months[ends and ends.isoformat()] += lot.points if lot.status == "active" else 0
        pending += lot.points if lot.status == "pending" else 0
    held = sorted((month is None, month, points) for month, points in months.items() if points)
    return {
        "outstandingPoints": (await execute(mall, "SELECT sum(points)::bigint FROM users"))[0][0],
        "pendingPoints": pending,
        "expiring": [{"month": month, "points": points} for _, month, points in held],
    }


def told_at(instant: datetime) -> dict[str, str]:
    """How an answer says as of when it is."""
    return {"measuredAt": instant.isoformat().replace("+00:00", "Z")}


async def add_odd_lots(mall: Mall) -> None:
    """What never ends, what is held back, and what ends on both sides of a midnight."""
    user = await add_user(mall, "odd")
    await give_points(mall, user, 7, expires_at=None)
    await give_points(mall, user, 11, held=True)
    for minutes in (-1, 0):  # 2027-03-01 00:00 in Shanghai
        ends = datetime.fromisoformat("2027-02-28T16:00Z") + timedelta(minutes=minutes)
        await give_points(mall, user, 13, expires_at=ends)


async def test_of_the_demo_mall(mall: Mall, client: Client, clock: MovableClock) -> None:
    """To the point: counted before the first night, and kept by the job from then on."""
    async with transaction(mall.stores.bulk) as session:
        await load_demo(session, clock.now, mall.zone)
    await add_odd_lots(mall)
    expected = await naive(mall)
    assert expected["pendingPoints"] == 11
    assert expected["expiring"][-1] == {"month": None, "points": 7}
    assert len(expected["expiring"]) > 3
    assert await liability(client) == expected | told_at(clock.now)
    await look_at_schedule(mall, [ROLL_UP_JOB])
    clock.now = datetime.fromisoformat("2026-11-20T16:20Z")  # 00:20 in Shanghai
    await look_at_schedule(mall, [ROLL_UP_JOB])
    await run_due(mall, jobs_named(ROLL_UP_JOB))
    measured = expected | told_at(clock.now)
    clock.advance(hours=3)
    await give_points(mall, await add_user(mall, "late"), 500)
    await execute(mall, "ALTER TABLE points_records RENAME TO gone")  # nobody reads a lot
    try:
        assert await liability(client) == measured
    finally:
        await execute(mall, "ALTER TABLE gone RENAME TO points_records")


async def test_measured_again(mall: Mall, client: Client, clock: MovableClock) -> None:
    """Of a day the last counts, whichever was written last; days of before are kept."""
    user = await add_user(mall)
    first = clock.now

    async def measure(now: datetime) -> None:
        async with transaction(mall.stores.bulk) as session:
            await keep_liability(session, now, mall.zone)

    await measure(first)
    assert (await liability(client))["outstandingPoints"] == 0
    await give_points(mall, user, 40)
    for _ in range(2):
        await measure(first + timedelta(minutes=1))
    await give_points(mall, user, 2)
    await measure(first)
    assert await liability(client) == {
        **told_at(first + timedelta(minutes=1)),
        "outstandingPoints": 40,
        "pendingPoints": 0,
        "expiring": [{"month": "2027-11-01", "points": 40}],
    }
    await measure(first + timedelta(days=1))
    kept = await execute(mall, "SELECT day, outstanding_points FROM daily_liabilities ORDER BY day")
    assert kept == [(date(2026, 11, 20), 40), (date(2026, 11, 21), 42)]


async def test_a_mall_in_which_nobody_has_points(client: Client, clock: MovableClock) -> None:
    """Nothing is owed."""
    nothing = {"outstandingPoints": 0, "pendingPoints": 0, "expiring": []}
    assert await liability(client) == nothing | told_at(clock.now)
