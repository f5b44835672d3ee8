"""The key figures of a period (`docs/kpis.md` defines each; targets: `domain.md`, Operating it)."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from services.calendar import local_day
from services.errors import BadInput
from services.kpis.figures import Figures, days_asked, read_figures
from services.kpis.rates import RATE_DAYS, exchange_rate, expiry_rate, share
from services.kpis.requests import Service, read_service
from services.kpis.roll_up import known_from
from services.kpis.satisfaction import promoter_score
from services.kpis.targets import Judged, judge

LONGEST_PERIOD_DAYS = 366
EARLIEST_DAY, LATEST_DAY = date(2000, 1, 1), date(2999, 12, 31)
"""Days outside of them are slips; with them no window leaves the calendar."""
_SECONDS_A_DAY = 86_400

# Once each over the days, which the days themselves cannot say.
_MEMBERS = text(
    """
    WITH taking AS (
        SELECT DISTINCT user_id FROM exchanges
        WHERE status <> 'cancelled' AND created_at >= :since AND created_at < :until
    ), seen AS (
        SELECT user_id FROM member_days
        WHERE day BETWEEN CAST(:first AS date) AND CAST(:last AS date)
        UNION SELECT user_id FROM taking
    )
    SELECT (SELECT count(*) FROM taking) AS exchanging, (SELECT count(*) FROM seen) AS active
    """
)
_BALANCES = text("SELECT coalesce(sum(points), 0)::bigint FROM users")


@dataclass(frozen=True, slots=True)
class Totals:
    """What the days of a period came to together."""

    points_issued: int
    points_redeemed: int
    points_expired: int
    points_adjusted: int
    task_completion_rate: float | None
    push_open_rate: float | None
    average_exchange_cycle_days: float | None
    expiry_rate: float | None


@dataclass(frozen=True, slots=True)
class Report:
    """The key figures of the days from `first` to `last`; rates are shares of 1.

    `days` are those of them that have begun.
    """

    first: date
    last: date
    days: Sequence[Figures]
    daily_active_users: float
    daily_active_users_change: float | None
    exchange_rate: float | None
    net_promoter_score: float | None
    service: Service
    outstanding_points: int
    totals: Totals

    @property
    def api_latency_p95_ms(self) -> float | None:
        """Milliseconds within which 95 of 100 requests were answered."""
        return None if self.service.p95_s is None else 1000 * self.service.p95_s

    @property
    def judged(self) -> list[Judged]:
        """The figures that have a target, against it."""
        totals = self.totals
        return judge(
            {
                "daily_active_users_change": self.daily_active_users_change,
                "task_completion_rate": totals.task_completion_rate,
                "push_open_rate": totals.push_open_rate,
                "exchange_rate": self.exchange_rate,
                "average_exchange_cycle_days": totals.average_exchange_cycle_days,
                "net_promoter_score": self.net_promoter_score,
                "api_latency_p95_ms": self.api_latency_p95_ms,
                "availability": self.service.availability,
                "expiry_rate": totals.expiry_rate,
            }
        )


async def report(
    session: AsyncSession, first: date, last: date, now: datetime, zone: ZoneInfo
) -> Report:
    """The key figures of the days from `first` to `last`, all of one moment.

    Makes the transaction a REPEATABLE READ one: it must be the first to use it. Raises BadInput
    for a period that ends before it begins, or of more than LONGEST_PERIOD_DAYS.
    """
    _require_period(first, last)
    await session.connection(execution_options={"isolation_level": "REPEATABLE READ"})
    today = local_day(now, zone)
    end = min(last, today)
    compared = _compared(first, end, today)
    start = first - timedelta(days=compared)
    known = await read_figures(session, start, today, today, zone)
    days = [each for each in known if first <= each.day <= last]
    before = [each for each in known if each.day < first]
    average, previous = _daily_active(days[:compared]), _daily_active(before)
    period = days_asked(first, last, zone)
    balances = (await session.execute(_BALANCES)).scalar_one()
    return Report(
        first=first,
        last=last,
        days=days,
        daily_active_users=average,
        daily_active_users_change=average / previous - 1 if previous else None,
        exchange_rate=await _exchange_rate(session, end, known_from(now, zone), zone),
        net_promoter_score=await promoter_score(session, period["since"], period["until"]),
        service=await read_service(session, first, last),
        outstanding_points=balances - sum(each.net_points for each in known if each.day > last),
        totals=total(days),
    )


def total(days: Iterable[Figures]) -> Totals:
    """What days came to together: sums of sums, so that no day weighs more than it should."""
    counted = list(days)

    def all_of(name: str) -> int:
        return sum(getattr(each, name) for each in counted)

    points, seconds = all_of("exchange_points"), all_of("exchange_point_seconds")
    redeemed, expired = all_of("points_redeemed"), all_of("points_expired")
    return Totals(
        points_issued=all_of("points_issued"),
        points_redeemed=redeemed,
        points_expired=expired,
        points_adjusted=all_of("points_adjusted"),
        task_completion_rate=share(all_of("completing_members"), all_of("active_members")),
        push_open_rate=share(all_of("pushes_opened"), all_of("pushes_sent")),
        average_exchange_cycle_days=float(seconds / points / _SECONDS_A_DAY) if points else None,
        expiry_rate=expiry_rate(expired, redeemed),
    )


def _require_period(first: date, last: date) -> None:
    if not EARLIEST_DAY <= first <= last <= LATEST_DAY:
        raise BadInput(
            f"from must not lie after to, nor either before {EARLIEST_DAY:%Y} or far off"
        )
    if (last - first).days >= LONGEST_PERIOD_DAYS:
        raise BadInput(f"a period has at most {LONGEST_PERIOD_DAYS} days")


def _compared(first: date, end: date, today: date) -> int:
    """How many days the average is of: those that have ended; today only where there is no other.

    A day that has just begun would pull down the average of a month.
    """
    begun = (end - first).days + 1
    return max(0, begun - 1 if end == today and begun > 1 else begun)


def _daily_active(days: Sequence[Figures]) -> float:
    return sum(each.active_members for each in days) / len(days) if days else 0.0


async def _exchange_rate(
    session: AsyncSession, end: date, known: date, zone: ZoneInfo
) -> float | None:
    """Of the days that end with `end`; None where it is forgotten who was seen on some of them."""
    first = end - timedelta(days=RATE_DAYS - 1)
    if first < known:
        return None
    row = (await session.execute(_MEMBERS, days_asked(first, end, zone))).one()
    return exchange_rate(row.exchanging, row.active)
