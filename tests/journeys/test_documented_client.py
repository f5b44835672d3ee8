"""The client that docs/clients.md shows, run by node as it stands there."""

import asyncio
import json
import os
import re
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest

from services.mall import Mall
from settings import Settings
from tests.architecture.source import ROOT
from tests.client import Client
from tests.factories import give_points
from tests.journeys.sockets import watching
from tests.node import installed

_CLIENTS = ROOT / "tests" / "concurrency" / "live_clients"
BALANCE = "subscription { balanceChanged { available } }"
_AROUND = """
import WebSocket from "ws";
globalThis.WebSocket ??= WebSocket;
const tokens = process.argv.slice(2);
const say = (told) => console.log(JSON.stringify(told));
const freshToken = async () => {
  const token = tokens.shift();
  say({ tokensLeft: tokens.length });
  return token;
};
const sink = { next: say, error: (error) => say({ error: String(error) }), complete: () => {} };
process.stdin.on("end", () => process.exit(0)).resume();
"""


def documented(address: str) -> str:
    """The sample, for a mall at this address."""
    samples = re.findall(r"```js\n(.*?)```", (ROOT / "docs" / "clients.md").read_text(), re.DOTALL)
    (sample,) = (each for each in samples if "graphql-ws" in each)
    assert "wss://mall.example.com" in sample
    return sample.replace("wss://mall.example.com", address.replace("http", "ws"))


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """A mall in which nobody has more than two connections."""
    server = settings.server.model_copy(update={"connections_per_user": 2})
    return replace(settings, server=server)


@asynccontextmanager
async def running(client: Client, *tokens: str) -> AsyncIterator[asyncio.StreamReader]:
    """What the sample says with these tokens, one after another: a line of JSON each."""
    async with installed(_CLIENTS, "watch.mjs") as neighbour:
        script = neighbour.with_name(f"{os.getpid()}-documented.mjs")
        script.write_text(_AROUND + documented(client.address))
        process = await asyncio.create_subprocess_exec(
            "node",
            script.name,
            *tokens,
            cwd=script.parent,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        assert process.stdin
        assert process.stdout
        try:
            yield process.stdout
        finally:
            process.stdin.close()
            await process.wait()
            script.unlink()


async def told(lines: asyncio.StreamReader) -> Any:
    async with asyncio.timeout(20):
        return json.loads(await lines.readline())


def balance(available: int) -> object:
    return {"data": {"balanceChanged": {"available": available}}}


async def test_the_documented_client_outlives_its_token(
    mall: Mall, client: Client, alice: int
) -> None:
    """It comes back with a fresh one before the old one ends, and misses nothing."""
    tokens = [client.token("alice", lifetime_s=lifetime_s) for lifetime_s in (12, 3600)]
    async with running(client, *tokens) as lines:
        assert await told(lines) == {"tokensLeft": 1}
        assert await told(lines) == balance(1000)
        assert await told(lines) == {"tokensLeft": 0}
        assert await told(lines) == balance(1000)
        await give_points(mall, alice, 70)
        assert await told(lines) == balance(1070)


async def test_it_comes_back_when_there_were_too_many(
    mall: Mall, client: Client, alice: int
) -> None:
    """The code with which it is closed is one after which it does."""
    del mall, alice
    async with AsyncExitStack() as others:
        for _ in range(2):
            other = await others.enter_async_context(watching(client, BALANCE, as_="alice"))
            await other.told()
        async with running(client, *[client.token("alice")] * 9) as lines:
            assert await told(lines) == {"tokensLeft": 8}
            assert await told(lines) == {"tokensLeft": 7}  # refused, it tries again
            await others.aclose()
            said = await told(lines)
            while "tokensLeft" in said:
                said = await told(lines)
            assert said == balance(1000)
