"""Limits across processes: two `Limiter`s on one Redis are two processes."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from redis.asyncio import Redis
from structlog.testing import capture_logs

from models.stores import NAMESPACE, create_redis
from services.limits.limiter import Limiter, open_limiter
from services.limits.rates import Rate, Take, rates_of, take_of
from settings import LimitSettings, SettingsError, StoreSettings
from tests.services.limits.conftest import NEVER_S, RATES, refusal

_KEY = f"{NAMESPACE}:limits:"


@pytest.fixture
async def processes(redis: Redis) -> AsyncIterator[tuple[Limiter, Limiter]]:
    async with AsyncExitStack() as stack:
        yield (
            await stack.enter_async_context(open_limiter(redis, RATES)),
            await stack.enter_async_context(open_limiter(redis, RATES)),
        )


async def test_a_limit_holds_across_processes_to_the_token(
    processes: tuple[Limiter, Limiter],
) -> None:
    """Of 2,400 that ask at once for what there are 1,000 of; other holders are not concerned."""
    asked = [refusal(processes[number % 2], take_of("many", "alice")) for number in range(2_400)]
    answers = await asyncio.gather(*asked)
    assert answers.count(None) == 1_000
    assert await refusal(processes[0], take_of("many", "bob")) is None


async def test_all_is_taken_or_nothing(processes: tuple[Limiter, Limiter]) -> None:
    """Who is refused by one limit has the others as before."""
    here, there = processes
    both = (take_of("more", "alice"), take_of("few", "alice"))
    answers = [await refusal(here, *both) for _ in range(40)]
    assert answers.count(None) == 5
    assert {answer.limit for answer in answers if answer} == {"few"}
    assert await refusal(there, take_of("more", "alice", 45)) is None
    assert await refusal(there, take_of("more", "alice"))


async def test_who_waits_as_told_gets_theirs(processes: tuple[Limiter, Limiter]) -> None:
    """In whole seconds, rounded up."""
    here, there = processes
    assert await refusal(here, take_of("soon", "alice")) is None
    refused = await refusal(there, take_of("soon", "alice"))
    assert refused is not None
    assert refused.retry_after_s == 1
    await asyncio.sleep(refused.retry_after_s)
    assert await refusal(here, take_of("soon", "alice")) is None


async def test_more_than_a_bucket_takes_a_whole_one(processes: tuple[Limiter, Limiter]) -> None:
    """Or it could never be had."""
    assert await refusal(processes[0], take_of("few", "alice", 99)) is None
    assert await refusal(processes[0], take_of("few", "alice"))


async def test_buckets_go_by_themselves(processes: tuple[Limiter, Limiter], redis: Redis) -> None:
    """As soon as they are full: who asks seldom leaves nothing behind."""
    takes = [take_of("soon", "alice"), take_of("few", "bob"), take_of("soon", "bob")]
    await processes[0].take(takes, moves_value=False)
    assert 0 < await redis.pttl(f"{_KEY}alice") <= 1_000
    assert 1_000 < await redis.pttl(f"{_KEY}bob") <= NEVER_S * 1_000 / 5


async def test_what_takes_nothing_is_let_in(
    processes: tuple[Limiter, Limiter], redis: Redis
) -> None:
    """Such as an operation that costs nothing: also by a full bucket, and among others."""
    here, _ = processes
    with capture_logs() as lines:
        takes = [take_of("few", "alice", tokens) for tokens in (0, 5, 0)]
        assert await asyncio.gather(*(refusal(here, take) for take in takes)) == [None] * 3
        assert await refusal(here, take_of("few", "bob", 0)) is None
    assert lines == []
    assert await redis.keys(f"{_KEY}*") == [f"{_KEY}alice"]


async def test_a_limit_that_is_off_is_not_counted(redis: Redis) -> None:
    async with open_limiter(redis, {}) as limiter:
        assert await refusal(limiter, take_of("few", "alice", 99), moves_value=True) is None
    assert await redis.keys(f"{_KEY}*") == []


async def test_who_has_gone_keeps_nobody_waiting(processes: tuple[Limiter, Limiter]) -> None:
    """A request that was broken off, among others of the same round trip."""
    here = processes[0]
    asked = [asyncio.create_task(refusal(here, take_of("few", "alice"))) for _ in range(3)]
    await asyncio.sleep(0)
    asked[1].cancel()
    answers = await asyncio.gather(*asked, return_exceptions=True)
    assert [answers[0], answers[2]] == [None, None]


@dataclass
class _Pails:
    """What is left, by hand."""

    left: dict[tuple[str, str], int] = field(default_factory=dict)

    def take(self, takes: Sequence[Take]) -> bool:
        sizes = {
            (limit, holder): min(tokens, RATES[limit].tokens)
            for holder, amounts in takes
            for limit, tokens in amounts
        }
        held = {bucket: self.left.get(bucket, RATES[bucket[0]].tokens) for bucket in sizes}
        if any(held[bucket] < size for bucket, size in sizes.items()):
            return False
        self.left |= {bucket: held[bucket] - size for bucket, size in sizes.items()}
        return True


_amounts = st.dictionaries(st.sampled_from(["few", "more"]), st.integers(0, 7), min_size=1).map(
    lambda tokens: tuple(tokens.items())
)
_takes = st.lists(
    st.builds(Take, st.sampled_from("ab"), _amounts),
    min_size=1,
    max_size=2,
    unique_by=lambda take: take.holder,
)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(asks=st.lists(_takes, max_size=30))
def test_the_script_counts_as_by_hand(redis_url: str, asks: list[list[Take]]) -> None:
    """Any asks, of any holders, all in one round trip."""

    async def outcomes() -> list[bool]:
        client = create_redis(StoreSettings(redis_url=redis_url))
        await client.flushdb()
        async with open_limiter(client, RATES) as limiter:
            answers = await asyncio.gather(*(refusal(limiter, *takes) for takes in asks))
        await client.aclose()
        return [answer is None for answer in answers]

    pails = _Pails()
    assert asyncio.run(outcomes()) == [pails.take(takes) for takes in asks]


def test_limits_are_set_apart_by_name() -> None:
    """Or switched off, and all multiplied; a name that is none is refused."""
    rates = rates_of(LimitSettings(rate_limits="exchanges=3/7, cost=off", rate_limit_factor=2))
    assert rates["exchanges"] == Rate(6, 7)
    assert "cost" not in rates
    assert rates["value"].tokens == 2 * rates_of(LimitSettings())["value"].tokens
    with pytest.raises(SettingsError):
        rates_of(LimitSettings(rate_limits="exchange=3/7"))


@pytest.mark.parametrize("pasted", ["exchanges", "exchanges=3", "exchanges=0/1", "a=1/0", "=1/1"])
def test_nonsense_is_refused(pasted: str) -> None:
    with pytest.raises(ValueError, match="COUNT/SECONDS"):
        LimitSettings(rate_limits=pasted)
