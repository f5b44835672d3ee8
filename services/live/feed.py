"""Hearing what moved, from every process: one Redis subscription a process.

What is said is only what to look at, never what to show: a message that is lost or comes twice does
no harm, for what is watched is read anew whenever the subscription begins, and now and then.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import orjson
import structlog
from redis.asyncio import Redis
from redis.asyncio.client import PubSub
from redis.exceptions import ConnectionError as RedisConnectionError

from services.leaderboard.boards import CHANNEL
from services.transaction import is_store_away

_log: structlog.stdlib.BoundLogger = structlog.get_logger()

_SILENCE_S: Final = 10.0
"""After so long without a word the connection is asked whether it still is one."""
_PAUSE_S: Final = 0.5
"""Between attempts to subscribe."""


@dataclass(frozen=True, slots=True)
class Moved:
    """Whose balances have moved, whether a rank may have, and whether names or pictures may."""

    users: frozenset[int]
    ranked: bool
    profiles: bool = False


async def listen(
    redis: Redis, on_begin: Callable[[], None], on_moved: Callable[[Moved], None]
) -> None:
    """Hear what moved until cancelled, whatever Redis does meanwhile.

    `on_begin` is called whenever the subscription begins, for what was said before is lost.
    """
    while True:
        try:
            async with redis.pubsub() as subscription:
                await subscription.subscribe(CHANNEL)
                await _hear(subscription, on_begin, on_moved)
        except Exception as error:  # noqa: BLE001 - whatever it was, subscribe again
            trace = None if is_store_away(error) else error
            _log.warning("live_feed_lost", cause=repr(error), exc_info=trace)
        await asyncio.sleep(_PAUSE_S)


async def _hear(
    subscription: PubSub, on_begin: Callable[[], None], on_moved: Callable[[Moved], None]
) -> None:
    is_asked = False
    while True:
        message: dict[str, Any] | None = await subscription.get_message(timeout=_SILENCE_S)
        if message is None:
            if is_asked:
                raise RedisConnectionError("Redis has fallen silent")
            await subscription.ping()
        elif message["type"] == "subscribe":
            on_begin()
        elif message["type"] == "message" and (moved := _moved(message["data"])) is not None:
            on_moved(moved)
        is_asked = message is None


def _moved(text: str) -> Moved | None:
    """What a message says; None, and a line in the log, for one that says nothing known."""
    try:
        said = orjson.loads(text)
        users = frozenset(map(int, said["users"]))
        return Moved(users, bool(said["ranked"]), bool(said.get("profiles")))
    except (ValueError, TypeError, KeyError):
        _log.warning("live_message_not_understood")
        return None
