"""Which days of which time zones members are to be reminded on, each asked for once.

Reminders are due at 09:00 of the member's own time (`domain.md`, Notifications). A day that was
not asked for then, for nothing ran, is caught up with until the evening; what is over is not.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import structlog
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from services.bulk import Writes
from services.calendar import TIME_ZONES
from services.outbox import enqueue

REMIND_JOB = "remind_members"
REMINDED_FROM, REMINDED_UNTIL = time(9), time(21)
"""Of the member's own time. Whoever comes later waits for tomorrow rather than until the night."""
DAYS_KEPT = 30

_KIND = "daily"  # expiry, check-in and tasks are asked for together: their order is their weight
_log = structlog.get_logger(__name__)

# From one zone to the next by the index: as many steps as there are zones, whoever lives there.
_ZONES = text(
    """
    WITH RECURSIVE zones(name) AS (
        (SELECT timezone FROM users WHERE erased_at IS NULL ORDER BY timezone LIMIT 1)
        UNION ALL
        SELECT (SELECT timezone FROM users WHERE erased_at IS NULL AND timezone > zones.name
                ORDER BY timezone LIMIT 1)
        FROM zones WHERE zones.name IS NOT NULL
    )
    SELECT name FROM zones WHERE name IS NOT NULL
    """
)
_TAKE = text(
    """
    INSERT INTO reminder_days (kind, timezone, day)
    SELECT :kind, zone, day
    FROM unnest(CAST(:zones AS text[]), CAST(:days AS date[])) AS due(zone, day)
    ORDER BY zone, day
    ON CONFLICT DO NOTHING
    RETURNING timezone, day
    """
)
_FORGET = text("DELETE FROM reminder_days WHERE kind = :kind AND day < :before")


@dataclass(frozen=True, slots=True)
class ReminderPage:
    """The members of a time zone that follow a user, and the day they are to be reminded on."""

    timezone: str
    day: date
    after: int = 0

    @property
    def payload(self) -> dict[str, Any]:
        """As an outbox row carries it."""
        return {"timezone": self.timezone, "day": self.day.isoformat(), "after": self.after}


def due_day(now: datetime, zone: ZoneInfo) -> date | None:
    """The day of the zone whose reminders are due now; None when it is too early or too late."""
    local = now.astimezone(zone)
    return local.date() if REMINDED_FROM <= local.time() < REMINDED_UNTIL else None


def due_days(zones: Iterable[str], now: datetime) -> list[ReminderPage]:
    """The first pages of all zones in which reminders are due."""
    days = ((zone, due_day(now, ZoneInfo(zone))) for zone in zones)
    return [ReminderPage(zone, day) for zone, day in days if day is not None]


async def ask_for_reminders(session: AsyncSession, now: datetime) -> list[ReminderPage]:
    """Ask for the reminders of every zone and day that is due and was not asked for before.

    Returns the pages that were asked for. Any number may ask at once: who takes the day asks.
    """
    zones = (await session.execute(_ZONES)).scalars().all()
    due = due_days(_known(zones), now)
    parameters = {
        "kind": _KIND,
        "zones": [page.timezone for page in due],
        "days": [page.day for page in due],
    }
    taken = [ReminderPage(*row) for row in await session.execute(_TAKE, parameters)]
    before = now.astimezone(UTC).date() - timedelta(days=DAYS_KEPT)
    await session.execute(_FORGET, {"kind": _KIND, "before": before})
    writes = Writes()
    enqueue(writes, REMIND_JOB, [page.payload for page in taken], now)
    await writes.flush(session)
    return taken


def _known(zones: Iterable[str]) -> list[str]:
    """Without those that our time zone data lack: the others' members must not wait for them."""
    found: list[str] = []
    for zone in zones:
        if zone in TIME_ZONES:
            found.append(zone)
        else:
            _log.error("time_zone_unknown", timezone=zone)
    return found
