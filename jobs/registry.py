"""Jobs, by the names that outbox rows bear."""

from collections.abc import Mapping

from sqlalchemy.ext.asyncio import AsyncSession

from jobs import (
    achievements,
    catalogue,
    exchange,
    holds,
    kpis,
    leaderboard,
    monitoring,
    notifications,
    points,
    recommendations,
    reminders,
    sharing,
)
from jobs.job import Job
from jobs.notifications import delivery_jobs
from jobs.points import in_batches
from services.clean_up import clean_up_batch
from services.mall import Mall
from services.notifications.providers import Platform, PushProvider


async def _clean_up(session: AsyncSession, mall: Mall) -> object | None:
    return await clean_up_batch(session, mall.clock)


JOBS: Mapping[str, Job] = {
    job.name: job
    for job in (
        *points.JOBS,
        *holds.JOBS,
        *exchange.JOBS,
        *catalogue.JOBS,
        *reminders.JOBS,
        *leaderboard.JOBS,
        *kpis.JOBS,
        *achievements.JOBS,
        *notifications.JOBS,
        *sharing.JOBS,
        *recommendations.JOBS,
        *monitoring.JOBS,
        in_batches("clean_up", _clean_up),
    )
}


def jobs_with(providers: Mapping[Platform, PushProvider]) -> Mapping[str, Job]:
    """All jobs, those that send pushes too; they need the providers that a worker has opened."""
    return {**JOBS, **{job.name: job for job in delivery_jobs(providers)}}
