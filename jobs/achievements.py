"""What follows an unlocked achievement, a wider definition, and the end of a week."""

from collections.abc import Sequence

from sqlalchemy.ext.asyncio import AsyncSession

from jobs.job import Payload, Queue, SetJob
from services.achievements.catch_up import CATCH_UP_JOB, catch_up
from services.achievements.congratulate import congratulate
from services.achievements.unlock import UNLOCKED_JOB
from services.achievements.weekly_top import WEEKLY_TOP_JOB, unlock_weekly_top
from services.mall import Mall


async def _congratulate(session: AsyncSession, mall: Mall, payloads: Sequence[Payload]) -> None:
    unlocked = [(payload["user_id"], payload["achievement_id"]) for payload in payloads]
    await congratulate(session, unlocked, mall.clock())


async def _catch_up(session: AsyncSession, mall: Mall, payloads: Sequence[Payload]) -> None:
    for payload in payloads:
        await catch_up(session, payload.get("after", 0), clock=mall.clock, zone=mall.zone)


async def _unlock_top(session: AsyncSession, mall: Mall, payloads: Sequence[Payload]) -> None:
    for payload in payloads:
        ranks = dict(payload["ranks"])
        await unlock_weekly_top(session, ranks, clock=mall.clock, zone=mall.zone)


JOBS = (
    SetJob(UNLOCKED_JOB, _congratulate),
    SetJob(CATCH_UP_JOB, _catch_up, Queue.BULK, batch=1),
    SetJob(WEEKLY_TOP_JOB, _unlock_top, Queue.BULK, batch=1),
)
