"""Lots that end, and lots whose time has come."""

from collections.abc import Awaitable, Callable

from sqlalchemy.ext.asyncio import AsyncSession

from jobs.job import Payload, StepJob
from services.calendar import Clock
from services.catalogue.coupon_codes import expire_codes
from services.mall import Mall
from services.points.activate import activate_batch
from services.points.expire import expire_batch
from services.transaction import transaction

SettleBatch = Callable[[AsyncSession, Clock], Awaitable[object | None]]
"""Settles a bounded part of what is due, in the given transaction; None when nothing was due."""


def in_batches(name: str, settle: SettleBatch) -> StepJob:
    """A job that settles batch by batch, each in a transaction of its own, until none is due."""

    async def step(mall: Mall, _payload: Payload) -> bool:
        async with transaction(mall.stores.bulk) as session:
            return await settle(session, mall.clock) is not None

    return StepJob(name, step)


async def _activate(mall: Mall, _payload: Payload) -> bool:
    async with transaction(mall.stores.bulk) as session:
        return await activate_batch(session, mall.clock, mall.zone) is not None


JOBS = (
    in_batches("expire_points", expire_batch),
    StepJob("activate_points", _activate),
    in_batches("expire_codes", expire_codes),
)
