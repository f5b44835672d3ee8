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

from resolvers.caches import MAX_CACHED_CHARACTERS
from resolvers.operation_requests import OperationRequest
from resolvers.operations import Operations
from resolvers.shared_streams import StreamKey
from resolvers.stream_messages import Message
from resolvers.streams import Shared, Streams
from resolvers.transport_errors import Description


@dataclass
class Runs:
    """What the subscriptions of this schema did."""

    begun: list[str | None] = field(default_factory=list)
    ended: int = 0
    asked: int = 0
    fails: int = 0
    counted: int = 0
    is_away: bool = False
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
class Nested:
    @strawberry.field
    def part(self, info: strawberry.Info[Asker]) -> int | None:
        info.context.runs.asked += 1
        if info.context.runs.is_away:
            raise OSError("secret")
        return 1

    @strawberry.field
    def never(self, info: strawberry.Info[Asker]) -> int | None:
        info.context.runs.asked += 1
        raise RuntimeError("secret")


@strawberry.type
class Mutation:
    @strawberry.mutation
    def give(self, info: strawberry.Info[Asker]) -> int | None:
        info.context.runs.asked += 1
        raise OSError("secret")


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
    async def counted(self, info: strawberry.Info[Asker]) -> AsyncGenerator[int]:
        runs = info.context.runs
        runs.asked += 1
        if runs.is_away:
            raise RuntimeError("secret")
        yield runs.counted
        await asyncio.Event().wait()

    @strawberry.subscription
    async def nested(self, info: strawberry.Info[Asker]) -> AsyncGenerator[Nested]:
        runs = info.context.runs
        while True:
            yield Nested()
            await runs.tick.wait()

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
    return Operations(strawberry.Schema(Query, Mutation, Subscription), describe_error)


def describe_error(error: Exception) -> Description | None:
    is_away = isinstance(error, OSError)
    return ("SERVICE_UNAVAILABLE", "Come back later", {}) if is_away else None


@pytest.fixture
def streams(operations: Operations, runs: Runs) -> Streams[Asker]:
    shared = frozenset({"who", "dull", "broken", "flaky", "counted"})
    return Streams(operations, Shared(shared, lambda: Asker(None, runs), lambda a: str(a.name)))


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
    assert (runs.begun, len(room.streams.shared)) == ([None], 1)
    for follower in followers:
        assert runs.ended == 0
        await follower.aclose()
    await asyncio.gather(*room.streams.shared._tasks, return_exceptions=True)
    assert (runs.ended, len(room.streams.shared)) == (1, 0)
    async with aclosing(room.open(WHO)) as again:
        assert await anext(again) == Message('{"data":{"who":"None 0"}}')
    assert len(runs.begun) == 2


async def test_who_joins_begins_with_how_it_stands_now(room: Room, runs: Runs) -> None:
    """Not with what was shown last; thousands who join together cost one run, and others no frame.

    Who joined while that run began may have been too late for it: they begin with one more.
    """
    counting = "subscription { counted }"
    async with aclosing(room.open(counting)) as first:
        assert (await anext(first)).text == '{"data":{"counted":0}}'
        following = asyncio.ensure_future(anext(first))
        late = [room.open(counting) for _ in range(1000)]
        told = await asyncio.gather(*map(anext, late))
        assert runs.asked == 2
        assert {message.text for message in told} == {'{"data":{"counted":0}}'}
        assert not following.done()
        runs.counted = 5  # which nobody announces
        async with aclosing(room.open(counting)) as last:
            assert (await anext(last)).text == '{"data":{"counted":5}}'
        assert (await following).text == '{"data":{"counted":5}}'
        assert runs.asked == 3
        for each in late:
            await each.aclose()


