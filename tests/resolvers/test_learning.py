"""What is not known yet is paid for before it is looked at, and holds nobody else up."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import httpx2
import pytest
from graphql import GraphQLSchema
from redis.asyncio import Redis

from models.stores import NAMESPACE
from resolvers.caches import MAX_CACHED_CHARACTERS, DocumentCache
from resolvers.documents import PreparedDocument
from resolvers.endpoint import GraphQLEndpoint
from resolvers.learning import (
    AHEAD_S,
    LEAST_PRICE,
    MOST_PRICE,
    MOST_WAITING,
    REST,
    Learning,
    price_of,
)
from resolvers.transport_errors import OperationRefused
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
            assert await redis.keys(f"{NAMESPACE}:persisted:*") == []
            purse.left = price_of(new)
            paid = await client.post(f"http://{address}", json={"query": new, "extensions": digest})
            assert paid.json() == {"data": {"n": "world"}}
            assert len(await redis.keys(f"{NAMESPACE}:persisted:*")) == 1


def test_a_text_is_priced_by_its_length_which_is_all_that_is_known() -> None:
    assert price_of("") == LEAST_PRICE
    assert price_of("x" * 300) == LEAST_PRICE + 100
    assert price_of("x" * 100_000) == MOST_PRICE


async def nobody() -> None:
    """Nobody needs to be found out: nothing is paid for."""


def heavy(number: int) -> str:
    """A document that takes milliseconds to look at."""
    return "{ " + "thing { child { name } } " * 15 + f"}} # {number}"


class TimedDocuments(DocumentCache):
    """Notes when each was looked at, and for how long nobody else had a turn."""

    def __init__(self, schema: GraphQLSchema) -> None:
        super().__init__(schema)
        self.began_at_s: list[float] = []
        self.took_s: list[float] = []

    def add(self, source: str) -> PreparedDocument:
        self.began_at_s.append(time.perf_counter())
        prepared = super().add(source)
        self.took_s.append(time.perf_counter() - self.began_at_s[-1])
        return prepared


async def all_at_once(learning: Learning, sources: list[str]) -> None:
    await asyncio.gather(*(learning.learn(source, nobody) for source in sources))


async def one_by_one(learning: Learning, sources: list[str]) -> None:
    for source in sources:
        await learning.learn(source, nobody)


@pytest.mark.parametrize("ask", [all_at_once, one_by_one])
async def test_others_have_most_of_the_process_meanwhile(
    ask: Callable[[Learning, list[str]], Awaitable[None]],
) -> None:
    """However new ones come: while 23 were looked at, an exchange took 1.3 s instead of 10 ms."""
    documents = TimedDocuments(make_schema()._schema)
    await ask(Learning(documents, None), [heavy(number) for number in range(20)])
    first, *_, last = documents.began_at_s
    took_s = sum(documents.took_s[:-1])
    assert last - first >= (1 + REST) * took_s - AHEAD_S > took_s


def padded(number: int) -> str:
    """A document at the highest price that is looked at quickly."""
    return f"{{ a{number}: hello }} # " + "x" * 4_000


async def test_only_so_many_wait() -> None:
    """The next one is refused at once; who asks for what is waiting is not, nor who comes later."""
    learning = Learning(DocumentCache(make_schema()._schema), None)
    most = MOST_WAITING // MOST_PRICE
    waiting = [asyncio.create_task(learning.learn(padded(n), nobody)) for n in range(most)]
    await asyncio.sleep(0)
    with pytest.raises(OperationRefused) as refused:
        await learning.learn(padded(most), nobody)
    assert refused.value.description[0] == "SERVICE_UNAVAILABLE"
    assert (await learning.learn(padded(0), nobody)).errors == ()
    await asyncio.gather(*waiting)
    assert (await learning.learn(padded(most), nobody)).errors == ()


async def test_who_gives_up_leaves_the_others_what_they_wait_for() -> None:
    learning = Learning(DocumentCache(make_schema()._schema), None)
    leaving, staying = (asyncio.create_task(learning.learn("{ hello }", nobody)) for _ in range(2))
    await asyncio.sleep(0)
    leaving.cancel()
    assert (await staying).errors == ()
    assert leaving.cancelled()


@pytest.mark.parametrize("padding", ["", "#" + "x" * MAX_CACHED_CHARACTERS])
async def test_a_document_that_many_ask_for_at_once_is_prepared_once(padding: str) -> None:
    learning = Learning(DocumentCache(make_schema()._schema), None)
    asked = [learning.learn("{ hello }" + padding, nobody) for _ in range(5)]
    first, *others = await asyncio.gather(*asked)
    assert all(each is first for each in others)
