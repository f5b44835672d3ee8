"""When jobs run by the clock, in the mall's time zone (`domain.md`, Jobs)."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import takewhile
from zoneinfo import ZoneInfo

from cronsim import CronSim

LONGEST_LOOK_BACK = timedelta(days=32)
"""The rarest job comes once a month; what was due before is not looked for."""


@dataclass(frozen=True, slots=True)
class Scheduled:
    """A job and its times, as a cron expression in the mall's time zone."""

    job: str
    times: str


def latest_slot(times: str, after: datetime, now: datetime, zone: ZoneInfo) -> datetime | None:
    """The last of those times that lies after `after` and not after `now`; None if none does.

    Those before it are passed over: after a time in which nobody kept the schedule a job is caught
    up with once. What falls into the hour that summer time skips comes right after it, and in the
    hour that winter time repeats only what runs hourly or oftener comes twice, as with Debian's
    cron.
    """
    start = max(after, now - LONGEST_LOOK_BACK).astimezone(zone)
    slots = takewhile(lambda slot: slot <= now, CronSim(times, start))
    return max(slots, default=None)


SCHEDULE: Sequence[Scheduled] = (
    Scheduled("expire_points", "*/5 * * * *"),
    Scheduled("activate_points", "* * * * *"),
    Scheduled("expire_codes", "*/10 * * * *"),
    # It is 09:00 somewhere every quarter of an hour.
    Scheduled("ask_for_reminders", "*/15 * * * *"),
    Scheduled("check_leaderboard", "* * * * *"),
    # Late enough for what was settled just before midnight to be committed.
    Scheduled("snapshot_ranks", "10 0 * * *"),
    Scheduled("train_recommendations", "30 3 * * *"),
    Scheduled("clean_up", "30 3 * * *"),
    Scheduled("check_alerts", "* * * * *"),
    Scheduled("sweep_books", "* * * * *"),
    Scheduled("measure_figures", "*/10 * * * *"),
    Scheduled("verify_books", "30 4 * * *"),
)
