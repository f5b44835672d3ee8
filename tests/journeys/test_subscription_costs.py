"""What subscriptions may cost, whose work is done anew with every change."""

import asyncio
import json
from contextlib import AsyncExitStack
from typing import Any

from websockets.asyncio.client import ClientConnection

from tests.client import Client
from tests.journeys.sockets import dial, exchange, greeting


def balance(pages: int) -> str:
    """A subscription that costs 101 for each of these pages, and 1."""
    lots = " ".join(f"p{page}: lots(first: 100) {{ nodes {{ id }} }}" for page in range(pages))
    return f"subscription {{ balanceChanged {{ {lots} }} }}"


async def subscribed(socket: ClientConnection, identifier: str, query: str) -> dict[str, Any]:
    """The first that is said of a subscription."""
    payload = {"query": query}
    return await exchange(socket, {"id": identifier, "type": "subscribe", "payload": payload})


async def test_one_costs_less_than_what_is_asked_once(client: Client, alice: int) -> None:
    """Over sockets and streams; a query of the same cost is answered."""
    del alice
    numbers = {"requested": 506, "maximum": 500}
    streamed = await client.first_event(balance(5), client.token("alice"))
    async with dial(client) as socket:
        await exchange(socket, greeting(client.token("alice")))
        refused = await subscribed(socket, "1", balance(5))
        assert refused["type"] == "error"
        for error in (streamed["errors"][0], refused["payload"][0]):
            assert error["extensions"] == {"code": "COST_LIMITED", "cost": numbers}
        asked = balance(5).replace("subscription { balanceChanged", "query { balance")
        assert (await subscribed(socket, "1", asked))["type"] == "next"


async def test_those_of_a_connection_are_added_up_while_they_are_open(
    client: Client, alice: int
) -> None:
    del alice
    async with dial(client) as socket:
        await exchange(socket, greeting(client.token("alice")))
        for number in range(4):
            assert (await subscribed(socket, str(number), balance(4)))["type"] == "next"
        refused = await subscribed(socket, "more", balance(4))
        (error,) = refused["payload"]
        assert "of one connection" in error["message"]
        assert error["extensions"]["cost"] == {"requested": 5 * 405, "maximum": 2_000}
        await socket.send(json.dumps({"id": "0", "type": "complete"}))
        assert await exchange(socket, {"type": "ping"}) == {"type": "pong"}
        assert (await subscribed(socket, "more", balance(4)))["type"] == "next"


async def test_those_of_a_member_are_added_up_over_all_connections(
    client: Client, alice: int
) -> None:
    """Sockets and streams: 20 connections are no 20 times as much work for one movement."""
    del alice
    async with AsyncExitStack() as stack:
        one, other, of_bob = [await stack.enter_async_context(dial(client)) for _ in range(3)]
        for socket, name in ((one, "alice"), (other, "alice"), (of_bob, "bob")):
            await exchange(socket, greeting(client.token(name)))
        for number in range(3):
            assert (await subscribed(one, str(number), balance(4)))["type"] == "next"
        assert (await subscribed(other, "1", balance(4)))["type"] == "next"
        refused = await subscribed(other, "2", balance(4))
        streamed = await client.first_event(balance(4), client.token("alice"))
        for error in (refused["payload"][0], streamed["errors"][0]):
            assert "of one user" in error["message"]
            cost = {"requested": 5 * 405, "maximum": 2_000}
            assert error["extensions"] == {"code": "COST_LIMITED", "cost": cost}
        board = "subscription { leaderboardChanged { entries { rank } } }"
        assert (await subscribed(other, "board", board))["type"] == "next"  # everybody's
        assert (await subscribed(of_bob, "1", balance(4)))["type"] == "next"
        await one.send(json.dumps({"id": "0", "type": "complete"}))
        assert await exchange(one, {"type": "ping"}) == {"type": "pong"}
        assert "data" in await client.first_event(balance(4), client.token("alice"))


async def test_a_stream_that_ended_is_no_longer_counted(client: Client, alice: int) -> None:
    """As soon as the server knows: six after each other, of which four fit."""
    del alice
    async with asyncio.timeout(20):
        for _ in range(6):
            said = {"errors": "nothing yet"}
            while "errors" in said:
                said = await client.first_event(balance(4), client.token("alice"))
