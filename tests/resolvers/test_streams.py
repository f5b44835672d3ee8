"""Shared streams: one execution and one encoding for all who ask for the same."""

import asyncio
import weakref
from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass, field

import pytest
import strawberry
from structlog.testing import capture_logs

from resolvers.operation_requests import OperationRequest
from resolvers.operations import Operations
from resolvers.streams import Message, Shared, StreamKey, Streams


@dataclass
class Runs:
    """What the subscriptions of this schema did."""

    begun: list[str | None] = field(default_factory=list)
    ended: int = 0
    asked: int = 0
    fails: int = 0
    tick: asyncio.Event = field(default_factory=asyncio.Event)

    def next(self) -> None:
        self.tick.set()
        self.tick = asyncio.Event()


@dataclass
class Asker:
    """The context: who asks; None is nobody."""

    name: str | None
    runs: Runs


@strawberry.type
class Query:
    @strawberry.field
    def hello(self) -> str:
        return "world"


@strawberry.type
class Subscription:
    @strawberry.subscription
    async def who(
        self, info: strawberry.Info[Asker], start: int = 0, other: int = 0
    ) -> AsyncGenerator[str]:
        del other
        runs = info.context.runs
        runs.begun.append(info.context.name)
        try:
            while True:
                yield f"{info.context.name} {start}"
                await runs.tick.wait()
                start += 1
        finally:
            runs.ended += 1

    @strawberry.subscription
    async def mine(self, info: strawberry.Info[Asker]) -> AsyncGenerator[int]:
        yield 1
        await info.context.runs.tick.wait()

    @strawberry.subscription
    async def flaky(self, info: strawberry.Info[Asker]) -> AsyncGenerator[int | None]:
        runs = info.context.runs
        while True:
            runs.asked += 1
            is_failing, runs.fails = runs.fails > 0, max(0, runs.fails - 1)
            yield 2**40 if is_failing else runs.asked  # too large for an Int
            await runs.tick.wait()

    @strawberry.subscription
    async def dull(self, info: strawberry.Info[Asker]) -> AsyncGenerator[int]:
        for _ in range(3):
            yield 1
            await info.context.runs.tick.wait()
        yield 2

    @strawberry.subscription
    async def broken(self, info: strawberry.Info[Asker]) -> AsyncGenerator[int]:
        info.context.runs.begun.append(None)
        yield 1
        await info.context.runs.tick.wait()
        raise RuntimeError("secret")


@pytest.fixture
def runs() -> Runs:
    return Runs()


@pytest.fixture
def operations() -> Operations:
    return Operations(strawberry.Schema(Query, subscription=Subscription), lambda _: None)


@pytest.fixture
def streams(operations: Operations, runs: Runs) -> Streams[Asker]:
    shared = frozenset({"who", "dull", "broken", "flaky"})
    return Streams(operations, Shared(shared, lambda: Asker(None, runs)))


FLAKY = "subscription { flaky }"
TWO_VARIABLES = "subscription ($start: Int, $other: Int) { who(start: $start, other: $other) }"
WHO = "subscription ($start: Int) { who(start: $start) }"


class Room:
    """Opens streams as members of that name."""

    def __init__(self, streams: Streams[Asker], operations: Operations, runs: Runs) -> None:
        self.streams, self.operations, self.runs = streams, operations, runs

    def open(
        self,
        query: str,
        name: str = "alice",
        operation: str | None = None,
        followed: Counter[StreamKey] | None = None,
        **variables: object,
    ) -> AsyncGenerator[Message]:
        request = OperationRequest(query, variables, operation, None)
        prepared = self.operations.documents.prepare(query)
        return self.streams.open(prepared, request, Asker(name, self.runs), followed)


@pytest.fixture
def room(streams: Streams[Asker], operations: Operations, runs: Runs) -> Room:
    return Room(streams, operations, runs)


async def test_all_get_the_very_same_message(room: Room, runs: Runs) -> None:
    """Made once, by nobody, whoever asks; the last who leaves ends it."""
    followers = [room.open(WHO, f"member{number}", start=7) for number in range(50)]
    first = await asyncio.gather(*map(anext, followers))
    assert first[0] == Message('{"data":{"who":"None 7"}}')
    assert all(message is first[0] for message in first)
    runs.next()
    second = await asyncio.gather(*map(anext, followers))
    assert second[0].text == '{"data":{"who":"None 8"}}'
    assert all(message is second[0] for message in second)
    late = room.open(WHO, start=7)
    assert await anext(late) is second[0]
    assert (runs.begun, room.streams.running) == ([None], 1)
    for follower in [*followers, late]:
        assert runs.ended == 0
        await follower.aclose()
    await asyncio.gather(*room.streams._tasks, return_exceptions=True)
    assert (runs.ended, room.streams.running) == (1, 0)
    async with aclosing(room.open(WHO)) as again:
        assert await anext(again) == Message('{"data":{"who":"None 0"}}')
    assert len(runs.begun) == 2


async def test_what_asks_for_something_else_is_another_stream(room: Room, runs: Runs) -> None:
    """Another variable, document, or name; not the order of variables, nor what means nothing."""
    two = "subscription A { who } subscription B { who }"
    opened = [
        room.open(TWO_VARIABLES, start=1, other=1),
        room.open(TWO_VARIABLES, other=1, start=1),
        room.open(TWO_VARIABLES, start=2, other=1),
        room.open(WHO),
        room.open(WHO, undeclared=1),
        room.open(f" # as before\n{WHO},"),
        room.open(two, operation="A"),
        room.open(two, operation="B"),
    ]
    await asyncio.gather(*map(anext, opened))
    assert len(runs.begun) == room.streams.running == 5
    for each in opened:
        await each.aclose()


