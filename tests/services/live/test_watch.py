"""Watching: one read for all who watch, at once after a rest, then so many a second at most."""

import asyncio
import time
from collections.abc import AsyncIterator
from collections.abc import Set as AbstractSet
from contextlib import aclosing
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from services.live.watch import Watch

PAUSE_S = 0.05


class Source:
    """Values that change, and who read what of them."""

    def __init__(self) -> None:
        self.values: dict[str, int] = {"a": 1, "b": 1}
        self.reads: list[set[str]] = []
        self.failure: Exception | None = None

    async def read(self, keys: AbstractSet[str]) -> dict[str, int]:
        self.reads.append(set(keys))
        if self.failure:
            raise self.failure
        return {key: self.values[key] for key in keys if key in self.values}


@pytest.fixture
def source() -> Source:
    return Source()


@pytest.fixture
async def watch(source: Source) -> AsyncIterator[Watch[str, int]]:
    watch = Watch("tests", source.read, pause_s=PAUSE_S)
    yield watch
    await watch.aclose()


async def test_all_who_watch_the_same_are_read_for_once(
    watch: Watch[str, int], source: Source
) -> None:
    followers = [watch.follow(key) for key in "ab" * 50]
    assert await asyncio.gather(*map(anext, followers)) == [1] * 100
    assert source.reads == [{"a", "b"}]
    source.values["a"] = 2
    watch.touch(["a", "nobody's"])
    assert await asyncio.gather(*map(anext, followers[::2])) == [2] * 50
    assert source.reads == [{"a", "b"}, {"a"}]
    for follower in followers:
        await follower.aclose()
    assert not watch.keys


async def test_what_did_not_change_is_not_shown(watch: Watch[str, int], source: Source) -> None:
    async with aclosing(watch.follow("a")) as values:
        assert await anext(values) == 1
        following = asyncio.ensure_future(anext(values))
        for _ in range(3):
            watch.touch_all()
            while watch._are_all_touched:  # noqa: ASYNC110 - until it was read
                await asyncio.sleep(PAUSE_S / 10)
        assert not following.done()
        source.values["a"] = 2
        watch.touch_all()
        assert await following == 2


async def test_thousands_of_changes_give_way_to_others(
    watch: Watch[str, int], source: Source
) -> None:
    """All that was read is shown, some fifty at a time."""
    source.values = {str(number): number for number in range(1000)}
    seen, counts = list[int](), [0]

    async def follow(key: str) -> None:
        async with aclosing(watch.follow(key)) as values:
            seen.append(await anext(values) or 0)

    async with asyncio.TaskGroup() as tasks:
        for key in source.values:
            tasks.create_task(follow(key))
        while len(seen) < 1000:
            await asyncio.sleep(0)
            counts.append(len(seen))
    assert max(now - before for before, now in pairwise(counts)) <= 50


async def test_bursts_are_read_rarely(watch: Watch[str, int], source: Source) -> None:
    """Never more often than the pause allows, and the last change is not missed."""
    async with aclosing(watch.follow("a")) as values:
        assert await anext(values) == 1
        started_s, source.reads = time.monotonic(), []
        for value in range(2, 500):
            source.values["a"] = value
            watch.touch(["a"])
            await asyncio.sleep(0.001)
        while await anext(values) != 499:
            pass
        elapsed_s = time.monotonic() - started_s
    assert 1 < len(source.reads) <= elapsed_s / PAUSE_S + 1


async def test_what_is_not_there_is_none(watch: Watch[str, int], source: Source) -> None:
    async with aclosing(watch.follow("c")) as values:
        assert await anext(values) is None
        source.values["c"] = 0
        watch.touch(["c"])
        assert await anext(values) == 0
        del source.values["c"]
        watch.touch(["c"])
        assert await anext(values) is None


