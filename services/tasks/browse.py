"""Tasks as a member sees them."""

from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import structlog
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from models.tasks import TaskFrequency
from services.tasks.rules import (
    MemberTask,
    Progress,
    TaskStatus,
    member_task,
    period_start,
    task_from_row,
)

_log: structlog.stdlib.BoundLogger = structlog.get_logger()
_TASKS = text(
    """
    SELECT tasks.*, user_tasks.progress, user_tasks.completed_at
    FROM tasks
    LEFT JOIN user_tasks
        ON user_tasks.user_id = :user_id AND user_tasks.task_id = tasks.id
       AND user_tasks.period_start = CASE tasks.frequency
           WHEN 'daily' THEN CAST(:daily AS date)
           WHEN 'weekly' THEN CAST(:weekly AS date)
           ELSE CAST(:once AS date) END
    WHERE CASE WHEN CAST(:task_id AS bigint) IS NULL
          THEN tasks.is_active AND (tasks.ends_at IS NULL OR tasks.ends_at > :now)
          ELSE tasks.id = :task_id END
      AND (CAST(:frequency AS text) IS NULL OR tasks.frequency = :frequency)
    ORDER BY tasks.id
    """
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
    parameters = {
        "user_id": user_id,
        "task_id": task_id,
        "frequency": frequency,
        "now": now,
        **{kind.value: period_start(kind, now, zone) for kind in TaskFrequency},
    }
    rows = await session.execute(_TASKS, parameters)
    read = [_from_row(row, user_id, now, zone) for row in rows]
    tasks = [entry for entry in read if entry is not None]
    shown = include_completed or task_id is not None
    return [entry for entry in tasks if shown or entry.status is not TaskStatus.COMPLETED]


def _from_row(row: Any, user_id: int, now: datetime, zone: ZoneInfo) -> MemberTask | None:
    try:
        task = task_from_row(row)
    except ValueError as error:  # one task that says nonsense must not hide the others
        _log.error("task_unreadable", task_id=row.id, exc_info=error)
        return None
    progress = Progress(
        user_id,
        task.id,
        period_start(task.frequency, now, zone),
        row.progress or 0,
        row.completed_at,
    )
    return member_task(task, progress, now, zone)
