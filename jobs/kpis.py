"""Keeping what days and months came to, and what is owed, every night."""

from jobs.job import Payload, StepJob
from services.kpis.cohorts import keep_next_month
from services.kpis.liability import keep_liability
from services.kpis.roll_up import ROLL_UP_JOB, keep_next_day
from services.mall import Mall
from services.transaction import transaction


async def _roll_up(mall: Mall, _payload: Payload) -> bool:
    async with transaction(mall.stores.bulk) as session:
        if await keep_next_day(session, mall.clock(), mall.zone) is not None:
            return True
        if await keep_next_month(session, mall.clock(), mall.zone) is not None:
            return True
        await keep_liability(session, mall.clock(), mall.zone)
    return False


JOBS = (StepJob(ROLL_UP_JOB, _roll_up),)
