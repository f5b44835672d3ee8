"""All jobs, by the names that outbox rows bear."""

from collections.abc import Mapping

from jobs import catalogue, exchange, points, reminders
from jobs.job import Job
from jobs.points import in_batches
from services.clean_up import clean_up_batch

JOBS: Mapping[str, Job] = {
    job.name: job
    for job in (
        *points.JOBS,
        *exchange.JOBS,
        *catalogue.JOBS,
        *reminders.JOBS,
        in_batches("clean_up", clean_up_batch),
    )
}
