"""Hearing what moved, from a Redis that comes and goes: real, and this test's own."""

import asyncio
import os
import shutil
import signal
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from redis.asyncio import Redis
from structlog.testing import capture_logs

from dev import places, valkey
from dev.processes import RunningChild, await_ready, start, stop
from dev.valkey import valkey_child
from models.stores import create_redis
from services.leaderboard.boards import CHANNEL, encode_news
from services.live.feed import Moved, listen
from settings import StoreSettings


@pytest.fixture
def child() -> Iterator[RunningChild]:
    """A Valkey to be stopped and killed."""
    directory = Path(tempfile.mkdtemp(prefix="mall-feed-"))
    running = start(valkey_child(directory, places.make_sockets(directory)))
    try:
        await_ready(running)
        yield running
    finally:
        stop(running)
        shutil.rmtree(directory)


@pytest.fixture
async def redis(child: RunningChild) -> AsyncIterator[Redis]:
    assert child.child.log is not None
    url = valkey.running_url(child.child.log.parent)
    client = create_redis(StoreSettings(redis_url=url))
    yield client
    await client.aclose()


class Ear:
    """What was heard."""

    def __init__(self) -> None:
        self.begun = 0
        self.moved: list[Moved] = []

    def begin(self) -> None:
        self.begun += 1

    async def until(self, begun: int, moved: int) -> None:
        async with asyncio.timeout(20):
            while (self.begun, len(self.moved)) < (begun, moved):  # noqa: ASYNC110
                await asyncio.sleep(0.01)


@pytest.fixture
async def ear(redis: Redis) -> AsyncIterator[Ear]:
    ear = Ear()
    listening = asyncio.create_task(listen(redis, ear.begin, ear.moved.append))
    await ear.until(1, 0)
    yield ear
    listening.cancel()
    with suppress(asyncio.CancelledError):
        await listening


async def test_every_message_is_heard_once(redis: Redis, ear: Ear) -> None:
    """Nonsense is passed over, with a line in the log."""
    with capture_logs() as logs:
        for said in (encode_news([3, 1], is_ranked=True), "x", encode_news([], is_ranked=False)):
            await redis.publish(CHANNEL, said)
        await ear.until(1, 2)
    assert ear.moved == [Moved(frozenset({1, 3}), True), Moved(frozenset(), False)]
    assert [line["event"] for line in logs] == ["live_message_not_understood"]


async def test_a_redis_that_is_killed_is_heard_again(
    redis: Redis, ear: Ear, child: RunningChild
) -> None:
    """It begins anew, so that what was missed can be looked at."""
    child.process.kill()
    child.process.wait()
    await asyncio.sleep(0.7)  # an attempt to subscribe fails
    child.process = child.child.spawn()
    await ear.until(2, 0)
    await redis.publish(CHANNEL, encode_news([1], is_ranked=False))
    await ear.until(2, 1)


async def test_a_redis_that_falls_silent_is_left(
    redis: Redis, ear: Ear, child: RunningChild, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The connection stands, but nobody is there: a quiet one is asked, and none is believed."""
    monkeypatch.setattr("services.live.feed._SILENCE_S", 0.2)
    await redis.publish(CHANNEL, encode_news([1], is_ranked=False))  # from now on less patient
    await asyncio.sleep(1)
    assert ear.begun == 1  # quiet, not silent: it answers when it is asked
    os.kill(child.process.pid, signal.SIGSTOP)
    await asyncio.sleep(1)
    os.kill(child.process.pid, signal.SIGCONT)
    await ear.until(2, 1)
    await redis.publish(CHANNEL, encode_news([2], is_ranked=False))
    await ear.until(2, 2)
