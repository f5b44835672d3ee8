"""Jobs, by the names that outbox rows bear."""

from collections.abc import Mapping

from jobs import catalogue, exchange, notifications, points, reminders, sharing
from jobs.job import Job
from jobs.notifications import delivery_jobs
from jobs.points import in_batches
from services.clean_up import clean_up_batch
from services.notifications.providers import Platform, PushProvider

JOBS: Mapping[str, Job] = {
    job.name: job
    for job in (
        *points.JOBS,
        *exchange.JOBS,
        *catalogue.JOBS,
        *reminders.JOBS,
        *notifications.JOBS,
        *sharing.JOBS,
        in_batches("clean_up", clean_up_batch),
    )
}


def jobs_with(providers: Mapping[Platform, PushProvider]) -> Mapping[str, Job]:
    """All jobs, those that send pushes too; they need the providers that a worker has opened."""
    return {**JOBS, **{job.name: job for job in delivery_jobs(providers)}}
