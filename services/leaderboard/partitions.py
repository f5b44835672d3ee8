"""The months of `rank_history`: each a table of its own, made some days ahead.

Only the snapshots write here, one at a time, so they make what they need, and drop whole months
that nobody can ask for any more, which costs nothing per row.
"""

from datetime import date, timedelta

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from services.calendar import month_start, next_month_start

KEPT_DAYS = 366
"""How far back ranks can be asked for: a year, a leap year too."""

_PREFIX = "rank_history_"
_MONTHS = text(
    """
    SELECT relname FROM pg_inherits JOIN pg_class ON pg_class.oid = inhrelid
    WHERE inhparent = 'rank_history'::regclass ORDER BY relname
    """
)
_FORGET_SNAPSHOTS = text("DELETE FROM rank_snapshots WHERE day < CAST(:before AS date)")


async def make_month(session: AsyncSession, day: date) -> None:
    """Make the partition of the month of `day`, if it is not there."""
    first, end = month_start(day), next_month_start(day)
    # Dates of our own making: DDL takes no parameters.
    await session.execute(
        text(
            f"CREATE TABLE IF NOT EXISTS {_PREFIX}{first:%Y_%m} PARTITION OF rank_history"
            f" FOR VALUES FROM ('{first}') TO ('{end}')"
        )
    )


async def make_months_ahead(session: AsyncSession, today: date) -> None:
    """Make the months that yesterday and the next days need, in a transaction of its own.

    Making one shuts readers out until the commit: not for as long as ranking everybody takes.
    """
    for days in (-1, 7):
        await make_month(session, today + timedelta(days=days))


async def drop_old_months(session: AsyncSession, today: date) -> list[date]:
    """Drop the months whose last day nobody can ask for any more; returns their first days."""
    dropped: list[date] = []
    for name in (await session.execute(_MONTHS)).scalars().all():
        year, month = map(int, name.removeprefix(_PREFIX).split("_"))
        first = date(year, month, 1)
        if next_month_start(first) <= today - timedelta(days=KEPT_DAYS):
            await session.execute(text(f"DROP TABLE {name}"))
            dropped.append(first)
    if dropped:
        before = next_month_start(max(dropped))
        await session.execute(_FORGET_SNAPSHOTS, {"before": before})
    return dropped
