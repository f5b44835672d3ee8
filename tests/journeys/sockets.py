"""A WebSocket of a client of the mall."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.typing import Subprotocol

from tests.client import Client


@asynccontextmanager
async def dial(client: Client) -> AsyncIterator[ClientConnection]:
    """A socket to the server, over which nothing was said yet."""
    address = client.address.replace("http://", "ws://") + "/graphql"
    protocol = Subprotocol("graphql-transport-ws")
    async with connect(address, subprotocols=[protocol]) as socket:
        yield socket


async def exchange(socket: ClientConnection, message: dict[str, Any]) -> dict[str, Any]:
    """Say something, and hear what comes next."""
    await socket.send(json.dumps(message))
    return json.loads(await socket.recv())


class Watching:
    """One subscription on a socket of its own: what it is told, one after another."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket

    async def told(self, within_s: float = 10) -> dict[str, Any]:
        """The data of the next frame, which comes in time."""
        async with asyncio.timeout(within_s):
            message = json.loads(await self.socket.recv())
        assert message["type"] == "next", message
        assert "errors" not in message["payload"], message
        return message["payload"]["data"]

    async def is_silent(self, for_s: float = 0.6) -> bool:
        """Whether nothing is said for more than two ticks."""
        try:
            async with asyncio.timeout(for_s):
                await self.socket.recv()
        except TimeoutError:
            return True
        return False


@asynccontextmanager
async def watching(
    client: Client, subscription: str, *, as_: str | None = None, **variables: Any
) -> AsyncIterator[Watching]:
    """A subscription of the member of that name, or of nobody, that has begun."""
    payload = {"query": subscription, "variables": variables}
    async with dial(client) as socket:
        answer = await exchange(socket, greeting(client.token(as_) if as_ else None))
        assert answer["type"] == "connection_ack", answer
        await socket.send(json.dumps({"id": "1", "type": "subscribe", "payload": payload}))
        yield Watching(socket)


def greeting(token: str | None) -> dict[str, Any]:
    """The `connection_init` of whoever has that token."""
    payload = None if token is None else {"Authorization": f"Bearer {token}"}
    return {"type": "connection_init", "payload": payload}
