"""Reminding members of points that end in 7, 3 and 1 days (`domain.md`, Notifications)."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from models.notifications import PushType
from services.calendar import day_start, local_day
from services.messages import message, plural_message
from services.notifications.decide import Draft
from services.notifications.reminder_days import REMINDED_FROM
from services.points.expiry import REMINDER_DAYS

_ENDING = text(
    """
    SELECT lot.user_id, ending.number, sum(lot.points)::bigint AS points
    FROM points_records AS lot
    JOIN unnest(CAST(:starts AS timestamptz[]), CAST(:ends AS timestamptz[]),
                CAST(:known_by AS timestamptz[]))
        WITH ORDINALITY AS ending(starts_at, ends_at, known_by, number)
        ON lot.expires_at >= ending.starts_at AND lot.expires_at < ending.ends_at
    WHERE lot.user_id = ANY(CAST(:user_ids AS bigint[])) AND lot.status = 'active'
      AND lot.expires_at > :now AND lot.expires_at < :until
    GROUP BY lot.user_id, ending.number, ending.known_by
    HAVING min(greatest(lot.created_at, lot.available_at)) <= ending.known_by
    ORDER BY ending.number, lot.user_id
    """
)


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

    @property
    def reference(self) -> str:
        """What makes the reminder single: the day that the points end, and the threshold."""
        return f"{self.day}:{self.threshold}"


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


async def expiry_reminders(
    session: AsyncSession, user_ids: Sequence[int], now: datetime, zone: ZoneInfo
) -> list[Draft]:
    """One reminder per member and day on which lots of theirs end, those of a day summed.

    However long ago a member came last: their points end all the same.
    """
    days = ending_days(now, zone)
    parameters = {
        "user_ids": list(user_ids),
        "starts": [day.starts_at for day in days],
        "ends": [day.ends_at for day in days],
        "known_by": [day.known_by for day in days],
        "now": now,
        "until": days[-1].ends_at,
    }
    rows = await session.execute(_ENDING, parameters)
    return [_reminder(row.user_id, days[row.number - 1], row.points) for row in rows]


def _reminder(user_id: int, ending: EndingDay, points: int) -> Draft:
    def words(locale: str) -> tuple[str, str]:
        body = plural_message(
            locale,
            "{count} point expires on {date}: use it before it is gone.",
            "{count} points expire on {date}: use them before they are gone.",
            points,
            date=ending.day,
        )
        return message(locale, "Your points expire soon"), body

    payload = {"expiresOn": ending.day.isoformat()}
    return Draft(user_id, PushType.EXPIRY_REMINDER, ending.reference, words, payload)