async def test_who_joins_what_cannot_begin_is_told_and_others_are_not(
    room: Room, runs: Runs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("resolvers.shared_streams._RETRY_S", 0.01)
    counting = "subscription { counted }"
    async with aclosing(room.open(counting)) as first:
        await anext(first)
        following = asyncio.ensure_future(anext(first))
        runs.is_away = True
        with capture_logs():
            told = [message async for message in room.open(counting)]
        assert [message.is_failure for message in told] == [True]
        assert not following.done()
        runs.is_away, runs.counted = False, 1
        assert (await following).text == '{"data":{"counted":1}}'


async def test_what_fails_again_and_again_is_tried_ever_less_often(
    room: Room, runs: Runs, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A slow machine tries less often still; at first it would be a hundred times a second."""
    monkeypatch.setattr("resolvers.shared_streams._RETRY_S", 0.01)
    counting = "subscription { counted }"
    async with aclosing(room.open(counting)) as first:
        await anext(first)
        following = asyncio.ensure_future(anext(first))
        runs.is_away = True
        with capture_logs():
            assert [message.is_failure async for message in room.open(counting)] == [True]
            before = runs.asked
            await asyncio.sleep(1)
            assert runs.asked - before < 20
        runs.is_away, runs.counted = False, 1
        async with aclosing(room.open(counting)) as last:  # who joins need not wait as long
            assert (await anext(last)).text == '{"data":{"counted":1}}'
        assert (await following).text == '{"data":{"counted":1}}'


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
    assert len(runs.begun) == len(room.streams.shared) == 5
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
        assert (runs.begun, len(room.streams.shared)) == ([None], 1)


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


async def test_a_process_runs_so_many_different_ones(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever asks for them; what runs already can be joined, and one that ends makes room."""
    monkeypatch.setattr("resolvers.shared_streams.MOST_RUNNING", 3)
    opened = [room.open(WHO, start=number) for number in range(3)]
    await asyncio.gather(*map(anext, opened))
    refused = [message async for message in room.open(WHO, start=3)]
    assert [(message.is_failure, "COST_LIMITED" in message.text) for message in refused] == [
        (True, True)
    ]
    async with aclosing(room.open(WHO, start=2)) as joined:
        assert not (await anext(joined)).is_failure
    await opened.pop().aclose()
    opened.append(room.open(WHO, start=3))
    assert not (await anext(opened[-1])).is_failure
    for each in opened:
        await each.aclose()


async def test_one_holder_begins_a_few_over_however_many_connections(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So nobody takes all room. They can join what others began; and begin when one has ended."""
    monkeypatch.setattr("resolvers.shared_streams.MOST_BEGUN", 3)
    opened = [room.open(WHO, "mallory", start=number) for number in range(3)]
    await asyncio.gather(*map(anext, opened))
    refused = [message async for message in room.open(WHO, "mallory", start=3)]
    assert [(message.is_failure, "COST_LIMITED" in message.text) for message in refused] == [
        (True, True)
    ]
    for name, start in (("alice", 3), ("mallory", 3), ("mallory", 0)):
        opened.append(room.open(WHO, name, start=start))
        assert not (await anext(opened[-1])).is_failure
    await opened.pop(1).aclose()
    opened.append(room.open(WHO, "mallory", start=4))
    assert not (await anext(opened[-1])).is_failure
    # Who leaves what others still follow has begun it all the same.
    opened.append(room.open(WHO, "alice", start=2))
    await anext(opened[-1])
    await opened.pop(1).aclose()
    assert (await anext(room.open(WHO, "mallory", start=5))).is_failure
    for each in opened:
        await each.aclose()
    assert (len(room.streams.shared), room.streams.shared._begun) == (0, {})


async def test_a_full_process_says_so_once(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many it refuses; and again when it was half empty meanwhile."""
    monkeypatch.setattr("resolvers.shared_streams.MOST_RUNNING", 2)
    for _ in range(2):
        opened = [room.open(WHO, start=number) for number in range(2)]
        await asyncio.gather(*map(anext, opened))
        with capture_logs() as logs:
            for number in range(2, 5):
                assert (await anext(room.open(WHO, start=number))).is_failure
        assert [line["event"] for line in logs] == ["shared_streams_full"]
        for each in opened:
            await each.aclose()


async def test_an_error_takes_no_good_results_place(
    room: Room, runs: Runs, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is tried again soon; meanwhile who joins begins with what was good."""
    monkeypatch.setattr("resolvers.shared_streams._RETRY_S", 0)
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
    monkeypatch.setattr("resolvers.shared_streams._RETRY_S", 0)
    runs.fails = 2
    with capture_logs():
        async with aclosing(room.open(FLAKY)) as follower:
            assert (await anext(follower)).has_errors
            assert (await anext(follower)).text == '{"data":{"flaky":3}}'


@pytest.mark.parametrize("query", ["subscription { mine }", "{ hello }"])
async def test_what_is_not_shared_is_the_askers_own(room: Room, query: str) -> None:
    async with aclosing(room.open(query, "alice")) as messages:
        await anext(messages)
        assert len(room.streams.shared) == 0


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
    assert len(room.streams.shared) == 0


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
    assert len(room.streams.shared) == 0


async def test_what_a_store_kept_from_being_loaded_is_loaded_later(
    room: Room, runs: Runs, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the subscription itself, although nothing changes; nobody is shown less than before."""
    monkeypatch.setattr("resolvers.streams._FIRST_RETRY_S", 0.001)
    query = "subscription { nested { part } }"
    runs.is_away = True
    async with aclosing(room.open(query)) as messages:
        first = await anext(messages)
        assert (first.has_errors, first.is_failure) == (True, False)
        following = asyncio.ensure_future(anext(messages))
        while runs.asked < 3:  # noqa: ASYNC110
            await asyncio.sleep(0.001)
        assert not following.done()  # the same again is no news
        runs.is_away = False
        whole = Message('{"data":{"nested":{"part":1}}}')
        assert await following == whole
        runs.is_away = True
        following, asked = asyncio.ensure_future(anext(messages)), runs.asked
        await asyncio.sleep(0)
        runs.next()
        while runs.asked < asked + 3:  # noqa: ASYNC110
            await asyncio.sleep(0.001)
        assert not following.done()
        runs.is_away = False
        assert await following == whole


async def test_other_errors_are_not_tried_again(
    room: Room, runs: Runs, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A nested field may be asked for what it never has: each event says so, and no more."""
    monkeypatch.setattr("resolvers.streams._FIRST_RETRY_S", 0.001)
    with capture_logs():
        async with aclosing(room.open("subscription { nested { never } }")) as messages:
            assert (await anext(messages)).has_errors
            following = asyncio.ensure_future(anext(messages))
            await asyncio.sleep(0.05)
            assert not following.done()
            runs.next()
            assert (await following).has_errors
    assert runs.asked == 2


async def test_a_mutation_is_never_run_again(room: Room, runs: Runs) -> None:
    runs.is_away = True
    messages = [message async for message in room.open("mutation { give }")]
    assert ([message.may_pass for message in messages], runs.asked) == ([True], 1)


@pytest.mark.parametrize("field", ["who", "mine"])
async def test_a_subscription_keeps_no_long_document(room: Room, runs: Runs, field: str) -> None:
    """Parsed it takes 140 times as much memory, for as long as somebody subscribes."""
    query = f"subscription {{ {field} }} #"
    longest = [room.open(query.ljust(MAX_CACHED_CHARACTERS, "x"))]
    assert not (await anext(longest[0])).is_failure
    refused = [m async for m in room.open(query.ljust(MAX_CACHED_CHARACTERS + 1, "x"))]
    assert [(m.is_failure, "COST_LIMITED" in m.text) for m in refused] == [(True, True)]
    await longest[0].aclose()
    del runs


async def test_variables_count_as_they_were_sent(room: Room, runs: Runs) -> None:
    """A default that is spelled out is another stream: both are right, and to compare is cheap."""
    query = "subscription ($start: Int = 3) { who(start: $start) }"
    async with aclosing(room.open(query)) as left_out, aclosing(room.open(query, start=3)) as given:
        assert await anext(left_out) == await anext(given) == Message('{"data":{"who":"None 3"}}')
        assert (len(runs.begun), len(room.streams.shared)) == (2, 2)
