"""Boards follow the ledger: whoever earns moves on them, by absolute scores, at once."""

import random

from models.leaderboard import LeaderboardPeriod
from services.mall import Mall
from services.points.grant import grant_request
from services.points.reverse import reversal_request
from tests.boards import build, require_ranks_of_the_log
from tests.clock import MovableClock
from tests.factories import add_user

_ALL_TIME = LeaderboardPeriod.ALL_TIME
_MOST_POINTS = 10**12


async def _members(mall: Mall, count: int) -> list[int]:
    return [await add_user(mall, f"member-{number}") for number in range(count)]


async def _move(
    mall: Mall, service: int, members: list[int], number: int, chance: random.Random
) -> None:
    """A grant, small or huge, or one that is taken back again in part."""
    points = chance.choice([1, 2, 3, 5, 8, _MOST_POINTS])
    reference = f"order-{number}"
    asked = grant_request(
        service, chance.choice(members), points, "shop", f"key-{number}", reference=reference
    )
    await mall.grants.submit(asked)
    if chance.random() < 0.3:
        taken = chance.randint(1, points)
        await mall.reversals.submit(
            reversal_request(service, "shop", reference, taken, f"back-{number}")
        )


async def test_ranks_are_those_of_the_log(mall: Mall, clock: MovableClock) -> None:
    """After hundreds of movements over days, ties and points up to 10^12 among them."""
    await build(mall)
    service, chance = await add_user(mall, "shop"), random.Random(5)
    members = await _members(mall, 40)
    for number in range(400):
        if number % 50 == 0:
            clock.advance(days=1)
        if chance.random() < 0.5:  # else at the very same instant as the one before
            clock.advance(seconds=1)
        await _move(mall, service, members, number, chance)
        if number % 100 == 99:
            await mall.movements.told()
            await require_ranks_of_the_log(mall)
    assert (await build(mall)) is not None
    await require_ranks_of_the_log(mall)
