"""A new name at the identity provider: followed from the first token that says it, seen at once."""

import asyncio
import time
from dataclasses import replace
from typing import Any

import pytest

from services.mall import Mall
from services.transaction import transaction
from services.users.claims import Claims
from services.users.renames import rename_users
from tests.boards import build
from tests.client import Client
from tests.factories import add_user, execute, give_points
from tests.journeys.sockets import watching

_ME = "{ me { username } }"
_BOARD = "{ leaderboard { entries { user { username } } } }"


def token(client: Client, name: str | None, age_s: float | None, **claims: Any) -> str:
    """A valid token of alice, issued some seconds ago; None: without a name, or an instant."""
    said = {"sub": "alice", "roles": ["member"], "exp": int(time.time()) + 600, **claims}
    if name is not None:
        said["preferred_username"] = name
    if age_s is not None:
        said["iat"] = time.time() - age_s
    return client.sign(said)


async def called(client: Client, token: str) -> str:
    """The member's own name, for that token."""
    return (await client.post(_ME, None, token))["data"]["me"]["username"]


async def on_the_board(client: Client) -> list[str]:
    """The names that anybody sees."""
    entries = (await client.data(_BOARD))["leaderboard"]["entries"]
    return [entry["user"]["username"] for entry in entries]


@pytest.fixture
async def alice(mall: Mall, client: Client) -> int:
    """Alice, who is on the boards, by a token of a hundred seconds ago."""
    assert await called(client, token(client, "Alice", 100)) == "Alice"
    ((user_id,),) = await execute(mall, "SELECT id FROM users WHERE external_id = 'alice'")
    await build(mall)
    await give_points(mall, user_id, 5)
    await mall.movements.told()
    assert await on_the_board(client) == ["Alice"]
    return user_id


@pytest.mark.usefixtures("alice")
async def test_a_new_name_is_followed(client: Client) -> None:
    """By the request that brings it, and on the boards."""
    assert await called(client, token(client, "Alicia", 50)) == "Alicia"
    assert await on_the_board(client) == ["Alicia"]


@pytest.mark.usefixtures("alice")
@pytest.mark.parametrize(
    ("name", "seconds_later"), [("Old", -1), ("Same", 0), ("Unknown", None), (None, 9), ("\x00", 9)]
)
async def test_what_is_not_newer_renames_nobody(
    mall: Mall, client: Client, name: str | None, seconds_later: float | None
) -> None:
    """An older token, one of that instant or of no known one, one that says no name."""
    issued = "SELECT username, named_at FROM users WHERE external_id = 'alice'"
    before = await execute(mall, issued)
    said = {} if name is None else {"preferred_username": name}
    if seconds_later is not None:
        said |= {"iat": before[0].named_at.timestamp() + seconds_later}
    assert await called(client, token(client, None, None, **said)) == "Alice"
    assert await execute(mall, issued) == before


async def test_an_old_token_does_not_bring_the_old_name_back(client: Client, alice: int) -> None:
    """Both are valid, on two devices that ask in turn."""
    assert alice
    old, new = token(client, "Alice", 90), token(client, "Alicia", 50)
    for each in (new, old, new, old):
        assert await called(client, each) == "Alicia"


async def test_following_costs_one_write(mall: Mall, client: Client, alice: int) -> None:
    """However many requests the new token makes, and the old one beside it."""
    new, old = token(client, "Alicia", 50), token(client, "Alice", 90)
    await called(client, new)
    version = "SELECT xmin, ctid FROM users WHERE id = :id"
    written = await execute(mall, version, id=alice)
    for each in (new, old, new):
        await called(client, each)
    assert await execute(mall, version, id=alice) == written


async def test_the_newest_of_many_wins(mall: Mall, client: Client, alice: int) -> None:
    """Whatever order they come in, at once."""
    claims = Claims("alice", frozenset(), None, None, None, 0)
    begun_s = time.time() - 90
    said = [
        replace(claims, name=f"name-{number}", issued_at=begun_s + number) for number in range(40)
    ]
    shuffled = said[::2] + said[1::2][::-1]
    await asyncio.gather(*(mall.renames.submit(each) for each in shuffled))
    await mall.movements.told()
    assert await execute(mall, "SELECT username FROM users WHERE id = :id", id=alice) == [
        ("name-39",)
    ]
    assert await on_the_board(client) == ["name-39"]


def says(name: str, age_s: float) -> Claims:
    """What a token of alice says that was issued some seconds ago."""
    return Claims("alice", frozenset(), name, None, None, 0, time.time() - age_s)


_NAME = "SELECT username FROM users WHERE id = :id"


async def test_an_older_token_comes_too_late_in_another_process(mall: Mall, alice: int) -> None:
    """Each in a transaction of its own, the newer first: there is nothing to compare them by but
    what is written.
    """
    for name, age_s in (("Newer", 50), ("Older", 60)):
        async with transaction(mall.stores.write) as session:
            await rename_users(session, [says(name, age_s)])
        assert await execute(mall, _NAME, id=alice) == [("Newer",)]


@pytest.mark.parametrize(("age_s", "name"), [(60, "First"), (40, "Second")])
async def test_a_token_waits_for_another_and_is_compared_with_it(
    mall: Mall, alice: int, age_s: float, name: str
) -> None:
    """It began when the other's name was not to be seen yet."""
    waiting = """SELECT count(*) FROM pg_stat_activity
        WHERE datname = current_database() AND wait_event_type = 'Lock'"""

    async def rename_second() -> None:
        async with transaction(mall.stores.write) as session:
            await rename_users(session, [says("Second", age_s)])

    async with transaction(mall.stores.write) as session, asyncio.timeout(10):
        await rename_users(session, [says("First", 50)])
        second = asyncio.create_task(rename_second())
        while await execute(mall, waiting) != [(1,)]:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    await second
    assert await execute(mall, _NAME, id=alice) == [(name,)]


async def test_whom_nobody_named_is_named(mall: Mall, client: Client) -> None:
    """By the first token that has a name; an imported member too."""
    assert (await called(client, token(client, None, 100))).startswith("member-")
    assert await called(client, token(client, "Alice", 100)) == "Alice"
    await add_user(mall, "bob", username="number 7")
    assert await called(client, token(client, "Bob", 100, sub="bob")) == "Bob"


@pytest.mark.usefixtures("alice")
async def test_who_watches_a_board_sees_it_at_once(client: Client) -> None:
    """Though nobody's points move."""
    names = "subscription { leaderboardChanged(top: 1) { entries { user { username } } } }"
    async with watching(client, names) as anybody:
        told = await anybody.told()
        assert told["leaderboardChanged"]["entries"] == [{"user": {"username": "Alice"}}]
        await called(client, token(client, "Alicia", 50))
        told = await anybody.told()
        assert told["leaderboardChanged"]["entries"] == [{"user": {"username": "Alicia"}}]
