"""What a batch waits for before it begins."""

import asyncio

from services.gathering import MOST_ROUNDS, QUIET_PASSES, gather


async def test_who_is_on_their_way_is_waited_for() -> None:
    """Also where the event loop has nothing to do meanwhile, as during a round trip."""
    queue, arrived = ["one"], asyncio.get_running_loop().create_future()

    def arriving() -> asyncio.Future[None] | None:
        return None if arrived.done() else arrived

    gathering = asyncio.create_task(gather(queue, 10, arriving))
    for _ in range(5 * QUIET_PASSES):
        await asyncio.sleep(0)
    assert not gathering.done()
    queue.append("two")
    arrived.set_result(None)
    await gathering


async def test_a_stream_without_end_is_not_waited_for() -> None:
    """Some rounds at most, and no more than a batch holds."""
    rounds, queue = list[asyncio.Future[None]](), ["one"]

    def arriving() -> asyncio.Future[None]:
        round_ = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().call_soon(round_.set_result, None)
        rounds.append(round_)
        queue.append("another")
        return round_

    await gather(queue, 100, arriving)
    assert len(rounds) == MOST_ROUNDS
    await gather(queue, len(queue), arriving)
    assert len(rounds) == MOST_ROUNDS


async def test_a_round_that_is_broken_off_ends_the_waiting() -> None:
    """As when a process stops."""
    arrived: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    gathering = asyncio.create_task(gather(["one"], 10, lambda: arrived))
    await asyncio.sleep(0)
    assert not gathering.done()
    arrived.cancel()
    async with asyncio.timeout(20):
        await gathering
