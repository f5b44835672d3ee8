"""Reminders: the days whose time has come, and the members of a zone page by page."""

from collections.abc import Sequence
from datetime import date

from sqlalchemy.ext.asyncio import AsyncSession

from jobs.job import Payload, Queue, SetJob
from services.mall import Mall
from services.notifications.remind import remind_members
from services.notifications.reminder_days import REMIND_JOB, ReminderPage, ask_for_reminders


async def _ask(session: AsyncSession, mall: Mall, _payloads: Sequence[Payload]) -> None:
    await ask_for_reminders(session, mall.clock())


async def _remind(session: AsyncSession, mall: Mall, payloads: Sequence[Payload]) -> None:
    for payload in payloads:
        day = date.fromisoformat(payload["day"])
        page = ReminderPage(payload["timezone"], day, payload["after"])
        await remind_members(session, page, mall.clock(), mall.zone)


JOBS = (
    SetJob("ask_for_reminders", _ask),
    SetJob(REMIND_JOB, _remind, Queue.BULK, batch=1),
)
