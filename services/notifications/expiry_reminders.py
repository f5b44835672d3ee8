"""Reminding members of points that end in 7, 3 and 1 days (`domain.md`, Notifications)."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from models.notifications import PushType
from services.calendar import day_start, local_day
from services.messages import message, plural_message
from services.notifications.decide import Draft
from services.notifications.reminder_days import REMINDED_FROM
from services.points.expiry import REMINDER_DAYS

_LOOKED_BACK = timedelta(days=max(REMINDER_DAYS) + 3)
"""What ends within days was not told of earlier; a day is up to 26 hours off in another zone."""

_ENDING = text(
    """
    SELECT user_id, expires_at, points, greatest(created_at, available_at) AS known_at
    FROM points_records
    WHERE user_id = ANY(CAST(:user_ids AS bigint[])) AND status = 'active'
      AND expires_at > :now AND expires_at < :until
    """
)
_TOLD = text(
    """
    SELECT user_id, reference, payload FROM push_records
    WHERE user_id = ANY(CAST(:user_ids AS bigint[])) AND type = 'expiry_reminder'
      AND created_at >= :since AND payload ->> 'endsFrom' IS NOT NULL
    """
)


@dataclass(frozen=True, slots=True)
class EndingLot:
    """A lot that ends soon; `known_at` is since when its member has it."""

    user_id: int
    expires_at: datetime
    points: int
    known_at: datetime


@dataclass(frozen=True, slots=True)
class Told:
    """A reminder that was planned, of all that ends in [starts_at, ends_at)."""

    user_id: int
    threshold: int
    starts_at: datetime
    ends_at: datetime


@dataclass(frozen=True, slots=True)
class EndingDay:
    """A day on which points may end, and the reminder of it whose day has come, or came last.

    `known_by` is when that reminder was due: who got the points later is not told in between.
    """

    day: date
    threshold: int
    starts_at: datetime
    ends_at: datetime
    known_by: datetime


@dataclass(frozen=True, slots=True)
class ExpiryReminder:
    """What a member is to be told of: the sum of what ends on that day."""

    user_id: int
    ending: EndingDay
    points: int


def ending_days(now: datetime, zone: ZoneInfo) -> list[EndingDay]:
    """The days that a member who lives in `zone` may have to be told of now, soonest first.

    Not only those that are 7, 3 and 1 days ahead: a reminder that was missed, for nothing ran or
    the member moved to a zone whose morning was over, comes late rather than never.
    """
    today = local_day(now, zone)
    return [_ending_day(today, ahead, now, zone) for ahead in range(max(REMINDER_DAYS) + 1)]


def _ending_day(today: date, ahead: int, now: datetime, zone: ZoneInfo) -> EndingDay:
    day = today + timedelta(days=ahead)
    threshold = min(days for days in REMINDER_DAYS if days >= ahead)
    told_on = day - timedelta(days=threshold)
    return EndingDay(
        day=day,
        threshold=threshold,
        starts_at=day_start(day, zone),
        ends_at=day_start(day + timedelta(days=1), zone),
        known_by=now if told_on == today else datetime.combine(told_on, REMINDED_FROM, zone),
    )


def due_reminders(
    lots: Iterable[EndingLot], told: Iterable[Told], days: Sequence[EndingDay]
) -> list[ExpiryReminder]:
    """Who is to be told of which day now, soonest first: the member's lots of a day summed. Pure.

    A lot that its member was told of at this threshold, or a later one, is not told of again, also
    when the member has moved and it ends on another day there.
    """
    already: dict[int, list[Told]] = {}
    for reminder in told:
        already.setdefault(reminder.user_id, []).append(reminder)
    groups: dict[tuple[int, int], list[EndingLot]] = {}
    for lot in lots:
        number = next((n for n, day in enumerate(days) if _is_on(lot, day)), None)
        if number is None or _was_told(lot, days[number], already.get(lot.user_id, ())):
            continue
        groups.setdefault((number, lot.user_id), []).append(lot)
    return [
        ExpiryReminder(user_id, days[number], sum(lot.points for lot in ending))
        for (number, user_id), ending in sorted(groups.items(), key=lambda group: group[0])
        if any(lot.known_at <= days[number].known_by for lot in ending)
    ]


def _is_on(lot: EndingLot, span: EndingDay | Told) -> bool:
    return span.starts_at <= lot.expires_at < span.ends_at


def _was_told(lot: EndingLot, day: EndingDay, told: Iterable[Told]) -> bool:
    return any(entry.threshold <= day.threshold and _is_on(lot, entry) for entry in told)


async def expiry_reminders(
    session: AsyncSession, user_ids: Sequence[int], now: datetime, zone: ZoneInfo
) -> list[Draft]:
    """One reminder per member and day on which lots of theirs end, those of a day summed.

    However long ago a member came last: their points end all the same.
    """
    days = ending_days(now, zone)
    whose = {"user_ids": list(user_ids)}
    parameters = {**whose, "now": now, "until": days[-1].ends_at}
    lots = [EndingLot(*row) for row in await session.execute(_ENDING, parameters)]
    rows = await session.execute(_TOLD, {**whose, "since": now - _LOOKED_BACK})
    told = [_told(row) for row in rows]
    return [_draft(reminder) for reminder in due_reminders(lots, told, days)]


def _draft(reminder: ExpiryReminder) -> Draft:
    ending = reminder.ending

    def words(locale: str) -> tuple[str, str]:
        body = plural_message(
            locale,
            "{count} point expires on {date}: use it before it is gone.",
            "{count} points expire on {date}: use them before they are gone.",
            reminder.points,
            date=ending.day,
        )
        return message(locale, "Your points expire soon"), body

    payload = {
        "expiresOn": ending.day.isoformat(),
        "endsFrom": ending.starts_at.isoformat(),
        "endsBefore": ending.ends_at.isoformat(),
    }
    reference = f"{ending.day}:{ending.threshold}"
    return Draft(reminder.user_id, PushType.EXPIRY_REMINDER, reference, words, payload)


def _told(row: Any) -> Told:
    """Read a record of what `_draft` made."""
    threshold = int(row.reference.rpartition(":")[2])
    starts_at, ends_at = (
        datetime.fromisoformat(row.payload[key]) for key in ("endsFrom", "endsBefore")
    )
    return Told(row.user_id, threshold, starts_at, ends_at)
