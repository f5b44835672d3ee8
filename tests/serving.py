"""A real server in the test's own event loop, so that the test's clock is the server's."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Generator

import uvicorn

from app import MallApplication, create_app
from commands.web import web_options
from services.calendar import Clock
from settings import Settings


class _Server(uvicorn.Server):
    """Leaves the signals of the test run alone."""

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None]:
        yield


@contextlib.asynccontextmanager
async def serving(settings: Settings, clock: Clock) -> AsyncIterator[str]:
    """The address of a server with these settings, until the block ends."""
    async with serving_app(create_app(settings, clock), settings) as address:
        yield address


@contextlib.asynccontextmanager
async def serving_app(app: MallApplication, settings: Settings) -> AsyncIterator[str]:
    """The address at which this application is served, until the block ends."""
    # The protocol by name: only then does asyncio switch Nagle's algorithm off, which costs 40 ms
    # an answer.
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP) as listening:
        listening.bind(("127.0.0.1", 0))
        config = uvicorn.Config(
            app,
            lifespan="on",
            **{**web_options(settings.server), "log_level": "warning"},
        )
        server = _Server(config)
        task = asyncio.create_task(server.serve(sockets=[listening]))
        while not server.started:
            if task.done():
                task.result()
            await asyncio.sleep(0.005)
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        server.should_exit = True
        await task
