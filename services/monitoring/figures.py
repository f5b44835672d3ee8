"""Figures of how the mall does, for alerts, health and metrics.

What is dear to measure, a job measures every few minutes and keeps (`services.monitoring.measure`);
the rest is read at once, from indexes of what is open. So reading them is one short statement
however many members there are.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from services.monitoring.alerts import DELIVER_JOB
from services.monitoring.gains import Gain, gains_of

MEASUREMENT_VALID = timedelta(hours=1)
"""A measurement older than that says nothing of now: the figure is unknown."""
MOST_COUNTED = 100_000
"""Waiting and failed jobs are counted up to here: more says no more, and would take long."""
_MOST_LOOKED_AT = 1_000
_IS_OPEN = "done_at IS NULL AND failed_at IS NULL"


@dataclass(frozen=True, slots=True)
class Figures:
    """How the mall does; None where that is not known (never measured, or too long ago).

    Rates are shares, 0 to 1, as `services.kpis.rates` defines them, and None, too, where there is
    nothing to divide by. `largest_gains_1h` are those of the members who earned most in the last
    hour, the largest first. `outbox_lag_s` is how long the row has waited that waits longest: to be
    sent, or since it was first sent for a worker to begin. `outbox_waiting` and `failed_jobs` stop
    at `MOST_COUNTED`. `schedule_silence_s` is how long ago the scheduler last asked for anything.
    """

    members: int | None
    active_users_24h: int | None
    active_users_30d: int | None
    expiring_points_7d: int | None
    exchange_rate: float | None
    expiry_rate_30d: float | None
    largest_gains_1h: tuple[Gain, ...] | None
    gone_points_30d: int | None
    """Points that left balances in 30 days, spent or expired: what the expiry rate is of."""
    outbox_lag_s: float
    outbox_waiting: int
    failed_jobs: int
    undelivered_alerts: int
    ledger_violations: int | None
    """What the last checks of the books found; None before the first is complete."""
    schedule_silence_s: float | None
    measured_at: datetime | None


# Job by job, the first due first: what the limit leaves out has hardly waited longer. What a worker
# has claimed, and keeps from falling due, waits no more, however long it takes.
_WAITING = f"""
    WITH RECURSIVE names AS (
        SELECT min(job) AS job FROM outbox WHERE {_IS_OPEN}
        UNION ALL
        SELECT (SELECT min(job) FROM outbox WHERE {_IS_OPEN} AND job > names.job)
        FROM names WHERE names.job IS NOT NULL
    ), due AS (
        SELECT FROM outbox WHERE due_at <= :now AND {_IS_OPEN} LIMIT {MOST_COUNTED}
    )
    SELECT (SELECT count(*) FROM due) + coalesce(sum(of_job.sent), 0)::bigint AS jobs,
           min(of_job.since) AS oldest_at
    FROM names CROSS JOIN LATERAL (
        SELECT count(*) FILTER (WHERE is_sent) AS sent, min(since) AS since FROM (
            (SELECT false AS is_sent,
                    CASE WHEN claim IS NULL THEN least(due_at, sent_at) ELSE due_at END AS since
             FROM outbox WHERE outbox.job = names.job AND due_at <= :now AND {_IS_OPEN}
             ORDER BY due_at LIMIT {_MOST_LOOKED_AT})
            UNION ALL
            (SELECT true, sent_at FROM outbox
             WHERE outbox.job = names.job AND sent_at IS NOT NULL AND due_at > :now
               AND claim IS NULL AND {_IS_OPEN}
             LIMIT {MOST_COUNTED})
        ) waits
    ) of_job
"""
# The jobs that tell of alerts are counted apart, or their failing would be an alert of its own.
_READ = text(
    f"""
    SELECT
        (SELECT jsonb_object_agg(name, value) FROM measured_figures
         WHERE measured_at > :valid_from) AS measured,
        (SELECT max(measured_at) FROM measured_figures) AS measured_at,
        waiting.jobs AS waiting, waiting.oldest_at,
        failed.jobs AS failed, failed.undelivered,
        (SELECT max(greatest(violations, found)) FROM ledger_checks
         WHERE completed_at IS NOT NULL OR found > 0) AS violations,
        (SELECT max(slot_at) FROM scheduled_jobs) AS slot_at
    FROM ({_WAITING}) waiting
    CROSS JOIN (SELECT count(*) FILTER (WHERE job <> :deliver) AS jobs,
                       count(*) FILTER (WHERE job = :deliver) AS undelivered
                FROM (SELECT job FROM outbox WHERE failed_at IS NOT NULL
                      LIMIT {MOST_COUNTED}) dead) failed
    """
)


async def read_figures(session: AsyncSession, now: datetime) -> Figures:
    """The figures as they are now, in one short statement."""
    parameters = {"now": now, "valid_from": now - MEASUREMENT_VALID, "deliver": DELIVER_JOB}
    row = (await session.execute(_READ, parameters)).one()
    measured: Mapping[str, float | None] = row.measured or {}
    return Figures(
        members=_whole(measured.get("members")),
        active_users_24h=_whole(measured.get("active_users_24h")),
        active_users_30d=_whole(measured.get("active_users_30d")),
        expiring_points_7d=_whole(measured.get("expiring_points_7d")),
        exchange_rate=measured.get("exchange_rate"),
        expiry_rate_30d=measured.get("expiry_rate_30d"),
        largest_gains_1h=gains_of(measured),
        gone_points_30d=_whole(measured.get("gone_points_30d")),
        outbox_lag_s=_seconds_since(row.oldest_at, now) or 0.0,
        outbox_waiting=row.waiting,
        failed_jobs=row.failed,
        undelivered_alerts=row.undelivered,
        ledger_violations=_whole(row.violations),
        schedule_silence_s=_seconds_since(row.slot_at, now),
        measured_at=row.measured_at,
    )


def _whole(value: float | None) -> int | None:
    return None if value is None else int(value)


def _seconds_since(instant: datetime | None, now: datetime) -> float | None:
    return None if instant is None else max(0.0, (now - instant).total_seconds())
