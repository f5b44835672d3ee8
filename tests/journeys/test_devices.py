"""Registering devices: a token belongs to the last who registered it, and to nobody else."""

import asyncio
from typing import Any

import pytest

from models.notifications import DevicePlatform
from schema.ids import encode_id
from services.mall import Mall
from services.notifications.register import MOST_DEVICES, register_device
from services.transaction import transaction
from tests.client import Client
from tests.clock import MovableClock
from tests.factories import add_user, execute, fingerprint_of_database
from tests.pushes import draft, plan_now

REGISTER = """mutation ($input: RegisterDeviceInput!) { registerDevice(input: $input) {
  __typename
  ... on Problem { code message }
  ... on InvalidInput { field }
  ... on RegisterDeviceSuccess { device { id platform createdAt lastSeenAt } }
} }"""
UNREGISTER = """mutation ($input: UnregisterDeviceInput!) { unregisterDevice(input: $input) {
  __typename
  ... on Problem { code message }
  ... on InvalidInput { field }
  ... on UnregisterDeviceSuccess { removed }
} }"""
NODE = "query ($id: ID!) { node(id: $id) { id } }"
INVALID_TOKENS = ["", " ", "x" * 1025, "é", "令牌", "a\x00", "a\n", "\x7f", "\U0001f4f1"]
NOON = "2026-11-20T04:00:00Z"


async def register(
    client: Client, name: str, token: str, platform: str = "IOS", expects: str = "device"
) -> Any:
    """Register a device; returns it, or whatever else is expected of the answer."""
    asked = {"platform": platform, "token": token}
    answer = (await client.data(REGISTER, {"input": asked}, as_=name))["registerDevice"]
    return answer[expects]


async def unregister(client: Client, name: str, token: str) -> bool:
    """Whether a device of that name's was removed."""
    answer = await client.data(UNREGISTER, {"input": {"token": token}}, as_=name)
    return answer["unregisterDevice"]["removed"]


async def owners(mall: Mall) -> dict[str, str]:
    """Who has which token."""
    rows = await execute(
        mall, "SELECT token, username FROM devices JOIN users ON users.id = user_id"
    )
    return {row.token: row.username for row in rows}


async def test_a_device_is_registered_and_seen_again(client: Client, clock: MovableClock) -> None:
    """The same one: with the same id, seen later; another platform is taken over."""
    first = await register(client, "alice", "token")
    assert first == {**first, "platform": "IOS", "createdAt": NOON, "lastSeenAt": NOON}
    clock.advance(days=1)
    again = await register(client, "alice", "token", "WEB")
    later = {"platform": "WEB", "lastSeenAt": "2026-11-21T04:00:00Z"}
    assert again == {**first, **later}
    assert await client.data(NODE, {"id": again["id"]}, as_="alice") == {
        "node": {"id": again["id"]}
    }


async def test_a_token_moves_to_the_last_who_registers_it(
    mall: Mall, client: Client, clock: MovableClock
) -> None:
    """As a device of theirs: nothing tells them since when somebody else had it."""
    alices = await register(client, "alice", "token")
    clock.advance(days=1)
    bobs = await register(client, "bob", "token", "ANDROID")
    assert await owners(mall) == {"token": "bob"}
    assert bobs["createdAt"] == bobs["lastSeenAt"] == "2026-11-21T04:00:00Z"
    for name in ("alice", "bob"):
        assert await client.data(NODE, {"id": alices["id"]}, as_=name) == {"node": None}
    assert await client.data(NODE, {"id": bobs["id"]}, as_="alice") == {"node": None}
    assert not await unregister(client, "alice", "token")
    assert await owners(mall) == {"token": "bob"}


async def test_a_removed_device_gets_nothing(mall: Mall, client: Client) -> None:
    """Removing it again removes nothing; a push then says why it was not sent."""
    await register(client, "alice", "token")
    assert await unregister(client, "alice", "token")
    assert not await unregister(client, "alice", "token")
    assert await owners(mall) == {}
    (alice,) = (await execute(mall, "SELECT id FROM users"))[0]
    (planned,) = await plan_now(mall, draft(alice, "news"))
    assert planned.reason == "no_device"


