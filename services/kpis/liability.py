"""What the mall owes its members, when that ends, and how much of it nobody will ask for."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from zoneinfo import ZoneInfo

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from services.calendar import next_month_start
from services.kpis.breakage import Cohort, Forecast, forecast, forecast_cohorts
from services.kpis.cohorts import read_movements

_BALANCES = text("SELECT coalesce(sum(points), 0)::bigint FROM users")
_LOTS = text(
    """
    SELECT CAST(date_trunc('month', expires_at AT TIME ZONE CAST(:zone AS text)) AS date) AS month,
           coalesce(sum(points) FILTER (WHERE status = 'active'), 0)::bigint AS active,
           coalesce(sum(points) FILTER (WHERE status = 'pending'), 0)::bigint AS pending
    FROM points_records WHERE status IN ('active', 'pending') GROUP BY 1 ORDER BY 1
    """
)


@dataclass(frozen=True, slots=True)
class Ending:
    """Points that end in a month (its first day); None for those that never end."""

    month: date | None
    points: int


@dataclass(frozen=True, slots=True)
class Liability:
    """What members hold (`outstanding`) and will hold (`pending`), and when it ends.

    `cohorts` and `forecast` are of the lots that end, as they stood when `as_of` ended: the last
    day of the last month that is kept, None before the first.
    """

    outstanding: int
    pending: int
    endings: Sequence[Ending]
    as_of: date | None
    cohorts: Sequence[Cohort]
    forecast: Forecast


async def read_liability(session: AsyncSession, zone: ZoneInfo) -> Liability:
    """What is owed now, all of one moment: makes the transaction a REPEATABLE READ one.

    Reads every lot that is not used up. Cohorts are of the months that are kept.
    """
    await session.connection(execution_options={"isolation_level": "REPEATABLE READ"})
    balances = (await session.execute(_BALANCES)).scalar_one()
    lots = (await session.execute(_LOTS, {"zone": zone.key})).all()
    movements = await read_movements(session)
    last_month = max((each.month for each in movements), default=None)
    cohorts = forecast_cohorts(movements, last_month) if last_month else []
    return Liability(
        outstanding=balances,
        pending=sum(row.pending for row in lots),
        endings=[Ending(row.month, row.active) for row in lots if row.active],
        as_of=last_month and next_month_start(last_month) - timedelta(days=1),
        cohorts=cohorts,
        forecast=forecast(cohorts),
    )
