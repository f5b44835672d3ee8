"""A small schema behind the real endpoint, on a real server, for the tests of the transport."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, NewType

import strawberry
import uvicorn
from starlette.requests import HTTPConnection
from strawberry.scalars import JSON
from strawberry.schema.config import StrawberryConfig

from commands.web import web_options
from resolvers.endpoint import GraphQLEndpoint
from resolvers.transport_errors import Description, RefuseConnection
from settings import ServerSettings

SECRET = "SELECT password FROM users"
MAX_BODY_BYTES = 20_000
MAX_FRAME_BYTES = 15_000


class NotAllowedError(Exception):
    """An exception that the test's table knows."""


class AwayError(Exception):
    """Another one."""


@dataclass
class Caller:
    """What the tests use as context."""

    connection: HTTPConnection
    payloads: list[dict[str, Any]] = field(default_factory=list)


@strawberry.enum
class Colour(Enum):
    RED = "red"


@strawberry.input
class Tree:
    name: str
    children: list["Tree"] | None = None


def _parse_code(value: str) -> str:
    if value != "good":
        raise ValueError(SECRET)
    return value


Code = NewType("Code", str)
_CODE = strawberry.scalar(name="Code", serialize=str, parse_value=_parse_code)


@strawberry.type
class Thing:
    name: str

    @strawberry.field
    def child(self) -> "Thing":
        return self


@strawberry.type
class Query:
    @strawberry.field
    def hello(self) -> str:
        return "world"

    @strawberry.field
    async def agent(self, info: strawberry.Info[Caller]) -> str:
        return info.context.connection.headers["user-agent"]

    @strawberry.field
    def thing(self) -> Thing:
        return Thing(name="thing")

    @strawberry.field
    def broken(self) -> str | None:
        raise RuntimeError(SECRET)

    @strawberry.field
    def forbidden(self) -> str | None:
        raise NotAllowedError

    @strawberry.field
    def away(self) -> str | None:
        raise AwayError

    @strawberry.field
    def unencodable(self) -> JSON:
        return JSON({"number": 2**70})

    @strawberry.field
    def too_big(self) -> int | None:
        return 2**40

    @strawberry.field
    def echo(self, text: str = "", colour: Colour = Colour.RED) -> str:
        return f"{text}{colour.value}"

    @strawberry.field
    def coded(self, code: Code) -> str:
        return code

    @strawberry.field
    def grow(self, tree: Tree) -> str:
        return tree.name

    @strawberry.field
    def parameters(self, info: strawberry.Info) -> JSON:
        return JSON(info.variable_values)


@strawberry.type
class Mutation:
    @strawberry.mutation
    def set_name(self, name: str) -> str:
        return name


@strawberry.type
class Subscription:
    @strawberry.subscription
    async def count(self, to: int) -> AsyncGenerator[int, None]:
        for number in range(1, to + 1):
            yield number

    @strawberry.subscription
    async def fails(self) -> AsyncGenerator[int, None]:
        yield 1
        raise RuntimeError(SECRET)

    @strawberry.subscription
    async def refused(self) -> AsyncGenerator[int, None]:
        raise NotAllowedError
        yield 1

    @strawberry.subscription
    async def payload(self, info: strawberry.Info[Caller]) -> AsyncGenerator[JSON, None]:
        yield JSON(info.context.payloads)

    @strawberry.subscription
    async def silent(self) -> AsyncGenerator[int, None]:
        await asyncio.Event().wait()
        yield 1

    @strawberry.subscription
    async def kept(self, text: str) -> AsyncGenerator[str, None]:
        await asyncio.Event().wait()
        yield text

    @strawberry.subscription
    async def flood(self, size: int) -> AsyncGenerator[str, None]:
        running = asyncio.current_task()
        ENDLESS.append(running)
        try:
            while True:
                yield "x" * size
                await asyncio.sleep(0)
        finally:
            ENDLESS.remove(running)

    @strawberry.subscription
    async def endless(self) -> AsyncGenerator[int, None]:
        running = asyncio.current_task()
        ENDLESS.append(running)
        try:
            while True:
                yield 1
                await asyncio.sleep(0.01)
        finally:
            ENDLESS.remove(running)


ENDLESS: list[object] = []
"""Holds an entry for each endless subscription that is being served."""


async def wait_until_endless_ends() -> None:
    """Raise TimeoutError when an endless subscription outlives its client."""
    async with asyncio.timeout(5):
        while ENDLESS:  # noqa: ASYNC110 - an event would belong to one test's loop
            await asyncio.sleep(0.01)


def describe_error(error: Exception) -> Description | None:
    if isinstance(error, NotAllowedError):
        return "FORBIDDEN", "Not for you", {"role": "operator"}
    if isinstance(error, AwayError):
        return "SERVICE_UNAVAILABLE", "Come back later", {}
    return None


async def make_context(connection: HTTPConnection) -> Caller:
    match connection.headers.get("x-context"):
        case "away":
            raise AwayError
        case "forbidden":
            raise NotAllowedError
        case "broken":
            raise RuntimeError(SECRET)
        case _:
            return Caller(connection)


async def on_connect(context: Caller, payload: dict[str, Any]) -> None:
    context.payloads.append(payload)
    match payload.get("Authorization"):
        case "Bearer expired":
            raise RefuseConnection(4401, "Token expired")
        case "Bearer member":
            raise NotAllowedError
        case "Bearer broken":
            raise RuntimeError(SECRET)
        case _:
            return


def make_schema(**options: Any) -> strawberry.Schema:
    config = StrawberryConfig(scalar_map={Code: _CODE})
    return strawberry.Schema(
        Query, mutation=Mutation, subscription=Subscription, config=config, **options
    )


def make_endpoint(**options: Any) -> GraphQLEndpoint[Caller]:
    return GraphQLEndpoint(
        make_schema(),
        make_context=make_context,
        describe_error=describe_error,
        on_connect=on_connect,
        max_body_bytes=options.pop("max_body_bytes", MAX_BODY_BYTES),
        max_frame_bytes=MAX_FRAME_BYTES,
        **options,
    )


@contextlib.asynccontextmanager
async def serve(
    endpoint: GraphQLEndpoint[Caller], settings: ServerSettings | None = None
) -> AsyncIterator[str]:
    """Serve the endpoint on a loopback port; yield its address without a scheme."""
    async with serve_visibly(endpoint, settings or ServerSettings()) as (address, _):
        yield address


@contextlib.asynccontextmanager
async def serve_visibly(
    endpoint: GraphQLEndpoint[Caller], settings: ServerSettings
) -> AsyncIterator[tuple[str, uvicorn.Server]]:
    """The same, with the server itself to look at."""
    listener = socket.create_server(("127.0.0.1", 0))
    options = {**web_options(settings), "log_level": "warning", "lifespan": "off"}
    server = uvicorn.Server(uvicorn.Config(endpoint, **options))
    server.capture_signals = contextlib.nullcontext  # the test runner keeps its own
    task = asyncio.create_task(server.serve(sockets=[listener]))
    while not server.started:  # noqa: ASYNC110 - uvicorn offers no event
        await asyncio.sleep(0.005)
    try:
        yield f"127.0.0.1:{listener.getsockname()[1]}/graphql", server
    finally:
        server.should_exit = True
        await task
        listener.close()