async def test_undeclared_variables_are_let_go(room: Room) -> None:
    """An operation may last for days."""

    class Large(dict[str, object]):
        """An object that can be watched."""

    large = Large()
    gone = weakref.ref(large)
    async with aclosing(room.open("subscription { mine }", undeclared=large)) as messages:
        del large
        await anext(messages)
        assert gone() is None


@pytest.mark.parametrize(
    "query",
    [
        "subscription { ...F } fragment F on Subscription { who }",
        "subscription { ... { who } }",
        "subscription { who ...F } fragment F on Subscription { ... on Subscription { who } }",
    ],
)
async def test_fragments_are_no_way_around(room: Room, query: str, runs: Runs) -> None:
    async with aclosing(room.open(query)) as messages:
        assert (await anext(messages)).text == '{"data":{"who":"None 0"}}'
        assert (runs.begun, room.streams.running) == ([None], 1)


async def test_a_connection_follows_a_few_at_a_time(room: Room) -> None:
    """Each is work for everybody; the same again, and another after one has ended, is none."""
    followed = Counter[StreamKey]()
    opened = [room.open(WHO, followed=followed, start=number) for number in (1, 2, 3, 4, 4)]
    sixth = room.open(WHO, followed=followed, start=5)
    await asyncio.gather(*map(anext, opened))
    refused = [message async for message in sixth]
    assert [(message.is_failure, "COST_LIMITED" in message.text) for message in refused] == [
        (True, True)
    ]
    async with aclosing(room.open(WHO, start=5)) as on_another_connection:
        assert not (await anext(on_another_connection)).is_failure
    await opened[0].aclose()
    opened.append(room.open(WHO, followed=followed, start=5))
    assert not (await anext(opened[-1])).is_failure
    for each in opened:
        await each.aclose()
    assert not followed


async def test_an_error_takes_no_good_results_place(
    room: Room, runs: Runs, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is tried again soon; meanwhile who joins begins with what was good."""
    monkeypatch.setattr("resolvers.streams._RETRY_S", 0)
    with capture_logs():
        async with aclosing(room.open(FLAKY)) as follower:
            assert (await anext(follower)).text == '{"data":{"flaky":1}}'
            runs.fails = 3
            runs.next()
            following = asyncio.ensure_future(anext(follower))
            while runs.fails:
                async with aclosing(room.open(FLAKY)) as late:
                    assert (await anext(late)).text == '{"data":{"flaky":1}}'
                await asyncio.sleep(0)
            assert (await following).text == '{"data":{"flaky":5}}'


async def test_who_begins_with_an_error_is_told_of_better(
    room: Room, runs: Runs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("resolvers.streams._RETRY_S", 0)
    runs.fails = 2
    with capture_logs():
        async with aclosing(room.open(FLAKY)) as follower:
            assert (await anext(follower)).has_errors
            assert (await anext(follower)).text == '{"data":{"flaky":3}}'


@pytest.mark.parametrize("query", ["subscription { mine }", "{ hello }"])
async def test_what_is_not_shared_is_the_askers_own(room: Room, query: str) -> None:
    async with aclosing(room.open(query, "alice")) as messages:
        await anext(messages)
        assert room.streams.running == 0


async def test_a_slow_follower_gets_the_newest(room: Room, runs: Runs) -> None:
    async with aclosing(room.open(WHO)) as slow, aclosing(room.open(WHO)) as quick:
        await asyncio.gather(anext(slow), anext(quick))
        for number in range(1, 6):
            runs.next()
            assert (await anext(quick)).text == f'{{"data":{{"who":"None {number}"}}}}'
        assert (await anext(slow)).text == '{"data":{"who":"None 5"}}'


async def test_the_same_is_not_said_twice(room: Room, runs: Runs) -> None:
    async with aclosing(room.open("subscription { dull }")) as messages:
        assert (await anext(messages)).text == '{"data":{"dull":1}}'
        following = asyncio.ensure_future(anext(messages))
        while not following.done():
            await asyncio.sleep(0)
            runs.next()
        assert following.result().text == '{"data":{"dull":2}}'


async def test_a_failure_ends_it_for_all_and_the_next_begins_anew(room: Room, runs: Runs) -> None:
    with capture_logs() as logs:
        followers = [room.open("subscription { broken }") for _ in range(3)]
        await asyncio.gather(*map(anext, followers))
        runs.next()
        last = await asyncio.gather(*map(anext, followers))
        assert all(message.is_failure and "secret" not in message.text for message in last)
        for follower in followers:
            with pytest.raises(StopAsyncIteration):
                await anext(follower)
    assert [line["event"] for line in logs] == ["field_failed"]
    async with aclosing(room.open("subscription { broken }")) as again:
        assert (await anext(again)).text == '{"data":{"broken":1}}'
    assert len(runs.begun) == 2


async def test_what_cannot_start_is_told_to_all(room: Room) -> None:
    """As to whoever asks alone."""
    for _ in range(2):
        messages = [message async for message in room.open(WHO, start="x")]
        assert [message.is_failure for message in messages] == [True]
    assert room.streams.running == 0


async def test_what_cannot_be_encoded_is_an_error(room: Room) -> None:
    """Variables may be nested deeper than the encoder goes."""
    nested: list[object] = []
    for _ in range(300):
        nested = [nested]
    with capture_logs() as logs:
        messages = [message async for message in room.open(WHO, start=nested)]
    assert [(message.is_failure, "INTERNAL" in message.text) for message in messages] == [
        (True, True)
    ]
    assert [line["event"] for line in logs] == ["stream_failed"]
    assert room.streams.running == 0
