"""Members on the boards: who stands where, what is missing to the next, who they are."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from models.leaderboard import LeaderboardPeriod
from schema.ids import encode_id
from services.leaderboard.boards import BOARDS_KEY
from services.leaderboard.snapshot import take_snapshot
from services.mall import Mall
from services.transaction import transaction
from services.users.erase import erase_user
from tests.boards import build
from tests.client import Client
from tests.clock import MovableClock
from tests.factories import add_item, add_user, execute, give_points
from tests.journeys.steps import check_in, exchange

BOARD = """
query ($period: LeaderboardPeriod!, $top: Int!) {
  leaderboard(period: $period, top: $top) {
    period startsAt endsAt totalUsers
    entries { rank points user { id username avatarUrl vipLevel } }
  }
}
"""
RANK = """
query ($period: LeaderboardPeriod!, $days: Int, $window: Int) {
  myRank(period: $period) {
    period rank points topPercentage pointsToNext
    history(days: $days) { date rank points }
    around(window: $window) { rank points user { username } }
  }
}
"""


async def board(client: Client, period: str = "ALL_TIME", top: int = 10) -> dict[str, Any]:
    """A board as anyone sees it."""
    return (await client.data(BOARD, {"period": period, "top": top}))["leaderboard"]


async def names(client: Client, period: str = "ALL_TIME") -> list[tuple[int, str, int]]:
    """(rank, name, points) of a board."""
    entries = (await board(client, period))["entries"]
    return [(entry["rank"], entry["user"]["username"], entry["points"]) for entry in entries]


async def rank_of(client: Client, name: str, period: str = "ALL_TIME", **arguments: Any) -> Any:
    """A member's own place."""
    variables = {"period": period, "days": 7, "window": 5, **arguments}
    return (await client.data(RANK, variables, as_=name))["myRank"]


async def until(question: Callable[[], Awaitable[Any]], expected: Any) -> None:
    """Ask until that is the answer: what a commit changes follows it in the background."""
    answer = await question()
    for _ in range(100):
        if answer == expected:
            return
        await asyncio.sleep(0.05)
        answer = await question()
    assert answer == expected


async def keep_ranks(mall: Mall) -> None:
    """Keep the ranks of all days that have ended."""
    while True:
        async with transaction(mall.stores.bulk) as session:
            if await take_snapshot(session, mall.clock(), mall.zone) is None:
                return


@pytest.fixture(params=["redis", "postgresql"])
async def stores(request: pytest.FixtureRequest, mall: Mall) -> AsyncIterator[str]:
    """Answers come from boards that are built, and from PostgreSQL when there are none."""
    await mall.stores.redis.flushdb()
    if request.param == "redis":
        await build(mall)
    yield request.param
    is_whole = await mall.stores.redis.exists(BOARDS_KEY) == 1
    assert is_whole is (request.param == "redis")


@pytest.fixture
async def five(mall: Mall, stores: str, clock: MovableClock) -> list[int]:
    """Ann to Eve, who earned 50, 40, 30, 30 (later) and 10 points."""
    users: list[int] = []
    for name, points in zip(("ann", "ben", "cat", "dan", "eve"), (50, 40, 30, 30, 10), strict=True):
        users.append(await add_user(mall, name, avatar_url=f"https://cdn.test/{name}.png"))
        await give_points(mall, users[-1], points)
        clock.advance(seconds=1)
    await mall.movements.told()
    return users


async def test_a_board_shows_the_first(client: Client, five: list[int]) -> None:
    """In order, who got there first above; with names, pictures, and how many are ranked."""
    seen = await board(client, top=3)
    assert seen["totalUsers"] == 5
    assert (seen["period"], seen["startsAt"], seen["endsAt"]) == ("ALL_TIME", None, None)
    assert seen["entries"][0] == {
        "rank": 1,
        "points": 50,
        "user": {
            "id": encode_id("User", five[0]),
            "username": "ann",
            "avatarUrl": "https://cdn.test/ann.png",
            "vipLevel": 0,
        },
    }
    assert [entry["user"]["username"] for entry in seen["entries"]] == ["ann", "ben", "cat"]
    assert (await names(client))[2:] == [(3, "cat", 30), (4, "dan", 30), (5, "eve", 10)]


