"""Reminding members of what they can earn: by keeping a streak, by tasks that are open."""

from collections.abc import Sequence
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from models.notifications import PushType
from services.calendar import local_day
from services.messages import message, plural_message
from services.notifications.decide import Draft
from services.tasks.check_in import next_bonus
from services.tasks.open_tasks import OpenTasks, open_tasks

BONUS_AHEAD_DAYS = 2
"""A bonus is named when today's check-in or tomorrow's brings it."""

_STREAKS = text(
    """
    SELECT user_id, streak FROM check_ins AS last
    WHERE user_id = ANY(CAST(:user_ids AS bigint[])) AND day = :yesterday
      AND NOT EXISTS (SELECT FROM check_ins WHERE user_id = last.user_id AND day = :today)
    ORDER BY user_id
    """
)


async def check_in_reminders(
    session: AsyncSession, user_ids: Sequence[int], now: datetime, zone: ZoneInfo
) -> list[Draft]:
    """Of those who checked in yesterday and not yet today. `zone` is the mall's: so are its days.

    The day is the reference: once a day of the mall, wherever the member lives.
    """
    today = local_day(now, zone)
    parameters = {
        "user_ids": list(user_ids),
        "today": today,
        "yesterday": today - timedelta(days=1),
    }
    rows = await session.execute(_STREAKS, parameters)
    return [_check_in_reminder(row.user_id, row.streak, today) for row in rows]


def _check_in_reminder(user_id: int, streak: int, today: date) -> Draft:
    def words(locale: str) -> tuple[str, str]:
        title = plural_message(
            locale,
            "You have checked in {count} day in a row",
            "You have checked in {count} days in a row",
            streak,
        )
        return title, _prospect(streak, locale)

    return Draft(user_id, PushType.DAILY_CHECK_IN, today.isoformat(), words)


def _prospect(streak: int, locale: str) -> str:
    """What checking in brings; "now", for the mall's day may end before the member's."""
    bonus = next_bonus(streak)
    if bonus.streak > streak + BONUS_AHEAD_DAYS:
        return message(locale, "Check in now to keep your streak.")
    return message(
        locale,
        "Check in now to keep your streak: day {day} brings {points} points extra.",
        day=bonus.streak,
        points=bonus.points,
    )


async def task_reminders(
    session: AsyncSession, user_ids: Sequence[int], now: datetime, zone: ZoneInfo
) -> list[Draft]:
    """Of the tasks that each can complete now, in the mall's `zone`; once a day of the mall."""
    today = local_day(now, zone)
    found = await open_tasks(session, user_ids, now, zone)
    return [_task_reminder(user_id, tasks, today) for user_id, tasks in found.items()]


def _task_reminder(user_id: int, tasks: OpenTasks, today: date) -> Draft:
    def words(locale: str) -> tuple[str, str]:
        body = plural_message(
            locale,
            "{count} task is open and brings {points} points.",
            "{count} tasks are open and bring {points} points together.",
            tasks.count,
            points=tasks.points,
        )
        return message(locale, "There are points to earn"), body

    return Draft(user_id, PushType.TASK_REMINDER, today.isoformat(), words)
