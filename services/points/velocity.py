"""What is gained so fast that somebody should look first (`domain.md`, Operating it, Abuse).

Points above the rules are granted as pending and stay so until an operator decides
(`services.points.holds`). Pure: the rules travel with the accounts that they are applied to.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from services.limits.bucket import take
from services.limits.rates import Rate
from settings import LimitSettings

RULES_KEY: Final = "velocity_rules"
"""Where a session's `info` has the rules of its mall."""
HOUR_S: Final = 3_600
DEVICE_DAYS: Final = 30
"""For so long it counts who had a device, and so long all is held of who is one too many."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class VelocityRules:
    """From when on gains are held; 0 holds none."""

    gains_an_hour: int = 0
    invites_an_hour: int = 0
    accounts_a_device: int = 0


def velocity_rules(settings: LimitSettings) -> VelocityRules:
    """The rules that an operator set."""
    return VelocityRules(
        gains_an_hour=settings.gains_held_above,
        invites_an_hour=settings.invites_held_above,
        accounts_a_device=settings.device_accounts_held_above,
    )


NO_RULES: Final = VelocityRules()


def gains_after(
    rules: VelocityRules, full_at: datetime | None, points: int, now: datetime
) -> datetime | None:
    """When an hour's points may be gained at once again, after these; None: they are too many.

    As a bucket (`services.limits.bucket`) that holds an hour's points: that many at once, then so
    many an hour. `full_at` is what this said last.
    """
    most = rules.gains_an_hour
    if points > most:
        return None
    rate = Rate(most, HOUR_S)
    full_at_us = None if full_at is None else _microseconds(full_at)
    takes_us = points * rate.interval_us
    after_us, wait_us = take(full_at_us, _microseconds(now), takes_us, rate.size_us)
    return None if wait_us else _EPOCH + timedelta(microseconds=after_us)


def _microseconds(instant: datetime) -> int:
    return (instant - _EPOCH) // _MICROSECOND
