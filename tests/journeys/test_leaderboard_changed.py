"""`leaderboardChanged`: the top of a board, for everybody, whenever a line of it changes."""

import asyncio
import json
import time
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from services.mall import Mall
from tests.boards import build
from tests.client import Client
from tests.clock import MovableClock
from tests.factories import add_user, execute, give_points
from tests.journeys.sockets import dial, exchange, greeting, watching

BOARD = """subscription ($top: Int! = 10) {
    leaderboardChanged(top: $top) { period totalUsers entries { rank points user { username } } }
}"""


def lines(told: dict[str, Any]) -> list[tuple[int, str, int]]:
    """Rank, name and points of each line."""
    entries = told["leaderboardChanged"]["entries"]
    return [(entry["rank"], entry["user"]["username"], entry["points"]) for entry in entries]


async def test_anybody_sees_the_top_change(mall: Mall, client: Client, alice: int) -> None:
    """Also who is not signed in; also by points alone."""
    bob = await add_user(mall, "bob")
    await build(mall)
    async with watching(client, BOARD) as anybody, watching(client, BOARD, as_="bob") as bobs:
        for watcher in (anybody, bobs):
            assert lines(await watcher.told()) == [(1, "alice", 1000)]
        await give_points(mall, bob, 5)
        for watcher in (anybody, bobs):
            assert lines(await watcher.told()) == [(1, "alice", 1000), (2, "bob", 5)]
        await give_points(mall, alice, 1)
        for watcher in (anybody, bobs):
            assert lines(await watcher.told())[0] == (1, "alice", 1001)


async def test_what_happens_below_the_top_is_not_told(
    mall: Mall, client: Client, alice: int
) -> None:
    """Although more are ranked now: only lines count."""
    del alice
    bob = await add_user(mall, "bob")
    await build(mall)
    async with watching(client, BOARD, top=1) as firsts:
        assert lines(await firsts.told()) == [(1, "alice", 1000)]
        await give_points(mall, bob, 999)
        assert await firsts.is_silent()
        await give_points(mall, bob, 2)
        assert lines(await firsts.told()) == [(1, "bob", 1001)]


async def test_a_new_picture_is_shown(mall: Mall, client: Client, alice: int) -> None:
    """At once, though nobody's points move."""
    del alice
    await build(mall)
    pictures = "subscription { leaderboardChanged(top: 1) { entries { user { avatarUrl } } } }"
    picture = "https://a.example/b.png"
    change = f'mutation {{ updateProfile(input: {{avatarUrl: "{picture}"}}) {{ __typename }} }}'
    async with watching(client, pictures) as firsts:
        told = await firsts.told()
        assert told["leaderboardChanged"]["entries"] == [{"user": {"avatarUrl": None}}]
        await client.data(change, as_="alice")
        told = await firsts.told()
        assert told["leaderboardChanged"]["entries"] == [{"user": {"avatarUrl": picture}}]


async def test_four_times_a_second_at_most(mall: Mall, client: Client, alice: int) -> None:
    """However much moves; and what is told last is how it stands."""
    await build(mall)
    async with watching(client, BOARD) as anybody:
        await anybody.told()
        began_s, given, told = time.monotonic(), 0, []
        while time.monotonic() < began_s + 2:
            await give_points(mall, alice, 1)
            given += 1
        while not told or told[-1] != [(1, "alice", 1000 + given)]:
            told.append(lines(await anybody.told()))
        elapsed_s = time.monotonic() - began_s
    assert given > 12  # else nothing had to be merged
    assert 2 <= len(told) <= 4 * elapsed_s + 1


@pytest.mark.parametrize("top", [0, -1, 101])
async def test_a_wrong_length_is_refused(client: Client, top: int) -> None:
    """Over a socket as an `error`, the connection staying open; over events as an error."""
    payload = {"query": BOARD, "variables": {"top": top}}
    async with dial(client) as socket:
        await exchange(socket, greeting(None))
        answer = await exchange(socket, {"id": "1", "type": "subscribe", "payload": payload})
        assert (answer["id"], answer["type"]) == ("1", "error")
        assert answer["payload"][0]["extensions"] == {"code": "BAD_USER_INPUT"}
        assert await exchange(socket, {"type": "ping"}) == {"type": "pong"}
    event = await client.first_event(BOARD.replace("= 10", f"= {top}"))
    assert [error["extensions"]["code"] for error in event["errors"]] == ["BAD_USER_INPUT"]


async def test_who_completes_one_of_two_keeps_the_other(
    mall: Mall, client: Client, alice: int
) -> None:
    """Two operations on one socket share a stream and end each for itself."""
    await build(mall)
    async with dial(client) as socket:
        await exchange(socket, greeting(None))
        for identifier in "ab":
            begin = {"id": identifier, "type": "subscribe", "payload": {"query": BOARD}}
            assert (await exchange(socket, begin))["id"] == identifier
        await socket.send(json.dumps({"id": "a", "type": "complete"}))
        assert await exchange(socket, {"type": "ping"}) == {"type": "pong"}
        await give_points(mall, alice, 1)
        async with asyncio.timeout(10):
            told = json.loads(await socket.recv())
        assert told["id"] == "b"
        assert lines(told["payload"]["data"]) == [(1, "alice", 1001)]


async def test_nobody_shuts_others_out_of_boards(mall: Mall, client: Client, alice: int) -> None:
    """An address may begin eight different ones, over however many sockets; users count apart."""
    del alice
    await build(mall)
    plain = "subscription { leaderboardChanged { totalUsers } }"
    async with AsyncExitStack() as stack:
        sockets = [await stack.enter_async_context(dial(client)) for _ in range(3)]
        for socket in sockets:
            await exchange(socket, greeting(None))
        for number in range(8):
            payload = {"query": plain.replace("leader", f"a{number}: leader")}
            begin = {"id": str(number), "type": "subscribe", "payload": payload}
            assert (await exchange(sockets[number % 2], begin))["type"] == "next"
        begin = {"id": "9", "type": "subscribe", "payload": {"query": plain}}
        refused = await exchange(sockets[2], begin)
        assert (refused["id"], refused["type"]) == ("9", "error")
        assert refused["payload"][0]["extensions"] == {"code": "COST_LIMITED"}
        async with watching(client, plain, as_="alice") as member:
            assert await member.told() == {"leaderboardChanged": {"totalUsers": 1}}
            assert (await exchange(sockets[2], begin))["type"] == "next"


async def test_a_membership_that_ended_is_not_shown_on(
    mall: Mall, client: Client, alice: int, clock: MovableClock
) -> None:
    """Found when the mall looks after what it shows, though the lines are the same as before."""
    clock.now = datetime(2026, 11, 20, 15, 59, 59, 500_000, tzinfo=UTC)
    await build(mall)
    ends_at = clock.now + timedelta(milliseconds=200)
    await execute(mall, "INSERT INTO user_vip VALUES (:u, 2, :ends)", u=alice, ends=ends_at)
    levels = "subscription { leaderboardChanged(top: 1) { entries { user { vipLevel } } } }"
    async with watching(client, levels) as firsts:
        told = await firsts.told()
        assert told["leaderboardChanged"]["entries"] == [{"user": {"vipLevel": 2}}]
        clock.advance(milliseconds=300)
        told = await firsts.told()
        assert told["leaderboardChanged"]["entries"] == [{"user": {"vipLevel": 0}}]
    await execute(mall, "DELETE FROM user_vip")  # nobody bought it, say the books
