"""A WebSocket of a client of the mall."""

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


def greeting(token: str | None) -> dict[str, Any]:
    """The `connection_init` of whoever has that token."""
    payload = None if token is None else {"Authorization": f"Bearer {token}"}
    return {"type": "connection_init", "payload": payload}
