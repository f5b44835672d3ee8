"""Ending what works in the background, also where a library takes no notice at first."""

import asyncio

from services.ending import end


async def test_who_overhears_it_once_is_asked_again() -> None:
    overheard = asyncio.Event()

    async def work() -> None:
        while True:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                if overheard.is_set():
                    raise
                overheard.set()

    async def fail() -> None:
        raise ValueError

    tasks = [asyncio.create_task(work()), asyncio.create_task(fail())]
    await asyncio.sleep(0)
    async with asyncio.timeout(20):
        await end(*tasks)
    assert overheard.is_set()
    assert tasks[0].cancelled()
    assert isinstance(tasks[1].exception(), ValueError)


async def test_nothing_ends_at_once() -> None:
    await end()