@pytest.mark.usefixtures("stores")
async def test_an_empty_board_has_its_days(client: Client) -> None:
    """The mall's day, the week from Monday, the month: as long as nobody has earned."""
    ends = {
        "DAILY": ("2026-11-19T16:00:00Z", "2026-11-20T16:00:00Z"),
        "WEEKLY": ("2026-11-15T16:00:00Z", "2026-11-22T16:00:00Z"),
        "MONTHLY": ("2026-10-31T16:00:00Z", "2026-11-30T16:00:00Z"),
        "ALL_TIME": (None, None),
    }
    for period, (starts_at, ends_at) in ends.items():
        assert await board(client, period) == {
            "period": period,
            "startsAt": starts_at,
            "endsAt": ends_at,
            "totalUsers": 0,
            "entries": [],
        }
        assert await rank_of(client, "nobody", period) is None


@pytest.mark.usefixtures("five")
async def test_a_member_knows_their_place(client: Client) -> None:
    """The share of those above, what is missing to the next, and who stands around."""
    dan = await rank_of(client, "dan", window=1)
    assert (dan["rank"], dan["points"], dan["topPercentage"], dan["pointsToNext"]) == (4, 30, 60, 1)
    around = [(each["rank"], each["user"]["username"]) for each in dan["around"]]
    assert around == [(3, "cat"), (4, "dan"), (5, "eve")]
    ann = await rank_of(client, "ann", window=2)
    assert (ann["rank"], ann["topPercentage"], ann["pointsToNext"]) == (1, 0, None)
    assert [each["rank"] for each in ann["around"]] == [1, 2, 3]
    eve = await rank_of(client, "eve", "DAILY", window=None, days=None)
    assert (eve["rank"], eve["pointsToNext"], eve["history"]) == (5, 21, [])
    assert [each["rank"] for each in eve["around"]] == [1, 2, 3, 4, 5]


@pytest.mark.parametrize(
    ("query", "name"),
    [
        ("{ leaderboard(top: 0) { totalUsers } }", None),
        ("{ leaderboard(top: 101) { totalUsers } }", None),
        ("{ myRank { around(window: 0) { rank } } }", "ann"),
        ("{ myRank { around(window: 51) { rank } } }", "ann"),
        ("{ myRank { history(days: 0) { rank } } }", "ann"),
        ("{ myRank { history(days: 367) { rank } } }", "ann"),
    ],
)
@pytest.mark.usefixtures("five")
async def test_sizes_have_limits(client: Client, query: str, name: str | None) -> None:
    """1 to 100 lines, 1 to 50 on either side, 1 to 366 days."""
    assert await client.error_code(query, as_=name) == "BAD_USER_INPUT"


async def test_whoever_earns_moves_up_and_spending_moves_nobody(
    mall: Mall, client: Client, five: list[int]
) -> None:
    """Earned by a check-in through the server; an exchange and an adjustment change no rank."""
    await give_points(mall, five[2], 8)
    await check_in(client, "cat")
    moved = [(1, "ann", 50), (2, "cat", 43), (3, "ben", 40), (4, "dan", 30), (5, "eve", 10)]
    await until(lambda: names(client), moved)
    await exchange(client, "ann", await add_item(mall, points=50))
    operator = client.token("boss", "operator")
    adjusted = await client.post(
        "mutation ($input: AdjustPointsInput!) { adjustPoints(input: $input) { __typename } }",
        {
            "input": {
                "userId": encode_id("User", five[4]),
                "points": 1000,
                "reason": "sorry",
                "idempotencyKey": "key",
            }
        },
        operator,
    )
    assert adjusted["data"]["adjustPoints"]["__typename"] == "AdjustPointsSuccess"
    await give_points(mall, five[3], 1)
    moved[3] = (4, "dan", 31)
    await until(lambda: names(client), moved)


