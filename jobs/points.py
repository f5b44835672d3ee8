"""Lots that end, and lots whose time has come."""

from collections.abc import Awaitable, Callable

from sqlalchemy.ext.asyncio import AsyncSession

from jobs.job import Payload, StepJob
from services.catalogue.coupon_codes import expire_codes
from services.mall import Mall
from services.points.activate import activate_batch
from services.points.expire import expire_batch
from services.transaction import transaction

SettleBatch = Callable[[AsyncSession, Mall], Awaitable[object | None]]
"""Settles a bounded part of what is due, in the given transaction; None when nothing was due."""


def in_batches(name: str, settle: SettleBatch) -> StepJob:
    """A job that settles batch by batch, each in a transaction of its own, until none is due."""

    async def step(mall: Mall, _payload: Payload) -> bool:
        async with transaction(mall.stores.bulk) as session:
            return await settle(session, mall) is not None

    return StepJob(name, step)


async def _expire_points(session: AsyncSession, mall: Mall) -> object | None:
    return await expire_batch(session, mall.clock, zone=mall.zone)


async def _activate_points(session: AsyncSession, mall: Mall) -> object | None:
    return await activate_batch(session, mall.clock, zone=mall.zone)


async def _expire_codes(session: AsyncSession, mall: Mall) -> object | None:
    return await expire_codes(session, mall.clock)


JOBS = (
    in_batches("expire_points", _expire_points),
    in_batches("activate_points", _activate_points),
    in_batches("expire_codes", _expire_codes),
)
