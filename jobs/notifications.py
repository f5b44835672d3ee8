"""Planning campaigns; and delivering pushes, the one job that talks to others."""

import asyncio
from collections.abc import Mapping, Sequence
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from jobs.job import Payload, Queue, SetJob, StepJob
from services.errors import ServiceUnavailable
from services.mall import Mall
from services.notifications.broadcast import PLAN_JOB, plan_page
from services.notifications.deliver import note_outcomes, send_pushes
from services.notifications.plan import BULK_DELIVERY_JOB, DELIVERY_JOB
from services.notifications.providers import Platform, PushProvider
from services.notifications.take import Batch, release_pushes, take_pushes
from services.transaction import transaction


async def _plan(session: AsyncSession, mall: Mall, payloads: Sequence[Payload]) -> None:
    for payload in payloads:
        await plan_page(session, UUID(payload["campaign_id"]), mall.clock())


_PAUSES_S = (0.2, 1.0, 5.0)

JOBS = (SetJob(PLAN_JOB, _plan, Queue.BULK, batch=1),)


async def _note(mall: Mall, batch: Batch) -> None:
    """Note what was sent, soon: while it is not noted it would be sent again.

    What cannot be noted at all is given back, so that the job fails, is tried again and is seen.
    """
    for pause_s in (*_PAUSES_S, None):
        try:
            async with transaction(mall.stores.write) as session:
                await note_outcomes(session, batch, mall.clock())
        except ServiceUnavailable:
            if pause_s is None:
                raise
            await asyncio.sleep(pause_s)
        except Exception:
            async with transaction(mall.stores.write) as session:
                await release_pushes(session, batch)
            raise
        else:
            return


def delivery_jobs(providers: Mapping[Platform, PushProvider]) -> tuple[StepJob, ...]:
    """The jobs that send pushes through these providers: the awaited ones, and the many."""

    async def deliver(mall: Mall, payload: Payload) -> bool:
        # The row is kept while it is worked on, the lease is not: it has to last longer.
        lease_s = 2 * mall.settings.jobs.job_resend_s
        async with transaction(mall.stores.write) as session:
            batch = await take_pushes(session, payload["push_ids"], mall.clock(), lease_s)
        if batch.pushes:
            await send_pushes(batch, providers, mall.clock())
            await _note(mall, batch)
        return False

    return (
        StepJob(DELIVERY_JOB, deliver, Queue.PROMPT),
        StepJob(BULK_DELIVERY_JOB, deliver, Queue.BULK),
    )
