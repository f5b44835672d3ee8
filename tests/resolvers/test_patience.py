"""Giving operations up: only those whose time is over, and for the reason that is so."""

import asyncio

import pytest
from starlette.requests import ClientDisconnect

from resolvers.patience import TOO_SLOW, Patience
from resolvers.transport_errors import OperationRefused


async def test_only_what_takes_too_long_is_given_up() -> None:
    """What begins afterwards has a time of its own, and is watched as well."""
    patience, quick = Patience(0.05), asyncio.get_running_loop().create_future()
    with pytest.raises(OperationRefused, match=TOO_SLOW[:20]):
        await patience.wait_for(asyncio.Event().wait(), None)
    later = asyncio.create_task(patience.wait_for(quick, None))
    quick.set_result("done")
    assert await later == "done"
    with pytest.raises(OperationRefused, match=TOO_SLOW[:20]):
        await patience.wait_for(asyncio.Event().wait(), None)


async def test_a_cancellation_by_others_stays_one() -> None:
    """It is no slowness, whatever else happens."""
    waiting = asyncio.create_task(Patience(60).wait_for(asyncio.Event().wait(), None))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting


async def test_who_leaves_ends_it_and_nothing_is_left_of_the_wish() -> None:
    """The task goes on for whoever caught it: it is not cancelled any more."""
    gone = asyncio.Event()

    async def leaving() -> None:
        await gone.wait()

    async def serve() -> int:
        with pytest.raises(ClientDisconnect):
            await Patience(60).wait_for(asyncio.Event().wait(), leaving)
        task = asyncio.current_task()
        return -1 if task is None else task.cancelling()

    serving = asyncio.create_task(serve())
    gone.set()
    assert await serving == 0
