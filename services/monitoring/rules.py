"""The rules of alerts: what the figures say is wrong, and what they say is not. Pure.

Rules: `domain.md`, Operating it; each is explained in `docs/alerts.md`.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal

from services.kpis.rates import RATE_DAYS
from services.monitoring.alerts import AlertKind, Sighting, of_members
from services.monitoring.figures import Figures
from settings import AlertingSettings, SettingsError


@dataclass(frozen=True, slots=True)
class Thresholds:
    """The numbers beyond which there is an alert; rates are shares, 0 to 1.

    The floors keep a mall that has just opened quiet: with a handful of members a share says
    nothing.
    """

    exchange_rate: float = 0.10
    exchange_rate_floor_members: float = 100
    expiry_rate: float = 0.30
    expiry_rate_floor_points: float = 10_000
    expiring_points_7d: float = 100_000
    active_users_24h: float = 100
    slow_exchange_s: float = 2.0
    gain_1h: float = 10_000
    outbox_lag_s: float = 900
    schedule_silence_s: float = 300
    push_provider_down_s: float = 300


def thresholds_of(settings: AlertingSettings) -> Thresholds:
    """The thresholds as they are set; raises SettingsError for one that there is not."""
    known = {field.name for field in fields(Thresholds)}
    unknown = sorted(set(settings.alert_thresholds) - known)
    if unknown:
        raise SettingsError(
            f"MALL_ALERT_THRESHOLDS: there is no {', '.join(unknown)}; there are {sorted(known)}"
        )
    negative = sorted(name for name, value in settings.alert_thresholds.items() if not value >= 0)
    if negative:
        raise SettingsError(f"MALL_ALERT_THRESHOLDS: {', '.join(negative)} must not be below 0")
    return Thresholds(**settings.alert_thresholds)


@dataclass(frozen=True, slots=True)
class Judgement:
    """What is wrong, and the kinds of alerts that are over. What is in neither is not known."""

    seen: tuple[Sighting, ...]
    over: frozenset[AlertKind]


Finding = tuple[str, Mapping[str, Any]] | Literal["fine"] | None
"""The message and facts of what is wrong; "fine", or None where the figures do not tell."""
Rule = Callable[[Figures, Thresholds], Finding]


def judge(figures: Figures, thresholds: Thresholds) -> Judgement:
    """Apply every rule. A figure that is unknown neither raises an alert nor resolves one."""
    seen: list[Sighting] = []
    over: set[AlertKind] = set()
    for kind, rule in RULES.items():
        finding = rule(figures, thresholds)
        if finding == "fine":
            over.add(kind)
        elif finding is not None:
            seen.append(Sighting(kind, *finding))
    seen.extend(_gains(figures, thresholds))
    return Judgement(tuple(seen), frozenset(over))


def _exchange_rate(figures: Figures, thresholds: Thresholds) -> Finding:
    rate, active = figures.exchange_rate, figures.active_users_30d
    if active is None:
        return None
    floor = thresholds.exchange_rate_floor_members
    if rate is None or active < floor or rate >= thresholds.exchange_rate:
        return "fine"
    message = f"Of the members active in {RATE_DAYS} days only {rate:.1%} exchanged"
    return message, {"exchange_rate": rate, "active_users_30d": active}


def _expiry_rate(figures: Figures, thresholds: Thresholds) -> Finding:
    rate, gone = figures.expiry_rate_30d, figures.gone_points_30d
    if gone is None:
        return None
    floor = thresholds.expiry_rate_floor_points
    if rate is None or gone < floor or rate <= thresholds.expiry_rate:
        return "fine"
    message = f"Of the points that left balances in {RATE_DAYS} days {rate:.1%} expired"
    return message, {"expiry_rate_30d": rate, "gone_points_30d": gone}


def _expiring_points(figures: Figures, thresholds: Thresholds) -> Finding:
    points = figures.expiring_points_7d
    if points is None or points <= thresholds.expiring_points_7d:
        return None if points is None else "fine"
    return f"{points:,} points expire within 7 days", {"expiring_points_7d": points}


def _active_users(figures: Figures, thresholds: Thresholds) -> Finding:
    active, members = figures.active_users_24h, figures.members
    if active is None or members is None:
        return None
    fewest = thresholds.active_users_24h
    if members < fewest or active >= fewest:
        return "fine"
    message = f"Only {active:,} of {members:,} members were active in 24 hours"
    return message, {"active_users_24h": active, "members": members}


def _gains(figures: Figures, thresholds: Thresholds) -> Iterator[Sighting]:
    """Of an event: it is over when it has not happened for a while, not by any figure."""
    gains = [gain for gain in figures.largest_gains_1h or () if gain.points > thresholds.gain_1h]
    if gains:
        facts = {
            "user_ids": [gain.user_id for gain in gains],
            "gains_1h": [gain._asdict() for gain in gains],
        }
        yield of_members(AlertKind.ABNORMAL_GAINS, facts, measured_at=figures.measured_at)


def _ledger(figures: Figures, _thresholds: Thresholds) -> Finding:
    violations = figures.ledger_violations
    if not violations:
        return None if violations is None else "fine"
    message = f"The books are wrong in {violations:,} place(s): run `ledger verify`"
    return message, {"violations": violations}


def _dead_jobs(figures: Figures, _thresholds: Thresholds) -> Finding:
    if not figures.failed_jobs:
        return "fine"
    message = f"{figures.failed_jobs:,} job(s) failed for good: see `jobs failed`"
    return message, {"failed_jobs": figures.failed_jobs}


def _outbox_lag(figures: Figures, thresholds: Thresholds) -> Finding:
    lag_s, waiting = figures.outbox_lag_s, figures.outbox_waiting
    if lag_s <= thresholds.outbox_lag_s:
        return "fine"
    message = f"{waiting:,} job(s) are due, the first of them since {lag_s:,.0f} s"
    return message, {"outbox_lag_s": lag_s, "outbox_waiting": waiting}


def _schedule(figures: Figures, thresholds: Thresholds) -> Finding:
    silence_s = figures.schedule_silence_s
    if silence_s is None or silence_s <= thresholds.schedule_silence_s:
        return None if silence_s is None else "fine"
    message = f"No scheduler has asked for anything for {silence_s:,.0f} s"
    return message, {"schedule_silence_s": silence_s}


def _undelivered(figures: Figures, _thresholds: Thresholds) -> Finding:
    if not figures.undelivered_alerts:
        return "fine"
    message = f"{figures.undelivered_alerts:,} message(s) about alerts could not be delivered"
    return message, {"undelivered_alerts": figures.undelivered_alerts}


RULES: Mapping[AlertKind, Rule] = {
    AlertKind.EXCHANGE_RATE_LOW: _exchange_rate,
    AlertKind.EXPIRY_RATE_HIGH: _expiry_rate,
    AlertKind.POINTS_EXPIRING: _expiring_points,
    AlertKind.FEW_ACTIVE_USERS: _active_users,
    AlertKind.LEDGER_DRIFT: _ledger,
    AlertKind.DEAD_JOBS: _dead_jobs,
    AlertKind.OUTBOX_LAG: _outbox_lag,
    AlertKind.SCHEDULE_SILENT: _schedule,
    AlertKind.ALERTS_UNDELIVERED: _undelivered,
}
"""The rules that figures decide both ways; alerts about events are noticed where they happen."""
