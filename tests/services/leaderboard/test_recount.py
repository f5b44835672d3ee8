"""What processes of an earlier version did not keep is put right from the books, under load."""

import asyncio
from datetime import timedelta

import pytest
from sqlalchemy import text

from models.exchange import ExchangeStatus
from services.exchange.place import exchange_request
from services.exchange.states import exchange_step
from services.identifiers import new_id
from services.leaderboard.recount import Recounted, recount_page
from services.mall import Mall
from services.points.grant import grant_request
from services.points.reverse import reversal_request
from services.points.verify import verify_ledger
from services.tasks.check_in import CheckInRequest
from services.tasks.complete import CompletionRequest
from services.transaction import transaction
from tests.boards import build, require_ranks_of_the_log
from tests.clock import MovableClock
from tests.commands import run_command
from tests.factories import (
    add_achievement,
    add_item,
    add_task,
    add_user,
    execute,
    fingerprint_of_database,
)
from tests.services.statements import Statements

_MEMBERS = 6
# As a process of before 0018 leaves it: it knows neither days nor ranks nor counts.
_KEPT_NOTHING = """
    DELETE FROM points_reversals;
    DELETE FROM daily_earnings;
    UPDATE users SET ranked_points = 0, ranked_at = NULL, exchanges_made = 0, tasks_completed = 0,
                     best_streak = 0
"""
# As one of before 0021 does: what is taken back leaves the boards when the balance pays it.
_KEPT_AS_BEFORE = """
    DELETE FROM points_reversals;
    DELETE FROM daily_earnings;
    INSERT INTO daily_earnings
    SELECT user_id, CAST(created_at AT TIME ZONE 'Asia/Shanghai' AS date), sum(amount),
           max(created_at)
    FROM points_audit_log
    WHERE action IN ('earn', 'reverse') AND source IS DISTINCT FROM 'opening_balance'
    GROUP BY 1, 2;
    UPDATE users SET ranked_points = earned.points, ranked_at = earned.last_at
    FROM (SELECT user_id, sum(points) AS points, max(last_at) AS last_at
          FROM daily_earnings GROUP BY user_id) earned
    WHERE users.id = earned.user_id
"""


async def _spoil(mall: Mall, statements: str) -> None:
    async with mall.stores.write() as session, session.begin():
        await session.execute(text("SET LOCAL session_replication_role = replica"))
        for statement in statements.split(";"):
            await session.execute(text(statement))


async def _recount(mall: Mall, limit: int = 2) -> tuple[int, int, int]:
    """All pages: how many members, how many ranked and how many counted otherwise."""
    pages: list[Recounted] = []
    last_id = 0
    while True:
        async with transaction(mall.stores.bulk) as session:
            page = await recount_page(
                session, last_id, clock=mall.clock, zone=mall.zone, limit=limit
            )
        if page is None:
            await mall.movements.told()
            return (
                sum(each.members for each in pages),
                sum(each.ranked for each in pages),
                sum(each.counted for each in pages),
            )
        pages.append(page)
        last_id = page.last_id


async def _grant(mall: Mall, service: int, user_id: int, number: int, **more: object) -> None:
    reference = f"order-{number}"
    asked = grant_request(
        service, user_id, 100, "shop", f"grant-{number}", reference=reference, **more
    )
    await mall.grants.submit(asked)


async def _take_back(mall: Mall, service: int, number: int, points: int | None, key: str) -> None:
    await mall.reversals.submit(reversal_request(service, "shop", f"order-{number}", points, key))


@pytest.fixture
async def members(mall: Mall, clock: MovableClock) -> list[int]:
    """Members with grants that were taken back in every way, exchanges, a task and check-ins.

    The first is a service; one is erased; and one has done nothing.
    """
    await build(mall)
    service = await add_user(mall, "service")
    users = [await add_user(mall, f"member-{number}") for number in range(_MEMBERS)]
    task = await add_task(mall, points_reward=20)
    item = await add_item(mall, points=90, type="coupon", config={"generate": True})
    soon, later = clock() + timedelta(hours=3), clock() + timedelta(days=20)
    for number, user_id in enumerate(users[:5]):
        ends = {"expires_at": soon} if number == 1 else {}
        held = {"available_at": later} if number == 2 else {}
        await _grant(mall, service, user_id, number, **ends, **held)
        await mall.completions.submit(CompletionRequest(user_id, task, False, new_id()))
        await mall.check_ins.submit(CheckInRequest(user_id, False, new_id()))
    for user_id in (users[0], users[3]):
        placed = await mall.exchanges.submit(
            exchange_request(user_id, item, "key", None, is_verified=False)
        )
    step = exchange_step(placed.exchange_id, users[3], ExchangeStatus.CANCELLED, by_operator=False)
    await mall.steps.submit(step)
    clock.advance(days=1)
    for number, points in enumerate((100, 60, 30, 40)):
        await _take_back(mall, service, number, points, f"back-{number}")
        clock.advance(minutes=1)
    await _grant(mall, service, users[0], 9)
    await execute(mall, "UPDATE users SET erased_at = now() WHERE id = :id", id=users[3])
    await mall.movements.told()
    return [service, *users]


async def _stand(mall: Mall) -> list[object]:
    """What is kept beside the books, but for when what lapsed or was owed was taken back."""
    found = await execute(
        mall,
        "SELECT id, ranked_points, exchanges_made, tasks_completed, best_streak FROM users"
        " ORDER BY id",
    )
    reversals = await execute(
        mall,
        "SELECT user_id, points, withheld_points, lapsed_points, owed_points FROM points_reversals"
        " ORDER BY 1, 2",
    )
    return [*found, *reversals]


