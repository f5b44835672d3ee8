"""How often one member may take an item (`domain.md`, Exchange): counted, and when it resets."""

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from models.catalogue import LimitPeriod
from services.calendar import day_start, local_day, month_start, next_month_start, week_start
from services.catalogue.items import PerUserLimit
from services.errors import LimitReached

LIMIT_PERIODS = tuple(LimitPeriod)

TakenBy = tuple[int, int]
"""(user id, item id)."""

Taken = Mapping[LimitPeriod, int]
"""How many exchanges that were not cancelled fall into the running day, week, month, and ever."""

_COUNT = text(
    """
    SELECT user_id, item_id, count(*) AS lifetime,
           count(*) FILTER (WHERE created_at >= :month) AS month,
           count(*) FILTER (WHERE created_at >= :week) AS week,
           count(*) FILTER (WHERE created_at >= :day) AS day
    FROM exchanges
    JOIN unnest(CAST(:user_ids AS bigint[]), CAST(:item_ids AS bigint[]))
        AS asked(user_id, item_id) USING (user_id, item_id)
    WHERE status <> 'cancelled'
    GROUP BY user_id, item_id
    """
)


def period_starts(now: datetime, zone: ZoneInfo) -> dict[str, datetime]:
    """When the running day, week and month of the mall began, by those names."""
    today = local_day(now, zone)
    return {
        "day": day_start(today, zone),
        "week": day_start(week_start(today), zone),
        "month": day_start(month_start(today), zone),
    }


def period_end(period: LimitPeriod, now: datetime, zone: ZoneInfo) -> datetime | None:
    """When the running period ends and the count starts anew; None for a lifetime."""
    today = local_day(now, zone)
    match period:
        case LimitPeriod.DAY:
            return day_start(today + timedelta(days=1), zone)
        case LimitPeriod.WEEK:
            return day_start(week_start(today) + timedelta(days=7), zone)
        case LimitPeriod.MONTH:
            return day_start(next_month_start(today), zone)
        case LimitPeriod.LIFETIME:
            return None


async def count_taken(
    session: AsyncSession, pairs: Iterable[TakenBy], now: datetime, zone: ZoneInfo
) -> dict[TakenBy, dict[LimitPeriod, int]]:
    """What each member has taken of each item; pairs without any exchange are missing."""
    asked = list(set(pairs))
    parameters: dict[str, Any] = {
        "user_ids": [user_id for user_id, _ in asked],
        "item_ids": [item_id for _, item_id in asked],
        **period_starts(now, zone),
    }
    rows = await session.execute(_COUNT, parameters)
    return {
        (row.user_id, row.item_id): {period: getattr(row, period) for period in LIMIT_PERIODS}
        for row in rows
    }


def require_within_limit(
    limit: PerUserLimit | None, taken: Taken, now: datetime, zone: ZoneInfo
) -> None:
    """Raise LimitReached when one more would be too many."""
    if limit is not None and taken.get(limit.period, 0) >= limit.count:
        raise LimitReached(limit.count, limit.period, period_end(limit.period, now, zone))