async def test_who_begins_is_told_of_a_failure_and_who_watches_is_not(
    watch: Watch[str, int], source: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Watching goes on when reading does; one line in the log however long it lasts."""
    monkeypatch.setattr("services.live.watch._RETRY_S", PAUSE_S)
    async with aclosing(watch.follow("a")) as values:
        assert await anext(values) == 1
        source.failure, source.values["a"] = OSError("away"), 2
        watch.touch(["a"])
        with capture_logs() as logs:
            for _ in range(3):
                with pytest.raises(OSError, match="away"):
                    await anext(watch.follow("b"))
            source.failure = None
            assert await anext(values) == 2
    assert [line["event"] for line in logs] == ["live_not_read"]
    assert not watch.keys


async def test_nothing_is_left_when_everybody_has_left(
    watch: Watch[str, int], source: Source
) -> None:
    """Also of those who leave before they were told anything."""
    before = asyncio.all_tasks()
    for _ in range(3):
        following = asyncio.ensure_future(anext(watch.follow("a")))
        await asyncio.sleep(0)
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)
    assert not watch.keys
    async with asyncio.timeout(5):
        while asyncio.all_tasks() - before:  # noqa: ASYNC110 - the reader ends by itself
            await asyncio.sleep(PAUSE_S / 10)
    async with aclosing(watch.follow("a")) as values:
        assert await anext(values) == 1


async def test_who_joins_is_shown_what_was_read_since(
    watch: Watch[str, int], source: Source
) -> None:
    """Not the value that others were shown, although nobody said that it changed."""
    async with aclosing(watch.follow("a")) as values:
        assert await anext(values) == 1
        following = asyncio.ensure_future(anext(values))
        source.values["a"] = 2
        async with aclosing(watch.follow("a")) as late:
            assert await anext(late) == 2
        assert await following == 2


async def test_a_read_that_was_under_way_is_not_for_who_joins(source: Source) -> None:
    """It may have seen how things stood before they came."""
    is_read, may_return = asyncio.Event(), asyncio.Event()

    async def read(keys: AbstractSet[str]) -> dict[str, int]:
        found = await source.read(keys)
        is_read.set()
        await may_return.wait()
        return found

    watch = Watch("tests", read, pause_s=PAUSE_S)
    async with aclosing(watch.follow("a")) as values, aclosing(watch.follow("a")) as late:
        first = asyncio.ensure_future(anext(values))
        await is_read.wait()
        joining = asyncio.ensure_future(anext(late))
        await asyncio.sleep(0)
        source.values["a"] = 2
        may_return.set()
        assert await asyncio.gather(first, joining) == [1, 2]
    await watch.aclose()


async def test_who_joins_while_the_store_is_away_is_told(
    watch: Watch[str, int], source: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not shown what it last was; who follows already is not thrown out."""
    monkeypatch.setattr("services.live.watch._RETRY_S", PAUSE_S)
    async with aclosing(watch.follow("a")) as values:
        assert await anext(values) == 1
        source.failure, source.values["a"] = OSError("away"), 2
        with capture_logs(), pytest.raises(OSError, match="away"):
            await anext(watch.follow("a"))
        source.failure = None
        assert await anext(values) == 2


async def test_thousands_are_read_in_portions(source: Source) -> None:
    """A pause between them; those of whom it is known that they moved come first."""
    source.values = {str(number): number for number in range(35)}
    watch = Watch("tests", source.read, pause_s=PAUSE_S, most_at_once=10)
    followers = [watch.follow(key) for key in source.values]
    await asyncio.gather(*map(anext, followers))
    assert [len(keys) for keys in source.reads] == [10, 10, 10, 5]
    source.reads, source.values["34"] = [], 99
    watch.touch_all()
    watch.touch(["34"])
    started_s = time.monotonic()
    assert await anext(followers[-1]) == 99
    while len(source.reads) < 4:  # noqa: ASYNC110 - the reader goes on by itself
        await asyncio.sleep(PAUSE_S / 10)
    assert "34" in source.reads[0]
    assert [len(keys) for keys in source.reads] == [10, 10, 10, 5]
    assert set[str]().union(*source.reads) == source.values.keys()
    assert time.monotonic() - started_s >= 3 * PAUSE_S  # never more often than it may
    for follower in followers:
        await follower.aclose()
    await watch.aclose()


@given(st.lists(st.sampled_from(["touch a", "touch c", "touch all", "leave", "read"]), max_size=30))
def test_nothing_that_was_touched_is_forgotten(orders: list[str]) -> None:
    """In whatever order things are touched, read in portions of one, and left."""

    async def play() -> None:
        source = Source()
        source.values = dict.fromkeys("abc", 0)
        watch = Watch("tests", source.read, pause_s=0, most_at_once=1)
        followers = {key: watch.follow(key) for key in "abc"}
        await asyncio.gather(*map(anext, followers.values()))
        seen = dict.fromkeys("ac", 0)
        for order in orders:
            match order.split():
                case ["touch", "all"]:
                    source.values = {key: value + 1 for key, value in source.values.items()}
                    watch.touch_all()
                case ["touch", key]:
                    source.values[key] += 1
                    watch.touch([key])
                case ["leave"]:
                    await followers["b"].aclose()
                case _:
                    await asyncio.sleep(0)
        async with asyncio.timeout(5):
            for key, value in seen.items():
                while value != source.values[key]:
                    value = await anext(followers[key]) or 0  # noqa: PLW2901
        for follower in followers.values():
            await follower.aclose()
        await watch.aclose()

    asyncio.run(play())