async def test_right_counts_are_left_alone(mall: Mall, members: list[int]) -> None:
    """Nothing differs, and no row of any table is touched."""
    before = await fingerprint_of_database(mall)
    assert await _recount(mall) == (len(members), 0, 0)
    assert await fingerprint_of_database(mall) == before


async def test_what_was_not_kept_is_counted(mall: Mall, members: list[int]) -> None:
    """All of it, as the movements would have; boards that were told nothing are right, too."""
    before = await _stand(mall)
    await _spoil(mall, _KEPT_NOTHING)
    await build(mall)
    assert await _recount(mall) == (len(members), 5, 5)
    assert await _stand(mall) == before
    await require_ranks_of_the_log(mall)
    again = await fingerprint_of_database(mall)
    assert await _recount(mall, limit=100) == (len(members), 0, 0)
    assert await fingerprint_of_database(mall) == again


async def test_ranks_of_the_old_rule_become_those_of_the_new(
    mall: Mall, members: list[int]
) -> None:
    """Of those of whom something was taken back that counted; Redis held the old ones."""
    before = await _stand(mall)
    await _spoil(mall, _KEPT_AS_BEFORE)
    await build(mall)
    assert await _recount(mall) == (len(members), 4, 0)
    assert await _stand(mall) == before
    await require_ranks_of_the_log(mall)


async def test_a_reversal_beside_known_ones_is_told_apart(
    mall: Mall, members: list[int], clock: MovableClock
) -> None:
    """What has a row keeps it; the difference gets one."""
    service = members[0]
    await _take_back(mall, service, 1, 10, "known")
    await _take_back(mall, service, 4, 25, "known too")
    before = await _stand(mall)
    clock.advance(hours=1)
    await _take_back(mall, service, 4, 75, "unknown")
    await _spoil(mall, "DELETE FROM points_reversals WHERE points = 75")
    async with mall.stores.read() as session:
        assert len(await verify_ledger(session)) == 2
    assert (await _recount(mall))[1:] == (1, 0)
    rows = "SELECT points, owed_points, created_at = :now FROM points_reversals WHERE points = 75"
    assert await execute(mall, rows, now=clock()) == [(75, 0, True)]
    assert len(await _stand(mall)) == len(before) + 1


async def test_what_was_reached_is_unlocked(mall: Mall, members: list[int]) -> None:
    """Whoever turns out to have got to a target has the achievement, and its points."""
    await add_achievement(mall, "hundred", measure="points_earned", target=125, points_reward=7)
    await execute(mall, "DELETE FROM user_achievements")
    await _spoil(mall, _KEPT_NOTHING)
    await _recount(mall)
    unlocked = "SELECT user_id, key FROM user_achievements JOIN achievements ON id = achievement_id"
    assert sorted(await execute(mall, unlocked)) == [
        (members[1], "first_exchange"),
        (members[1], "hundred"),
        (members[5], "hundred"),
    ]
    await require_ranks_of_the_log(mall)
    assert await _recount(mall) == (len(members), 0, 0)


async def test_counting_beside_movements_loses_none(
    mall: Mall, members: list[int], clock: MovableClock
) -> None:
    """120 grants, reversals and exchanges each, while all are counted again and again.

    The first time puts them right; from then on nothing ever differs, although they move.
    """
    service, users = members[0], members[1:4]
    item = await add_item(mall, points=5, stock=1000)
    await _spoil(mall, _KEPT_AS_BEFORE)
    seen: list[tuple[int, int, int]] = []

    async def move(worker: int) -> None:
        for number in range(worker * 20, worker * 20 + 20):
            user_id = users[number % 3]
            await _grant(mall, service, user_id, 100 + number)
            clock.advance(milliseconds=1)
            asked = exchange_request(user_id, item, f"key-{number}", None, is_verified=False)
            await mall.exchanges.submit(asked)
            await _take_back(mall, service, 100 + number, 1 + number % 100, f"again-{number}")

    async def count() -> None:
        while not moving.done():
            seen.append(await _recount(mall, limit=3))

    moving = asyncio.gather(*(move(worker) for worker in range(6)))
    await asyncio.gather(moving, count())
    assert len(seen) > 2
    assert {each[1:] for each in seen[1:]} == {(0, 0)}
    await mall.movements.told()
    await require_ranks_of_the_log(mall)


@pytest.mark.parametrize(("limit", "writing"), [(1, 9), (100, 10)])
async def test_a_page_costs_as_much_as_a_member(
    statements: Statements, mall: Mall, members: list[int], limit: int, writing: int
) -> None:
    """Who is on it, sums, accounts, reversals, days, counts; and the writes, where any differ.

    With what begins and ends the transaction. One more where days of members are corrected: the
    first member's are right.
    """
    await _spoil(mall, _KEPT_AS_BEFORE)
    for expected in (writing, 8):
        statements.seen.clear()
        async with transaction(mall.stores.bulk) as session:
            await recount_page(session, members[0], clock=mall.clock, zone=mall.zone, limit=limit)
        assert len(statements.seen) == expected, statements.seen
    assert (await _recount(mall)) == (len(members), 3 if limit == 1 else 0, 0)


async def test_the_command_counts_and_goes_on(mall: Mall, members: list[int]) -> None:
    """It says how many differed; told where it was, it goes on from there."""
    await _spoil(mall, _KEPT_NOTHING)
    done = await run_command(mall.settings, "leaderboard", "recount", "--after", str(members[2]))
    assert (done.returncode, done.stdout) == (
        0,
        "4 member(s) are counted: 3 had something else on the boards, 3 towards achievements.\n",
    )
    assert f"up to number {members[-1]}" in done.stderr
    done = await run_command(mall.settings, "leaderboard", "recount")
    assert done.stdout.startswith("7 member(s) are counted: 2 had something else")
