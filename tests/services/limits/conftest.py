"""Asking a limiter, on limits that hardly drip."""

from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis

from models.stores import create_redis
from services.limits.limiter import Limiter, LimitExceeded
from services.limits.rates import Rate, Take
from settings import StoreSettings

NEVER_S = 999_999
RATES = {
    "few": Rate(5, NEVER_S),
    "more": Rate(50, NEVER_S),
    "many": Rate(1_000, NEVER_S),
    "soon": Rate(1, 1),
}


@pytest.fixture
async def redis(redis_url: str) -> AsyncIterator[Redis]:
    client = create_redis(StoreSettings(redis_url=redis_url))
    yield client
    await client.aclose()


async def refusal(
    limiter: Limiter, *takes: Take, moves_value: bool = False
) -> LimitExceeded | None:
    """What the limiter says to who asks for these; None where it gave them."""
    try:
        await limiter.take(takes, moves_value=moves_value)
    except LimitExceeded as exceeded:
        return exceeded
    return None
