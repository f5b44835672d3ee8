"""Reminding the members of a time zone, page by page: of what ends, of check-ins, of tasks."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from services.bulk import Writes
from services.calendar import local_day
from services.notifications.decide import Draft
from services.notifications.earning_reminders import check_in_reminders, task_reminders
from services.notifications.expiry_reminders import expiry_reminders
from services.notifications.plan import plan_pushes
from services.notifications.reminder_days import REMIND_JOB, ReminderPage, due_day
from services.outbox import enqueue

MEMBERS_A_PAGE = 500
ACTIVE_WITHIN = timedelta(days=7)
"""Who did nothing for longer is not told of tasks: they are for those who come."""

# LIMIT 1 makes each question one look into an index. As EXISTS, PostgreSQL may answer them for
# everybody at once, by reading the whole table.
_PAGE = text(
    """
    SELECT id, coalesce(suspended_until > :now, false) AS is_suspended, coalesce(
        last_login_at >= :since
        OR (SELECT true FROM check_ins WHERE user_id = page.id AND day >= :since_day LIMIT 1)
        OR (SELECT true FROM user_tasks
            WHERE user_id = page.id AND completed_at >= :since LIMIT 1)
        OR (SELECT true FROM events WHERE user_id = page.id AND occurred_at >= :since LIMIT 1),
        false) AS is_active
    FROM (
        SELECT id, suspended_until, last_login_at FROM users
        WHERE timezone = :timezone AND id > :after AND erased_at IS NULL
        ORDER BY id LIMIT :limit
    ) AS page
    ORDER BY id
    """
)


async def remind_members(
    session: AsyncSession, page: ReminderPage, now: datetime, mall_zone: ZoneInfo
) -> None:
    """Plan the reminders of a page of members, and ask for the next page.

    A page that comes when its day, or the evening, is over does nothing: the next morning tells
    what of it still matters. Nobody is reminded twice: each reminder has its reference.
    """
    if due_day(now, ZoneInfo(page.timezone)) != page.day:
        return
    members = await _members(session, page, now, mall_zone)
    drafts = await _drafts(session, members, page, now, mall_zone)
    writes = Writes()
    if drafts:
        await plan_pushes(session, writes, drafts, now)
    if len(members) == MEMBERS_A_PAGE:
        following = ReminderPage(page.timezone, page.day, members[-1].id)
        enqueue(writes, REMIND_JOB, [following.payload], now)
    await writes.flush(session)


async def _members(
    session: AsyncSession, page: ReminderPage, now: datetime, mall_zone: ZoneInfo
) -> Sequence[Any]:
    since = now - ACTIVE_WITHIN
    parameters = {
        "timezone": page.timezone,
        "after": page.after,
        "limit": MEMBERS_A_PAGE,
        "now": now,
        "since": since,
        "since_day": local_day(since, mall_zone),
    }
    return (await session.execute(_PAGE, parameters)).all()


async def _drafts(
    session: AsyncSession,
    members: Sequence[Any],
    page: ReminderPage,
    now: datetime,
    mall_zone: ZoneInfo,
) -> list[Draft]:
    """The most important first: they are planned in this order until the daily cap.

    The points of suspended members end as well; but they could neither check in nor do tasks.
    """
    everybody = [member.id for member in members]
    able = [member.id for member in members if not member.is_suspended]
    active = [member.id for member in members if member.is_active and not member.is_suspended]
    zone = ZoneInfo(page.timezone)
    return [
        *await expiry_reminders(session, everybody, now, zone),
        *await check_in_reminders(session, able, now, mall_zone),
        *await task_reminders(session, active, now, mall_zone),
    ]
