"""Places of which a holder has so many, whichever processes they are held in.

What each process holds is counted in that process; Redis has a copy of every process's counts, and
a word from each now and then that it still lives. The counts of one that has fallen silent do not
count any more, so nothing is left of a process that was killed. While Redis is away each process
lets in by what it holds itself, and nobody is thrown out when it is back.
"""

import asyncio
import time
import uuid
from collections import Counter
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any, Final, NamedTuple

import structlog
from redis.asyncio import Redis

from models.stores import NAMESPACE
from services.bulk import in_pieces
from services.ending import end
from services.transaction import is_store_away

_log: structlog.stdlib.BoundLogger = structlog.get_logger()

LEASE_S: Final = 30.0
"""A process that has said nothing for so long holds nothing."""
_RETRY_S: Final = 1.0
_KEPT_S: Final = 3600
"""For so long Redis keeps the counts of a holder of whom nothing is heard."""
_COMMANDS_AT_ONCE: Final = 500

_PROCESSES_KEY: Final = f"{NAMESPACE}:connections:processes"
_HOLDER_KEY: Final = f"{NAMESPACE}:connections:of:"

# Redis tells the time: the clocks of the processes' machines need not agree.
_LIVE = """
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local until_ms = redis.call('ZSCORE', KEYS[1], ARGV[1])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
redis.call('ZADD', KEYS[1], now + ARGV[2], ARGV[1])
return (until_ms and tonumber(until_ms) > now) and 1 or 0
"""
_TAKE = """
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local counts, held = redis.call('HGETALL', KEYS[1]), 0
for place = 1, #counts, 2 do
    local until_ms = redis.call('ZSCORE', KEYS[2], counts[place])
    if counts[place] == ARGV[1] or (until_ms and tonumber(until_ms) > now) then
        held = held + counts[place + 1]
    else
        redis.call('HDEL', KEYS[1], counts[place])
    end
end
if held >= tonumber(ARGV[2]) then
    return 0
end
redis.call('HINCRBY', KEYS[1], ARGV[1], 1)
redis.call('EXPIRE', KEYS[1], ARGV[3])
return 1
"""


class _Asking(NamedTuple):
    holder: str
    limit: int
    is_given: asyncio.Future[bool]


class Leases:
    """The places that this process has given. One task tells Redis of all, one after another."""

    def __init__(self, redis: Redis, *, lease_s: float = LEASE_S) -> None:
        """None is given yet; `keep` has to run."""
        self._redis = redis
        self._lease_s = lease_s
        self._process = uuid.uuid4().hex
        self._held = Counter[str]()
        self._changed: set[str] = set()
        """Whose count Redis may not have as it is."""
        self._asking: list[_Asking] = []
        self._wake = asyncio.Event()
        self._is_away = False
        self._told_all_at_s = time.monotonic()

    def __len__(self) -> int:
        """How many places this process has given."""
        return self._held.total()

    async def take(self, holder: str, limit: int) -> bool:
        """Give the holder a place, unless they have `limit`; returns whether they got it."""
        if self._is_away or self._held[holder] >= limit:
            return self._take_here(holder, limit)
        is_given: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._asking.append(_Asking(holder, limit, is_given))
        self._wake.set()
        try:
            return await is_given
        except asyncio.CancelledError:
            if is_given.done() and not is_given.cancelled() and is_given.result():
                self.give_back(holder)
            raise

    def give_back(self, holder: str) -> None:
        """The holder has one place less."""
        self._held[holder] -= 1
        if not self._held[holder]:
            del self._held[holder]
        self._changed.add(holder)
        self._wake.set()

    async def keep(self) -> None:
        """Tell Redis what is held, and that this process lives, until cancelled."""
        while True:
            try:
                await self._tell()
                self._is_away = False
            except Exception as error:  # noqa: BLE001 - places are given all the same
                self._go_on_alone(error)
                await asyncio.sleep(_RETRY_S)
                continue
            with suppress(TimeoutError):
                async with asyncio.timeout(self._lease_s / 3):
                    await self._wake.wait()

    async def end(self) -> None:
        """Hold nothing any more; others need not wait until they notice."""
        with suppress(Exception):  # then they do
            await self._redis.zrem(_PROCESSES_KEY, self._process)

    async def _tell(self) -> None:
        self._wake.clear()
        lease_ms = str(int(self._lease_s * 1000))
        is_known = await self._redis.eval(_LIVE, 1, _PROCESSES_KEY, self._process, lease_ms)
        if not is_known or time.monotonic() > self._told_all_at_s + _KEPT_S / 3:
            self._told_all_at_s = time.monotonic()
            self._changed |= self._held.keys()
        for holders in in_pieces(list(self._changed), _COMMANDS_AT_ONCE):
            await self._write(holders)
        asking = [each for each in self._asking if not each.is_given.done()]  # some have gone
        self._asking = []
        try:
            while asking:
                await self._ask(asking[:_COMMANDS_AT_ONCE])
                del asking[:_COMMANDS_AT_ONCE]
        finally:
            self._asking = asking + self._asking

    async def _write(self, holders: Sequence[str]) -> None:
        pipeline = self._redis.pipeline(transaction=False)
        self._changed.difference_update(holders)
        for holder in holders:
            if self._held[holder]:
                pipeline.hset(_HOLDER_KEY + holder, self._process, str(self._held[holder]))
                pipeline.expire(_HOLDER_KEY + holder, _KEPT_S)
            else:
                del self._held[holder]
                pipeline.hdel(_HOLDER_KEY + holder, self._process)
        try:
            await pipeline.execute()
        except BaseException:
            self._changed.update(holders)
            raise

    async def _ask(self, asking: Sequence[_Asking]) -> None:
        pipeline = self._redis.pipeline(transaction=False)
        for holder, limit, _ in asking:
            keys = (_HOLDER_KEY + holder, _PROCESSES_KEY)
            pipeline.eval(_TAKE, 2, *keys, self._process, str(limit), str(_KEPT_S))
        try:
            given: list[Any] = await pipeline.execute()
        except BaseException:
            self._changed.update(each.holder for each in asking)  # who knows what it did
            raise
        for each, is_given in zip(asking, given, strict=True):
            self._answer(each, bool(is_given))

    def _answer(self, asking: _Asking, is_given: bool) -> None:
        if is_given:
            self._held[asking.holder] += 1
        if not asking.is_given.done():
            asking.is_given.set_result(is_given)
        elif is_given:  # whoever asked has gone
            self.give_back(asking.holder)

    def _go_on_alone(self, error: Exception) -> None:
        if not self._is_away:
            trace = None if is_store_away(error) else error
            _log.warning("connections_counted_alone", cause=repr(error), exc_info=trace)
        self._is_away = True
        asking, self._asking = self._asking, []
        for each in asking:
            if not each.is_given.done():
                each.is_given.set_result(self._take_here(each.holder, each.limit))

    def _take_here(self, holder: str, limit: int) -> bool:
        if self._held[holder] >= limit:
            return False
        self._held[holder] += 1
        self._changed.add(holder)
        return True


@asynccontextmanager
async def open_leases(redis: Redis, *, lease_s: float = LEASE_S) -> AsyncGenerator[Leases]:
    """The places that a web process gives."""
    leases = Leases(redis, lease_s=lease_s)
    keeping = asyncio.create_task(leases.keep())
    try:
        yield leases
    finally:
        await end(keeping)
        await leases.end()
