"""A place for the newest value: whoever is slow misses what was in between, never the last."""

import asyncio
from contextlib import aclosing
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.live.newest import Newest


async def test_a_slow_follower_sees_the_newest_only() -> None:
    newest = Newest[int]()
    async with aclosing(newest.follow()) as values:
        newest.put(1)
        assert await anext(values) == 1
        for value in range(2, 1000):
            newest.put(value)
        assert await anext(values) == 999
        newest.close()
        with pytest.raises(StopAsyncIteration):
            await anext(values)


async def test_who_comes_late_begins_with_the_newest() -> None:
    newest = Newest[str | None]()
    newest.put("old")
    newest.put(None)
    async with aclosing(newest.follow()) as values:
        assert await anext(values) is None


async def test_all_followers_wake() -> None:
    newest = Newest[int]()
    followers = [newest.follow() for _ in range(100)]
    waiting = [asyncio.ensure_future(anext(follower)) for follower in followers]
    await asyncio.sleep(0)
    newest.put(7)
    assert await asyncio.gather(*waiting) == [7] * 100


async def test_thousands_do_not_wake_at_once() -> None:
    """Others have their turn between; who leaves meanwhile holds nobody up."""
    newest, seen = Newest[int](), list[int]()

    async def follow() -> None:
        async for value in newest.follow():
            seen.append(value)

    async with asyncio.TaskGroup() as tasks:
        followers = [tasks.create_task(follow()) for _ in range(1000)]
        await asyncio.sleep(0)
        newest.put(7)
        counts = [0]
        while len(seen) < 900:
            await asyncio.sleep(0)
            counts.append(len(seen))
        assert max(now - before for before, now in pairwise(counts)) <= 50
        for leaving in followers[950:]:
            leaving.cancel()
        newest.close()
    assert seen == [7] * 950
    assert not newest._waiting


async def test_who_left_is_forgotten() -> None:
    """Also while nothing changes."""
    newest = Newest[int]()
    following = asyncio.ensure_future(anext(newest.follow()))
    await asyncio.sleep(0)
    following.cancel()
    await asyncio.gather(following, return_exceptions=True)
    assert not newest._waiting


async def test_who_begins_is_shown_what_was_looked_for_since() -> None:
    """An older value is not for them, whatever those see who follow already."""
    newest = Newest[int]()
    newest.put(1, look=1)
    async with aclosing(newest.follow()) as follower, aclosing(newest.follow(since=3)) as late:
        assert await anext(follower) == 1
        beginning = asyncio.ensure_future(anext(late))
        newest.put(2, look=2)
        assert await anext(follower) == 2
        assert not beginning.done()
        following = asyncio.ensure_future(anext(follower))
        newest.refresh(2, look=3)
        assert await beginning == 2
        assert not following.done()
        newest.put(3, look=4)
        assert (await anext(late), await following) == (3, 3)


async def test_a_failed_look_is_told_to_who_waits_for_it_only() -> None:
    newest = Newest[int]()
    newest.put(1, look=1)
    async with aclosing(newest.follow()) as follower, aclosing(newest.follow(since=3)) as later:
        await anext(follower)
        beginning = asyncio.ensure_future(anext(newest.follow(since=2)))
        following = asyncio.ensure_future(anext(follower))
        waiting = asyncio.ensure_future(anext(later))
        await asyncio.sleep(0)
        newest.fail(2, RuntimeError("away"))
        with pytest.raises(RuntimeError, match="away"):
            await beginning
        assert not following.done()
        assert not waiting.done()
        newest.put(2, look=3)
        assert await asyncio.gather(following, waiting) == [2, 2]


def test_there_is_nothing_before_the_first() -> None:
    with pytest.raises(LookupError):
        _ = Newest[int]().value


@given(st.lists(st.booleans(), max_size=40))
def test_what_is_seen_is_in_order_and_ends_with_the_last(puts_or_reads: list[bool]) -> None:
    """Whatever is put and read in whatever order: nothing twice, nothing older, the last always."""

    async def play() -> tuple[int, list[int]]:
        newest, last, seen = Newest[int](), 0, list[int]()
        async with aclosing(newest.follow()) as values:
            for is_put in puts_or_reads:
                if is_put:
                    last += 1
                    newest.put(last)
                elif last > (seen[-1] if seen else 0):
                    seen.append(await anext(values))
            newest.close()
            seen += [value async for value in values]
        return last, seen

    last, seen = asyncio.run(play())
    assert seen == sorted(set(seen))
    assert seen[-1:] == ([last] if last else [])
