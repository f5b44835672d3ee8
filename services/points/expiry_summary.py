"""What a member is about to lose, day by day."""

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from services.errors import BadInput
from services.points.expiry import EXPIRING_SOON_DAYS

LONGEST_WINDOW_DAYS = 3_660

_BY_DAY = text(
    """
    SELECT (expires_at AT TIME ZONE CAST(:zone AS text))::date AS day,
           min(expires_at) AS earliest,
           sum(points) FILTER (WHERE expires_at <= :until)::bigint AS points,
           sum(points) FILTER (WHERE expires_at <= :soon)::bigint AS points_soon
    FROM points_records
    WHERE user_id = :user_id AND status = 'active'
      AND expires_at > :now AND expires_at <= greatest(CAST(:until AS timestamptz), :soon)
    GROUP BY day ORDER BY day
    """
)


@dataclass(frozen=True, slots=True)
class ExpiringPoints:
    """Points that end on one day of the mall; `earliest` is the first instant at which some do."""

    date: date
    points: int
    earliest: datetime


@dataclass(frozen=True, slots=True)
class ExpirySummary:
    """What expires within `days`, soonest first; `next_soon` only when within a week."""

    days: int
    now: datetime
    upcoming: tuple[ExpiringPoints, ...]
    next_soon: ExpiringPoints | None

    @property
    def expiring_points(self) -> int:
        """All points that end within the window."""
        return sum(day.points for day in self.upcoming)

    @property
    def earliest_expiry(self) -> datetime | None:
        """The first instant at which points end, within the window."""
        return self.upcoming[0].earliest if self.upcoming else None

    @property
    def days_until_expiry(self) -> int | None:
        """Whole days until then."""
        earliest = self.earliest_expiry
        return None if earliest is None else (earliest - self.now).days


async def expiry_summary(
    session: AsyncSession, user_id: int, days: int, now: datetime, zone: ZoneInfo
) -> ExpirySummary:
    """What of the user's points ends within `days` (1 to 3,660; else BadInput)."""
    if not 1 <= days <= LONGEST_WINDOW_DAYS:
        raise BadInput(f"days must lie between 1 and {LONGEST_WINDOW_DAYS}")
    until, soon = (now + timedelta(days=span) for span in (days, EXPIRING_SOON_DAYS))
    parameters = {
        "user_id": user_id,
        "zone": zone.key,
        "now": now,
        "until": until,
        "soon": soon,
    }
    rows = (await session.execute(_BY_DAY, parameters)).all()
    upcoming = tuple(ExpiringPoints(r.day, r.points, r.earliest) for r in rows if r.points)
    next_soon = None
    if rows and rows[0].points_soon:
        next_soon = ExpiringPoints(rows[0].day, rows[0].points_soon, rows[0].earliest)
    return ExpirySummary(days, now, upcoming, next_soon)
