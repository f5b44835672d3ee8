"""Who asks too often is refused, whichever processes they ask (`domain.md`, Abuse).

Everything that is asked in a process at once goes in one round trip; while it is under way the next
asks gather, so nothing waits on a timer. While Redis is away nobody waits for it: what only reads
goes on without limits, and what moves value as slowly as this process can vouch for alone.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from functools import lru_cache
from typing import Any, Final, NamedTuple, TypeAlias

import orjson
import structlog
from redis.asyncio import Redis

from models.stores import NAMESPACE
from services.ending import end
from services.errors import MallError
from services.gathering import gather
from services.limits.alone import Alone
from services.limits.bucket import TAKE
from services.limits.rates import Rate, Take
from services.monitoring.log_context import detached
from services.transaction import is_store_away

_log: structlog.stdlib.BoundLogger = structlog.get_logger()

MOST_AT_ONCE: Final = 200
"""Asks of one round trip: Redis does nothing else meanwhile."""
RETRY_S: Final = 1.0
"""How often it is asked whether a Redis that was away counts again."""
_US: Final = 1_000_000

_KEY: Final = f"{NAMESPACE}:limits:"
# A little of a bucket that is never empty: it is written, as a Redis without memory cannot.
_PROBE: Final = orjson.dumps([[["probe", 1_000, 1_000_000]], [[1, 1]]])


class LimitExceeded(MallError):
    """The holder asked too often, or for too much. After `retry_after_s` there is enough again."""

    def __init__(self, limit: str, retry_after_s: int) -> None:
        super().__init__(f"{limit}: again in {retry_after_s} s")
        self.limit = limit
        self.retry_after_s = retry_after_s


def _not_counted(_limit: str) -> None:
    """Nobody wants to know."""


_Amounts: TypeAlias = tuple[tuple[str, int], ...]


class _Ask(NamedTuple):
    takes: Sequence[Take]
    answer: asyncio.Future[LimitExceeded | None]


class Limiter:
    """The limits of a mall, as one process holds everybody to them."""

    def __init__(
        self,
        redis: Redis,
        rates: Mapping[str, Rate],
        observe: Callable[[str], None] = _not_counted,
        *,
        retry_s: float = RETRY_S,
    ) -> None:
        """`rates` are the limits that hold: others are not counted.

        `observe` is told of each refusal by which limit.
        """
        self._redis = redis
        self._rates = rates
        self._observe = observe
        self._retry_s = retry_s
        self._alone = Alone(rates)
        self._shape = lru_cache(4_096)(self._make_shape)
        self._waiting: list[_Ask] = []
        self._round: asyncio.Future[None] | None = None
        self._runner: asyncio.Task[None] | None = None
        self._return: asyncio.Task[None] | None = None

    @property
    def is_alone(self) -> bool:
        """Whether Redis was away when it was last asked."""
        return self._return is not None

    async def take(self, takes: Sequence[Take], *, moves_value: bool) -> None:
        """Take all of these or none; raises LimitExceeded.

        Without Redis only what `moves_value` is counted, by this process alone; raises
        ServiceUnavailable where that is more than it can count.
        """
        held = [take for take in takes if self._shape(take.amounts)]
        if not held:
            return
        refusal = None if self.is_alone else await self._ask(held)
        # Redis may have gone away while it was asked.
        if refusal is None and self.is_alone and moves_value:
            refusal = self._ask_alone(held)
        if refusal is not None:
            self._observe(refusal.limit)
            raise refusal

    def _ask_alone(self, takes: Sequence[Take]) -> LimitExceeded | None:
        short = self._alone.take(takes)
        return None if short is None else _exceeded(*short)

    def answering(self) -> asyncio.Future[None] | None:
        """What ends when those who ask now have their answer; None while nobody does."""
        return self._round

    async def _ask(self, takes: Sequence[Take]) -> LimitExceeded | None:
        ask = _Ask(takes, asyncio.get_running_loop().create_future())
        self._waiting.append(ask)
        if self._round is None:
            self._round = asyncio.get_running_loop().create_future()
            self._runner = detached(self._run(self._round))
        return await ask.answer

    async def _run(self, round_: asyncio.Future[None]) -> None:
        """Answer until nobody asks any more, one round after another."""
        try:
            while self._waiting:
                await gather(self._waiting, MOST_AT_ONCE)
                await self._answer()
                round_.set_result(None)
                round_ = self._round = asyncio.get_running_loop().create_future()
        finally:
            round_.cancel()
            self._round = None

    async def _answer(self) -> None:
        asks = self._waiting[:MOST_AT_ONCE]
        del self._waiting[:MOST_AT_ONCE]
        try:
            refused = await self._send(asks)
        except Exception as error:  # noqa: BLE001 - whatever it is, the mall goes on
            self._go_on_alone(error)
            asks += self._waiting
            self._waiting.clear()
            refused = {}
        for number, ask in enumerate(asks):
            if not ask.answer.done():  # else whoever asked has gone
                ask.answer.set_result(refused.get(number))

    async def _send(self, asks: Sequence[_Ask]) -> dict[int, LimitExceeded]:
        keys, question = self._question(asks)
        refused: Any = await self._redis.eval(TAKE, len(keys), *keys, question)
        return {
            number: _exceeded(self._limit(asks[number], bucket), wait_us)
            for number, bucket, wait_us in refused
        }

    def _question(self, asks: Iterable[_Ask]) -> tuple[Sequence[str], bytes]:
        """What the script is told: most asks have the same few shapes."""
        holders: dict[str, int] = {}
        shapes: dict[_Amounts, int] = {}
        lines: list[list[int]] = []
        for takes, _ in asks:
            line: list[int] = []
            for holder, amounts in takes:
                line.append(shapes.setdefault(amounts, len(shapes) + 1))
                line.append(holders.setdefault(holder, len(holders) + 1))
            lines.append(line)
        question = orjson.dumps([[self._shape(amounts) for amounts in shapes], lines])
        return [_KEY + holder for holder in holders], question

    def _make_shape(self, amounts: _Amounts) -> list[str | int]:
        """Limit, what is taken and size of each bucket; none of a limit that is off."""
        shape: list[str | int] = []
        for limit, tokens in amounts:
            rate = self._rates.get(limit)
            if rate is not None:
                shape += (limit, min(tokens * rate.interval_us, rate.size_us), rate.size_us)
        return shape

    def _limit(self, ask: _Ask, bucket: int) -> str:
        """The limit of a bucket, as the script counts those of an ask."""
        shapes = (self._shape(take.amounts) for take in ask.takes)
        limits = [str(limit) for shape in shapes for limit in shape[::3]]
        return limits[bucket]

    def _go_on_alone(self, error: Exception) -> None:
        trace = None if is_store_away(error) else error
        _log.warning("limits_counted_alone", cause=repr(error), exc_info=trace)
        self._return = detached(self._await_return())

    async def _await_return(self) -> None:
        """Ask now and then whether Redis is back, so that no request has to find it out.

        By what it is needed for: one that is there may refuse scripts or writes all the same. What
        was counted here stays so, or whoever comes as often as Redis goes would have it all anew.
        """
        while True:
            await asyncio.sleep(self._retry_s)
            with suppress(Exception):
                await self._redis.eval(TAKE, 1, f"{_KEY}probe", _PROBE)
                break
        self._return = None
        self._alone.drop_full()
        _log.info("limits_counted_together")

    async def aclose(self) -> None:
        """Ask no more."""
        await end(*filter(None, (self._runner, self._return)))


def _exceeded(limit: str, wait_us: int) -> LimitExceeded:
    return LimitExceeded(limit, -(-wait_us // _US))


@asynccontextmanager
async def open_limiter(
    redis: Redis,
    rates: Mapping[str, Rate],
    observe: Callable[[str], None] = _not_counted,
    *,
    retry_s: float = RETRY_S,
) -> AsyncGenerator[Limiter]:
    """The limits for as long as a process runs; see `Limiter`."""
    limiter = Limiter(redis, rates, observe, retry_s=retry_s)
    try:
        yield limiter
    finally:
        await limiter.aclose()
