"""`rankChanged`: the viewer's own rank, whoever's points move it."""

from datetime import UTC, datetime

from services.mall import Mall
from tests.boards import build
from tests.client import Client
from tests.clock import MovableClock
from tests.factories import add_user, give_points
from tests.journeys.sockets import watching

RANK = """subscription ($period: LeaderboardPeriod! = ALL_TIME) {
    rankChanged(period: $period) { period previousRank rank points at }
}"""
NOON = "2026-11-20T04:00:00Z"


def rank(rank: int, points: int, previous: int | None = None, **other: object) -> dict[str, object]:
    """The data of one event."""
    told = {"period": "ALL_TIME", "previousRank": previous, "rank": rank, "points": points}
    return {"rankChanged": {**told, "at": NOON, **other}}


async def test_a_rank_is_told_at_once_and_when_it_moves(
    mall: Mall, client: Client, alice: int
) -> None:
    """By the member's own points or another's; not when only the points change."""
    bob = await add_user(mall, "bob")
    await build(mall)
    async with watching(client, RANK, as_="alice") as alices:
        assert await alices.told() == rank(1, 1000)
        await give_points(mall, alice, 1)
        await give_points(mall, bob, 1001)
        assert await alices.is_silent()  # a tie: who got there first stands higher
        await give_points(mall, bob, 1)
        assert await alices.told() == rank(2, 1001, previous=1)
        await give_points(mall, alice, 2)
        assert await alices.told() == rank(1, 1003, previous=2)


async def test_a_second_device_begins_with_how_it_stands(
    mall: Mall, client: Client, alice: int
) -> None:
    """Points that moved no rank were not told to the first, but are what the second begins with."""
    await build(mall)
    async with watching(client, RANK, as_="alice") as first:
        assert await first.told() == rank(1, 1000)
        await give_points(mall, alice, 1)
        assert await first.is_silent()
        async with watching(client, RANK, as_="alice") as second:
            assert await second.told() == rank(1, 1001)


async def test_nothing_is_told_until_there_is_a_rank(mall: Mall, client: Client) -> None:
    bob = await add_user(mall, "bob")
    await build(mall)
    async with watching(client, RANK, as_="bob") as bobs:
        assert await bobs.is_silent()
        await give_points(mall, bob, 5)
        assert await bobs.told() == rank(1, 5)


async def test_a_day_that_ends_begins_anew(
    mall: Mall, client: Client, alice: int, clock: MovableClock
) -> None:
    """Nobody has to earn for it; the first rank of the new day has none before it."""
    clock.now = datetime(2026, 11, 21, 15, 59, 59, 900_000, tzinfo=UTC)  # nearly midnight
    await give_points(mall, alice, 7)
    await build(mall)
    bob = await add_user(mall, "bob")
    async with watching(client, RANK, as_="alice", period="DAILY") as alices:
        at = {"period": "DAILY", "at": "2026-11-21T15:59:59.900000Z"}
        assert await alices.told() == rank(1, 7, **at)
        clock.advance(seconds=1)
        await give_points(mall, bob, 9)
        assert await alices.is_silent()
        await give_points(mall, alice, 3)
        at = {"period": "DAILY", "at": "2026-11-21T16:00:00.900000Z"}
        assert await alices.told() == rank(2, 3, **at)


async def test_who_watches_another_period_is_told_of_that(
    mall: Mall, client: Client, alice: int, clock: MovableClock
) -> None:
    """Points of other days count for all time, not for today."""
    clock.advance(days=40)
    bob = await add_user(mall, "bob")
    await give_points(mall, bob, 5)
    await build(mall)
    at = {"at": "2026-12-30T04:00:00Z"}
    for period in ("DAILY", "WEEKLY", "MONTHLY"):
        async with watching(client, RANK, as_="bob", period=period) as bobs:
            assert await bobs.told() == rank(1, 5, period=period, **at)
    async with watching(client, RANK, as_="bob") as bobs:
        assert await bobs.told() == rank(2, 5, **at)