@pytest.mark.usefixtures("stores")
async def test_points_of_before_do_not_count(mall: Mall, client: Client) -> None:
    """What a member brought along was earned elsewhere."""
    newcomer, ann = await add_user(mall, "newcomer"), await add_user(mall, "ann")
    await give_points(mall, newcomer, 1000, source="opening_balance")
    await give_points(mall, ann, 1)
    await until(lambda: names(client), [(1, "ann", 1)])


async def test_a_new_day_starts_empty(
    mall: Mall, client: Client, clock: MovableClock, five: list[int]
) -> None:
    """The daily board does; all time goes on. What is earned then stands on both."""
    clock.now = clock.now.replace(hour=16, minute=0)
    await until(lambda: names(client, "DAILY"), [])
    await give_points(mall, five[4], 5)
    await until(lambda: names(client, "DAILY"), [(1, "eve", 5)])
    assert (await names(client, "WEEKLY"))[4] == (5, "eve", 15)


async def test_history_is_of_days_that_have_ended(
    mall: Mall, client: Client, clock: MovableClock, five: list[int]
) -> None:
    """One entry a day, oldest first; none of days without a rank, and none of others' ranks."""
    for _ in range(2):
        clock.advance(days=1)
        await give_points(mall, five[1], 30)
    await keep_ranks(mall)
    ben = await rank_of(client, "ben")
    assert ben["history"] == [
        {"date": "2026-11-20", "rank": 2, "points": 40},
        {"date": "2026-11-21", "rank": 1, "points": 70},
    ]
    assert (await rank_of(client, "ben", days=1))["history"] == ben["history"][1:]
    assert (await rank_of(client, "eve", "ALL_TIME"))["history"][1]["rank"] == 5
    clock.advance(days=1)
    await give_points(mall, five[4], 1)
    await until(lambda: names(client, "DAILY"), [(1, "eve", 1)])
    eve = await rank_of(client, "eve", "DAILY")
    assert eve["history"] == [{"date": "2026-11-20", "rank": 5, "points": 10}]


UPDATE = 'mutation { updateProfile(input: {avatarUrl: "https://cdn.test/new.png"}) { __typename } }'


@pytest.mark.usefixtures("five")
async def test_a_new_picture_shows_at_once(client: Client) -> None:
    """In the very next answer, though profiles are remembered."""
    await board(client)
    await client.data(UPDATE, as_="ann")
    assert (await board(client))["entries"][0]["user"]["avatarUrl"] == "https://cdn.test/new.png"


async def test_a_membership_shows(mall: Mall, client: Client, five: list[int]) -> None:
    """The highest level that runs, from the commit that starts it until it ends."""
    assert (await board(client))["entries"][0]["user"]["vipLevel"] == 0
    item = await add_item(mall, type="vip", points=50, config={"level": 3, "days": 30})
    await exchange(client, "ann", item)

    async def level() -> int:
        return (await board(client))["entries"][0]["user"]["vipLevel"]

    await until(level, 3)
    assert five


async def test_who_was_erased_is_on_no_board(
    mall: Mall, client: Client, clock: MovableClock, five: list[int]
) -> None:
    """Neither in Redis nor in the history, and never by the name that took the old one's place."""
    clock.advance(days=1)
    await keep_ranks(mall)
    async with transaction(mall.stores.write) as session:
        erased = await erase_user(session, "ann", mall.clock(), timezone=mall.zone.key)
    assert erased is not None
    seen = await names(client)
    assert not [name for _, name, _ in seen if name.startswith(("ann", "erased"))]
    left = [(1, "ben", 40), (2, "cat", 30), (3, "dan", 30), (4, "eve", 10)]
    await until(lambda: names(client), left)
    kept = "SELECT count(*) FROM rank_history WHERE user_id = :id"
    assert await execute(mall, kept, id=five[0]) == [(0,)]


def test_periods_are_those_of_the_contract() -> None:
    """By the names that clients use."""
    assert [p.name for p in LeaderboardPeriod] == ["DAILY", "WEEKLY", "MONTHLY", "ALL_TIME"]