@pytest.mark.parametrize("name", ["alice", "bob"])
async def test_two_who_register_one_token_at_once(mall: Mall, client: Client, name: str) -> None:
    """Exactly one has it in the end, and each was answered; it may have been somebody's before."""
    names = ["alice", "bob", "carol"]
    for each in names:
        await client.user_id(each)
    await register(client, name, "token")
    devices = await asyncio.gather(
        *(register(client, names[number % 3], "token") for number in range(30))
    )
    rows = await execute(mall, "SELECT id FROM devices")
    assert len(rows) == 1
    assert encode_id("Device", rows[0].id) in {device["id"] for device in devices}


async def test_the_longest_unseen_goes(mall: Mall, client: Client, clock: MovableClock) -> None:
    """Of more than 20; one that was seen again stays, and so do other members' devices."""
    await register(client, "bob", "bobs")
    for number in range(MOST_DEVICES):
        clock.advance(hours=1)
        await register(client, "alice", f"token {number}")
    clock.advance(hours=1)
    await register(client, "alice", "token 0")
    assert len(await owners(mall)) == MOST_DEVICES + 1
    clock.advance(hours=1)
    await register(client, "alice", "one more")
    left = await owners(mall)
    assert len(left) == MOST_DEVICES + 1
    assert {"token 0", "one more", "bobs"} <= set(left)
    assert "token 1" not in left
    await register(client, "alice", "bobs")
    left = await owners(mall)
    assert list(left.values()) == ["alice"] * MOST_DEVICES
    assert "token 2" not in left


async def test_many_devices_at_once(mall: Mall, client: Client) -> None:
    """Never more than 20, though none sees the others."""
    await client.user_id("alice")
    tokens = [f"token {number}" for number in range(3 * MOST_DEVICES)]
    await asyncio.gather(*(register(client, "alice", token) for token in tokens))
    assert list((await owners(mall)).values()) == ["alice"] * MOST_DEVICES


async def test_a_device_that_is_leaving_is_not_waited_for(mall: Mall, client: Client) -> None:
    """The one that would go is being registered by Bob: two who swap devices never deadlock."""
    bob = await add_user(mall, "bob")
    for number in range(MOST_DEVICES):
        await register(client, "alice", f"token {number}")
    async with transaction(mall.stores.write) as session:
        web = DevicePlatform.WEB
        await register_device(session, bob, web, "token 0", mall.clock())
        await register(client, "alice", "one more")
    left = await owners(mall)
    assert left.pop("token 0") == "bob"
    assert list(left.values()) == ["alice"] * MOST_DEVICES


@pytest.mark.parametrize("token", INVALID_TOKENS, ids=ascii)
async def test_a_token_that_no_provider_hands_out(mall: Mall, client: Client, token: str) -> None:
    """1 to 1,024 printable ASCII characters; both mutations say so and nothing changes."""
    await add_user(mall, "alice", locale="en", last_login_at=mall.clock())
    before = await fingerprint_of_database(mall)
    refused = {
        "__typename": "InvalidInput",
        "code": "INVALID_INPUT",
        "message": "The token needs 1 to 1,024 characters, as the device was given them.",
        "field": ["token"],
    }
    for query, asked in ((REGISTER, {"platform": "WEB"}), (UNREGISTER, {})):
        answer = await client.data(query, {"input": {**asked, "token": token}}, as_="alice")
        assert list(answer.values()) == [refused]
    assert await fingerprint_of_database(mall) == before


async def test_the_longest_and_oddest_token_that_is_good(mall: Mall, client: Client) -> None:
    """All of printable ASCII, and 1,024 characters."""
    for token in ("".join(map(chr, range(32, 127))), "x" * 1024, "~"):
        await register(client, "alice", token, "ANDROID")
        assert await owners(mall) == {token: "alice"}
        assert await unregister(client, "alice", token)


async def test_the_suspended_register_too(mall: Mall, client: Client) -> None:
    """No points move."""
    await add_user(mall, "alice", suspended_until=mall.clock().replace(year=2099))
    await register(client, "alice", "token")
    assert await unregister(client, "alice", "token")
