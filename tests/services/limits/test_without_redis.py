"""Limits while Redis is away, or is there and refuses."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

import pytest
from redis.asyncio import Redis
from structlog.testing import capture_logs

from models.stores import NAMESPACE, create_redis
from services.errors import ServiceUnavailable
from services.limits import alone
from services.limits.alone import SHARE, Alone
from services.limits.limiter import open_limiter
from services.limits.rates import Rate, take_of
from services.monitoring.log_context import add_facts, facts
from settings import StoreSettings
from tests.services.limits.conftest import RATES, refusal


async def test_without_redis_only_value_is_counted_and_strictly() -> None:
    """Reads go on without limits; who moves value has a quarter; it is said once."""
    nowhere = create_redis(StoreSettings(redis_url="redis://127.0.0.1:1"))
    with capture_logs() as logs:
        async with open_limiter(nowhere, RATES) as limiter:
            reads = [await refusal(limiter, take_of("few", "alice")) for _ in range(20)]
            many = [
                await refusal(limiter, take_of("many", "alice"), moves_value=True)
                for _ in range(300)
            ]
    await nowhere.aclose()
    assert reads == [None] * 20
    assert many.count(None) == 1_000 // SHARE
    assert [line["event"] for line in logs] == ["limits_counted_alone"]


async def test_nobody_finds_out_that_redis_is_back_by_waiting(redis: Redis) -> None:
    """It is asked beside the requests; then all count together again."""
    nowhere = create_redis(StoreSettings(redis_url="redis://127.0.0.1:1"))
    async with open_limiter(nowhere, RATES) as limiter:
        assert await refusal(limiter, take_of("few", "alice")) is None
        nowhere.connection_pool = redis.connection_pool
        async with asyncio.timeout(10):
            while not await redis.keys(f"{NAMESPACE}:limits:alice"):
                await refusal(limiter, take_of("few", "alice"))
                await asyncio.sleep(0.05)


@pytest.fixture
async def weak(redis: Redis, redis_url: str) -> AsyncIterator[Redis]:
    """A Redis that is there and runs no script, as one without memory, or one that only reads."""
    await redis.acl_setuser("weak", enabled=True, nopass=True, commands=["+ping", "+select"])
    client = create_redis(StoreSettings(redis_url=redis_url.replace("://", "://weak:none@")))
    yield client
    await client.aclose()
    await redis.acl_deluser("weak")


async def _said(lines: Sequence[object], count: int) -> None:
    """So many lines were logged."""
    while len(lines) < count:  # noqa: ASYNC110 - they are logged by what nobody waits for
        await asyncio.sleep(0.001)


async def _refused_scripts(redis: Redis) -> int:
    stats: Any = await redis.info("commandstats")
    return stats.get("cmdstat_eval", {}).get("rejected_calls", 0)


async def test_a_redis_that_refuses_is_no_way_around(redis: Redis, weak: Redis) -> None:
    """However often it was asked whether it is back, nobody has more than the process gives."""
    answers = []
    with capture_logs() as lines:
        async with open_limiter(weak, RATES, retry_s=0.001) as limiter, asyncio.timeout(30):
            begun = await _refused_scripts(redis)
            while await _refused_scripts(redis) < begun + 5:
                answers.append(await refusal(limiter, take_of("few", "alice"), moves_value=True))
    assert answers.count(None) == 1
    assert [line["event"] for line in lines] == ["limits_counted_alone"]


async def test_what_was_counted_alone_stays_so(redis: Redis, weak: Redis) -> None:
    """A Redis that comes and goes fills nobody's bucket."""
    refusing, answers = weak.connection_pool, []
    with capture_logs() as lines:
        async with open_limiter(weak, RATES, retry_s=0.001) as limiter, asyncio.timeout(30):
            for _ in range(3):
                weak.connection_pool = refusing
                answers.append(await refusal(limiter, take_of("few", "alice"), moves_value=True))
                weak.connection_pool = redis.connection_pool
                await _said(lines, 2 * len(answers))
    weak.connection_pool = refusing
    assert [line["event"] for line in lines] == 3 * [
        "limits_counted_alone",
        "limits_counted_together",
    ]
    assert answers.count(None) == 1


class _Overheard(Redis):
    """Notes what lines would bear wherever it is asked something; is away at first."""

    heard: list[Mapping[str, object]]

    async def eval(self, *_arguments: Any) -> Any:
        self.heard.append(facts())
        if len(self.heard) == 1:
            raise ConnectionError
        return []


async def test_what_works_for_many_bears_nothing_of_one() -> None:
    """Neither the round trip that somebody happened to begin, nor the waiting for Redis."""
    redis = _Overheard()
    redis.heard = []
    add_facts(request_id="a stranger's")
    with capture_logs() as lines:
        async with open_limiter(redis, RATES, retry_s=0) as limiter, asyncio.timeout(30):
            await limiter.take([take_of("few", "alice")], moves_value=False)
            await _said(lines, 2)
    assert [line["event"] for line in lines] == ["limits_counted_alone", "limits_counted_together"]
    assert redis.heard == [{}, {}]


def test_alone_a_process_counts_no_more_than_it_can(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond that what moves value is refused; what was full again is forgotten."""
    monkeypatch.setattr(alone, "MOST_BUCKETS", 2)
    now_ns = 1
    counting = Alone({"soon": Rate(1, 1)}, lambda: now_ns)
    for holder in ("alice", "bob"):
        assert counting.take([take_of("soon", holder)]) is None
    with pytest.raises(ServiceUnavailable):
        counting.take([take_of("soon", "carol")])
    assert counting.take([take_of("soon", "alice")]) == ("soon", 1_000_000)
    now_ns += 2 * 10**9
    assert counting.take([take_of("soon", "carol")]) is None
