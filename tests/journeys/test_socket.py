"""Queries over a WebSocket, signed in by `connection_init`."""

import json

import pytest
from websockets.exceptions import ConnectionClosed

from services.mall import Mall
from tests.client import Client
from tests.factories import add_user, give_points
from tests.journeys.sockets import dial, exchange, greeting


async def test_a_member_asks_over_a_socket(mall: Mall, client: Client) -> None:
    """The payload of `connection_init` carries what the header carries elsewhere."""
    await give_points(mall, await add_user(mall, "alice"), 70)
    query = {"id": "1", "type": "subscribe", "payload": {"query": "{ balance { available } }"}}
    async with dial(client) as socket:
        assert (await exchange(socket, greeting(client.token("alice"))))["type"] == "connection_ack"
        answer = await exchange(socket, query)
    assert answer["payload"]["data"] == {"balance": {"available": 70}}


async def test_a_bad_token_closes_the_socket(client: Client) -> None:
    """4401, before anything is acknowledged."""
    async with dial(client) as socket:
        with pytest.raises(ConnectionClosed) as closed:
            await exchange(socket, greeting("forged"))
    assert closed.value.rcvd
    assert closed.value.rcvd.code == 4401


async def test_a_socket_ends_with_its_token(client: Client) -> None:
    """Closed with 4401 when the token expires, not when the client next says something."""
    async with dial(client) as socket:
        short = greeting(client.token("alice", lifetime_s=1))
        assert (await exchange(socket, short))["type"] == "connection_ack"
        with pytest.raises(ConnectionClosed) as closed:
            await socket.recv()
    assert closed.value.rcvd
    assert closed.value.rcvd.code == 4401


async def test_a_socket_never_answers_from_the_past(mall: Mall, client: Client) -> None:
    """What one operation loaded is not the truth of the next on the same connection."""
    user_id = await add_user(mall, "alice")
    query = {"type": "subscribe", "payload": {"query": "{ balance { available } }"}}
    seen: list[int] = []
    async with dial(client) as socket:
        await exchange(socket, greeting(client.token("alice")))
        for number in ("1", "2"):
            answer = await exchange(socket, {**query, "id": number})
            seen.append(answer["payload"]["data"]["balance"]["available"])
            assert json.loads(await socket.recv())["type"] == "complete"
            await give_points(mall, user_id, 70)
    assert seen == [0, 70]
