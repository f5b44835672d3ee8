"""The baseline of telling many: a bare `websockets` server that sends prepared bytes to all.

No GraphQL, no Redis, nothing computed: what is said to `/tell` is what every other connection gets.
"""

import asyncio
import sys
from contextlib import suppress
from http import HTTPStatus

from websockets.asyncio.server import ServerConnection, broadcast, serve
from websockets.exceptions import ConnectionClosedError
from websockets.http11 import Request, Response

_others: set[ServerConnection] = set()


async def _handle(connection: ServerConnection) -> None:
    assert connection.request is not None
    if connection.request.path == "/tell":
        with suppress(ConnectionClosedError):
            async for prepared in connection:
                broadcast(_others, prepared)
        return
    _others.add(connection)
    try:
        await connection.wait_closed()
    finally:
        _others.discard(connection)


def _answer_alive(connection: ServerConnection, request: Request) -> Response | None:
    if request.path == "/livez":
        return connection.respond(HTTPStatus.OK, "alive")
    return None


async def _main(port: int) -> None:
    server = serve(
        _handle, "127.0.0.1", port, compression=None, process_request=_answer_alive, backlog=1024
    )
    async with server as serving:
        await serving.serve_forever()


if __name__ == "__main__":
    asyncio.run(_main(int(sys.argv[1])))
