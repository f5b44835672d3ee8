"""The key figures once more, from every row of the tables, in plain Python and another way.

Written from `docs/kpis.md`, sharing nothing with the mall but the tables.
"""

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from fractions import Fraction
from typing import Any
from zoneinfo import ZoneInfo

from services.mall import Mall
from tests.factories import execute

_ISSUED, _SPENT = {"earn", "reverse"}, {"redeem", "extend", "refund"}


@dataclass
class NaiveDay:
    """What happened on one day."""

    members: set[int] = field(default_factory=set[int])
    issued: int = 0
    redeemed: int = 0
    expired: int = 0
    adjusted: int = 0
    exchanging: list[int] = field(default_factory=list[int])
    exchange_points: int = 0
    exchange_point_days: Fraction = Fraction(0)
    completions: list[int] = field(default_factory=list[int])
    sent: int = 0
    opened: int = 0


@dataclass
class NaiveMall:
    """Everything, by day of a zone."""

    zone: ZoneInfo
    days: defaultdict[date, NaiveDay] = field(default_factory=lambda: defaultdict(NaiveDay))

    def of(self, instant: datetime) -> NaiveDay:
        """The day in which an instant lies."""
        return self.days[instant.astimezone(self.zone).date()]

    def between(self, first: date, last: date) -> list[NaiveDay]:
        """The days from first to last."""
        return [self.days[first + timedelta(n)] for n in range((last - first).days + 1)]

    def outstanding(self, last: date) -> int:
        """All balances at the end of a day, from the first day on."""
        return sum(
            day.issued - day.redeemed - day.expired + day.adjusted
            for each, day in self.days.items()
            if each <= last
        )

    def exchange_rate(self, last: date) -> float | None:
        """Of the members active in 30 days, those who exchanged."""
        window = self.between(last - timedelta(29), last)
        took = {user for day in window for user in day.exchanging}
        active = took.union(*(day.members for day in window))
        return len(took) / len(active) if active else None


async def read_everything(mall: Mall, zone: ZoneInfo) -> NaiveMall:
    """Every row, booked on its day."""
    found = NaiveMall(zone)
    for row in await execute(mall, "SELECT * FROM points_audit_log"):
        _book(found.of(row.created_at), row)
    for row in await execute(mall, "SELECT * FROM member_days"):
        found.days[row.day].members.add(row.user_id)
    lots = {row.id: row.created_at for row in await execute(mall, "SELECT * FROM points_records")}
    draws = defaultdict[tuple[int, int], list[Any]](list)
    for row in await execute(mall, "SELECT * FROM lot_draws"):
        draws[row.user_id, row.sequence].append(row)
    for row in await execute(mall, "SELECT * FROM exchanges WHERE cancelled_at IS NULL"):
        day = found.of(row.created_at)
        day.exchanging.append(row.user_id)
        for draw in draws[row.user_id, row.audit_sequence]:
            held = row.created_at - lots[draw.points_record_id]
            day.exchange_points += draw.points
            day.exchange_point_days += draw.points * Fraction(held / timedelta(microseconds=1))
    for row in await execute(mall, "SELECT * FROM user_tasks WHERE points_earned > 0"):
        found.of(row.completed_at).completions.append(row.user_id)
    for row in await execute(mall, "SELECT * FROM push_records WHERE status = 'sent'"):
        day = found.of(row.sent_at)
        day.sent += 1
        day.opened += bool(row.opened_at and row.opened_at - row.sent_at < timedelta(days=7))
    return found


def _book(day: NaiveDay, row: Any) -> None:
    if row.action in _ISSUED:
        day.issued += row.amount
    elif row.action in _SPENT:
        day.redeemed -= row.amount
    elif row.action == "expire":
        day.expired -= row.amount
    else:
        day.adjusted += row.amount


def as_row(each: date, day: NaiveDay) -> dict[str, Any]:
    """The day as `kpis` shows it."""
    return {
        "date": each.isoformat(),
        "activeUsers": len(day.members),
        "pointsIssued": day.issued,
        "pointsRedeemed": day.redeemed,
        "pointsExpired": day.expired,
        "pointsAdjusted": day.adjusted,
        "exchanges": len(day.exchanging),
        "tasksCompleted": len(day.completions),
        "pushesSent": day.sent,
        "pushesOpened": day.opened,
    }


def as_report(found: NaiveMall, first: date, last: date, today: date) -> dict[str, Any]:
    """What `kpis` shows of the days from first to last, in the past or with today the last."""
    days = found.between(first, last)
    ended = days[:-1] if last == today and len(days) > 1 else days
    before = found.between(first - timedelta(len(ended)), first - timedelta(1))
    average, previous = (
        Fraction(sum(len(day.members) for day in some), len(some)) for some in (ended, before)
    )
    sums = Counter[str]()
    for day in days:
        sums["active"] += len(day.members)
        sums["completing"] += len(day.members & set(day.completions))
        sums["sent"] += day.sent
        sums["opened"] += day.opened
        sums["paid"] += day.exchange_points
        for name in ("issued", "redeemed", "expired", "adjusted"):
            sums[name] += getattr(day, name)
    held = sum((day.exchange_point_days for day in days), Fraction(0))
    microseconds_a_day = 24 * 3600 * 1_000_000
    gone = sums["expired"] + max(0, sums["redeemed"])
    return {
        "days": [as_row(first + timedelta(n), day) for n, day in enumerate(days)],
        "dailyActiveUsers": float(average),
        "dailyActiveUsersChange": float(average / previous - 1) if previous else None,
        "taskCompletionRate": _rate(sums["completing"], sums["active"]),
        "pushOpenRate": _rate(sums["opened"], sums["sent"]),
        "exchangeRate": found.exchange_rate(last),
        "averageExchangeCycleDays": (
            float(held / sums["paid"] / microseconds_a_day) if sums["paid"] else None
        ),
        "expiryRate": _rate(sums["expired"], gone),
        "pointsIssued": sums["issued"],
        "pointsRedeemed": sums["redeemed"],
        "pointsExpired": sums["expired"],
        "pointsAdjusted": sums["adjusted"],
        "outstandingPoints": found.outstanding(last),
    }


def _rate(part: int, whole: int) -> float | None:
    return part / whole if whole else None
