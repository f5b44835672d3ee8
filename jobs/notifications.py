"""Planning campaigns; and delivering pushes, the one job that talks to others."""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import datetime
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from jobs.job import Payload, Queue, SetJob, TalkJob
from services.mall import Mall
from services.notifications.broadcast import PLAN_JOB, plan_page
from services.notifications.deliver import note_outcomes, send_pushes
from services.notifications.plan import BULK_DELIVERY_JOB, DELIVERY_JOB
from services.notifications.providers import (
    DeviceGone,
    NotTried,
    PayloadRejected,
    Platform,
    PushProvider,
    RetryLater,
    Sent,
)
from services.notifications.take import Batch, take_pushes


async def _plan(session: AsyncSession, mall: Mall, payloads: Sequence[Payload]) -> None:
    for payload in payloads:
        await plan_page(session, UUID(payload["campaign_id"]), mall.clock())


_ROWS_AT_ONCE = 25  # most hold one confirmation

JOBS = (SetJob(PLAN_JOB, _plan, Queue.BULK, batch=1),)


async def _take(session: AsyncSession, mall: Mall, payload: Payload) -> Batch:
    return await take_pushes(session, payload["push_ids"], mall.clock())


async def _note(session: AsyncSession, mall: Mall, batch: Batch, is_ours: bool) -> datetime | None:
    return await note_outcomes(session, batch, mall.clock(), is_ours=is_ours)


_ANSWERS = {
    Sent: "sent",
    DeviceGone: "device_gone",
    PayloadRejected: "rejected",
    RetryLater: "retry_later",
    NotTried: "not_tried",
}


def _count_answers(mall: Mall, batch: Batch) -> None:
    for push in batch.pushes:
        for target, outcome in batch.outcomes.get(push.id, ()):
            mall.metrics.count_answer(target.platform, push.type, _ANSWERS[type(outcome)])


def delivery_jobs(providers: Mapping[Platform, PushProvider]) -> tuple[TalkJob[Batch], ...]:
    """The jobs that send pushes through these providers: the awaited ones, and the many."""

    async def send_awaited(mall: Mall, batch: Batch, stopping: asyncio.Event) -> None:
        await send_pushes(batch, providers, mall.clock(), stopping, is_awaited=True)
        _count_answers(mall, batch)

    async def send_many(mall: Mall, batch: Batch, stopping: asyncio.Event) -> None:
        await send_pushes(batch, providers, mall.clock(), stopping, is_awaited=False)
        _count_answers(mall, batch)

    return (
        TalkJob(DELIVERY_JOB, _take, send_awaited, _note, Queue.PROMPT_PUSHES, _ROWS_AT_ONCE),
        TalkJob(BULK_DELIVERY_JOB, _take, send_many, _note, Queue.BULK_PUSHES),
    )
