"""What is not known yet is paid for before it is looked at, and holds nobody else up."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest
from redis.asyncio import Redis

from resolvers.caches import DocumentCache
from resolvers.endpoint import GraphQLEndpoint
from resolvers.learning import LEAST_PRICE, MOST_PRICE, Learning, price_of
from services.persisted import PersistedTexts, hash_of
from tests.resolvers.serving import Caller, NotAllowedError, make_endpoint, make_schema, serve
from tests.resolvers.test_websocket import greeted, read, subscribe

FORBIDDEN = ["FORBIDDEN"]


class Purse:
    """Pays for so much, and no more."""

    def __init__(self, left: int) -> None:
        self.left = left

    async def pay(self, context: Caller, cost: int) -> None:
        assert isinstance(context, Caller)
        if cost > self.left:
            raise NotAllowedError
        self.left -= cost


@pytest.fixture
def purse() -> Purse:
    return Purse(price_of("{ hello }"))


@pytest.fixture
async def endpoint(purse: Purse, redis_url: str) -> AsyncIterator[GraphQLEndpoint[Caller]]:
    async with Redis.from_url(redis_url) as redis:
        yield make_endpoint(pay=purse.pay, texts=PersistedTexts(redis))


def codes(answer: dict[str, Any]) -> list[str]:
    errors = answer.get("errors") or answer.get("payload")
    return [error["extensions"]["code"] for error in errors]


async def test_only_the_first_of_a_document_is_paid_for(
    endpoint: GraphQLEndpoint[Caller], purse: Purse
) -> None:
    async with serve(endpoint) as address, httpx2.AsyncClient() as client:
        for _ in range(3):
            answer = await client.post(f"http://{address}", json={"query": "{ hello }"})
            assert answer.json() == {"data": {"hello": "world"}}
        async with greeted(address) as socket:
            await subscribe(socket, "{ hello }")
            assert (await read(socket))["type"] == "next"
    assert purse.left == 0


async def test_who_cannot_pay_is_refused_before_anything_looks_at_it(
    endpoint: GraphQLEndpoint[Caller], purse: Purse, redis_url: str
) -> None:
    """Over HTTP, with a hash, streamed and over a socket; valid or not. What is known goes on."""
    purse.left = LEAST_PRICE
    new = "{ n: hello }"
    digest = {"persistedQuery": {"version": 1, "sha256Hash": hash_of(new)}}
    async with serve(endpoint) as address, httpx2.AsyncClient() as client:
        for body in (
            {"query": new},
            {"query": "{ nothing"},
            {"query": new, "extensions": digest},
            {"query": "subscription { count(to: 1) }"},
        ):
            answer = await client.post(f"http://{address}", json=body)
            assert codes(answer.json()) == FORBIDDEN
        async with greeted(address) as socket:
            for payload in ({"query": new}, {"query": new, "extensions": digest}):
                message = {"id": "1", "type": "subscribe", "payload": payload}
                await socket.send(json.dumps(message))
                assert codes(await read(socket)) == FORBIDDEN
    assert len(endpoint.documents) == 0
    async with Redis.from_url(redis_url) as redis:
        assert await redis.keys("persisted:*") == []


def test_a_text_is_priced_by_its_length_which_is_all_that_is_known() -> None:
    assert price_of("") == LEAST_PRICE
    assert price_of("x" * 300) == LEAST_PRICE + 100
    assert price_of("x" * 100_000) == MOST_PRICE


async def test_others_have_a_turn_after_every_document() -> None:
    """However many are waiting: 100 on one socket held the process for four seconds."""
    documents = DocumentCache(make_schema()._schema)
    learning = Learning(documents, None)
    known: list[int] = []

    async def nobody() -> None:
        pass

    asked = [learning.learn(f"{{ a{number}: hello }}", nobody) for number in range(20)]
    waiting = asyncio.gather(*asked)
    while not waiting.done():
        await asyncio.sleep(0)
        known.append(len(documents))
    assert max(after - before for before, after in zip([0, *known], known, strict=False)) == 1


async def test_a_document_that_many_ask_for_at_once_is_prepared_once() -> None:
    documents = DocumentCache(make_schema()._schema)
    learning = Learning(documents, None)

    async def nobody() -> None:
        pass

    first, *others = await asyncio.gather(*(learning.learn("{ hello }", nobody) for _ in range(5)))
    assert all(each is first for each in others)
