"""What happened in the mall, by day (`docs/kpis.md`, Figures of a day).

One statement computes any run of days from the tables, each of which it reads by an index over the
time it asks for. What days that have ended came to is kept (`roll_up.py`); today is computed.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from datetime import date, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from services.calendar import day_start

OPENED_WITHIN_DAYS = 7
"""A push that is opened later than so many times 24 hours after it was sent counts as unopened."""

COMPUTE = f"""
    WITH ledger AS (
        SELECT (created_at AT TIME ZONE CAST(:zone AS text))::date AS day,
               sum(amount) FILTER (WHERE action IN ('earn', 'reverse')) AS issued,
               -sum(amount) FILTER (WHERE action IN ('redeem', 'extend', 'refund')) AS redeemed,
               -sum(amount) FILTER (WHERE action = 'expire') AS expired,
               sum(amount) FILTER (WHERE action = 'adjust') AS adjusted
        FROM points_audit_log WHERE created_at >= :since AND created_at < :until GROUP BY 1
    ), seen AS (
        SELECT day, count(*) AS members FROM member_days
        WHERE day BETWEEN CAST(:first AS date) AND CAST(:last AS date) GROUP BY 1
    ), taken AS (
        SELECT (created_at AT TIME ZONE CAST(:zone AS text))::date AS day, count(*) AS exchanges
        FROM exchanges
        WHERE status <> 'cancelled' AND created_at >= :since AND created_at < :until GROUP BY 1
    ), paid AS (
        SELECT (exchange.created_at AT TIME ZONE CAST(:zone AS text))::date AS day,
               sum(draw.points) AS points,
               sum(draw.points * EXTRACT(epoch FROM exchange.created_at - lot.created_at))
                   AS point_seconds
        FROM exchanges exchange
        JOIN lot_draws draw
            ON draw.user_id = exchange.user_id AND draw.sequence = exchange.audit_sequence
        JOIN points_records lot ON lot.id = draw.points_record_id
        WHERE exchange.status <> 'cancelled'
          AND exchange.created_at >= :since AND exchange.created_at < :until
        GROUP BY 1
    ), completed AS (
        SELECT day, count(*) AS tasks, count(DISTINCT seen.user_id) AS members
        FROM (SELECT (completed_at AT TIME ZONE CAST(:zone AS text))::date AS day, user_id
              FROM user_tasks WHERE completed_at >= :since AND completed_at < :until) task
        LEFT JOIN member_days seen USING (day, user_id)
        GROUP BY day
    ), pushed AS (
        SELECT (sent_at AT TIME ZONE CAST(:zone AS text))::date AS day, count(*) AS sent,
               count(*) FILTER (WHERE opened_at < sent_at + interval '{24 * OPENED_WITHIN_DAYS} h')
                   AS opened
        FROM push_records
        WHERE status = 'sent' AND sent_at >= :since AND sent_at < :until GROUP BY 1
    )
    SELECT day,
           coalesce(seen.members, 0) AS active_members,
           coalesce(issued, 0)::bigint AS points_issued,
           coalesce(redeemed, 0)::bigint AS points_redeemed,
           coalesce(expired, 0)::bigint AS points_expired,
           coalesce(adjusted, 0)::bigint AS points_adjusted,
           coalesce(exchanges, 0) AS exchanges,
           coalesce(paid.points, 0)::bigint AS exchange_points,
           coalesce(point_seconds, 0) AS exchange_point_seconds,
           coalesce(tasks, 0) AS tasks_completed,
           coalesce(completed.members, 0) AS completing_members,
           coalesce(sent, 0) AS pushes_sent,
           coalesce(opened, 0) AS pushes_opened
    FROM (SELECT CAST(each AS date) AS day
          FROM generate_series(CAST(:first AS date), CAST(:last AS date), interval '1 day') each
         ) days
    LEFT JOIN ledger USING (day)
    LEFT JOIN seen USING (day)
    LEFT JOIN taken USING (day)
    LEFT JOIN paid USING (day)
    LEFT JOIN completed USING (day)
    LEFT JOIN pushed USING (day)
"""
"""The figures of the days from `first` to `last`, one row each; see `days_asked`."""


@dataclass(frozen=True, slots=True)
class Figures:
    """What happened on one day of the mall; `models.kpis.DailyFigures` says what each is."""

    day: date
    active_members: int = 0
    points_issued: int = 0
    points_redeemed: int = 0
    points_expired: int = 0
    points_adjusted: int = 0
    exchanges: int = 0
    exchange_points: int = 0
    exchange_point_seconds: Decimal = Decimal(0)
    tasks_completed: int = 0
    completing_members: int = 0
    pushes_sent: int = 0
    pushes_opened: int = 0

    @property
    def net_points(self) -> int:
        """By how many points all balances together grew."""
        return (
            self.points_issued - self.points_redeemed - self.points_expired + (self.points_adjusted)
        )


COLUMNS = tuple(field.name for field in fields(Figures))
_COMPUTE = text(f"{COMPUTE} ORDER BY day")
_KEPT = text(
    f"""
    SELECT {", ".join(COLUMNS)} FROM daily_figures
    WHERE day BETWEEN CAST(:first AS date) AND CAST(:last AS date)
    """
)


def days_asked(first: date, last: date, zone: ZoneInfo) -> dict[str, Any]:
    """The parameters by which COMPUTE asks for the days of the mall from `first` to `last`."""
    return {
        "first": first,
        "last": last,
        "since": day_start(first, zone),
        "until": day_start(last + timedelta(days=1), zone),
        "zone": zone.key,
    }


async def compute_figures(
    session: AsyncSession, first: date, last: date, zone: ZoneInfo
) -> list[Figures]:
    """The figures of each day from `first` to `last`, counted now, in order."""
    rows = await session.execute(_COMPUTE, days_asked(first, last, zone))
    return [Figures(*row) for row in rows]


async def read_figures(
    session: AsyncSession, first: date, last: date, today: date, zone: ZoneInfo
) -> list[Figures]:
    """The figures of each day from `first` to `last`, in order, as they are kept.

    Counted now: today, and what is not kept (yet), which only costs more.
    """
    until = min(last, today - timedelta(days=1))
    rows = await session.execute(_KEPT, {"first": first, "last": until})
    found = {row.day: Figures(*row) for row in rows}
    for start, end in _runs([day for day in days_between(first, last) if day not in found]):
        found |= {each.day: each for each in await compute_figures(session, start, end, zone)}
    return [found[day] for day in days_between(first, last)]


def days_between(first: date, last: date) -> list[date]:
    """Every day from `first` to `last`; none where `last` lies before."""
    return [first + timedelta(days=number) for number in range((last - first).days + 1)]


def _runs(days: Sequence[date]) -> Iterator[tuple[date, date]]:
    """First and last of each run of days that follow one another."""
    start = 0
    for number, day in enumerate(days, 1):
        if number == len(days) or days[number] != day + timedelta(days=1):
            yield days[start], day
            start = number
