"""Tasks as a member sees them."""

from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import and_, case, literal, or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from models.tasks import Task as TaskTable
from models.tasks import TaskFrequency, UserTask
from services.tasks.rules import (
    MemberTask,
    Progress,
    TaskStatus,
    member_task,
    period_start,
    task_from_row,
)


async def member_tasks(
    session: AsyncSession,
    user_id: int,
    now: datetime,
    zone: ZoneInfo,
    *,
    frequency: TaskFrequency | None = None,
    include_completed: bool = False,
    task_id: int | None = None,
) -> list[MemberTask]:
    """Tasks that are active and have not ended, with the member's progress, in one statement.

    With `task_id` that task alone, whatever its state.
    """
    period = case(
        *(
            (TaskTable.frequency == kind, literal(period_start(kind, now, zone)))
            for kind in TaskFrequency
        )
    )
    mine = and_(
        UserTask.user_id == user_id,
        UserTask.task_id == TaskTable.id,
        UserTask.period_start == period,
    )
    statement = (
        select(TaskTable.__table__, UserTask.progress, UserTask.completed_at)
        .outerjoin(UserTask, mine)
        .order_by(TaskTable.id)
    )
    if task_id is not None:
        statement = statement.where(TaskTable.id == task_id)
    else:
        is_open = or_(TaskTable.ends_at.is_(None), TaskTable.ends_at > now)
        statement = statement.where(TaskTable.is_active, is_open)
    if frequency is not None:
        statement = statement.where(TaskTable.frequency == frequency)
    tasks = [_from_row(row, user_id, now, zone) for row in await session.execute(statement)]
    shown = include_completed or task_id is not None
    return [entry for entry in tasks if shown or entry.status is not TaskStatus.COMPLETED]


def _from_row(row: Any, user_id: int, now: datetime, zone: ZoneInfo) -> MemberTask:
    task = task_from_row(row)
    progress = Progress(
        user_id,
        task.id,
        period_start(task.frequency, now, zone),
        row.progress or 0,
        row.completed_at,
    )
    return member_task(task, progress, now, zone)
