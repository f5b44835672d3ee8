"""What each of many members can still earn from tasks (`domain.md`, Tasks and check-in)."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import structlog
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from services.tasks.progress import read_earned
from services.tasks.rules import (
    MOST_POINTS_A_DAY,
    MOST_POINTS_A_WEEK,
    Earned,
    Task,
    period_start,
    task_from_row,
)

_log: structlog.stdlib.BoundLogger = structlog.get_logger()

_ACTIVE = text("SELECT * FROM tasks WHERE is_active ORDER BY id")
_COMPLETED = text(
    """
    SELECT user_id, array_agg(task_id) AS task_ids
    FROM user_tasks
    JOIN unnest(CAST(:task_ids AS bigint[]), CAST(:periods AS date[]))
        AS running(task_id, period_start) USING (task_id, period_start)
    WHERE user_id = ANY(CAST(:user_ids AS bigint[])) AND completed_at IS NOT NULL
    GROUP BY user_id
    """
)


@dataclass(frozen=True, slots=True)
class OpenTasks:
    """How many tasks a member can complete now, and the points that they give together."""

    count: int
    points: int


def payable(rewards: Iterable[int], earned: Earned) -> OpenTasks:
    """As many of the tasks with these rewards as the caps of the day and the week let pay. Pure."""
    left = min(MOST_POINTS_A_DAY - earned.today, MOST_POINTS_A_WEEK - earned.this_week)
    count = points = 0
    for reward in sorted(rewards):
        if points + reward > left:
            break
        count, points = count + 1, points + reward
    return OpenTasks(count, points)


async def open_tasks(
    session: AsyncSession, user_ids: Sequence[int], now: datetime, zone: ZoneInfo
) -> dict[int, OpenTasks]:
    """What each of these members can complete now; those for whom nothing is open are missing."""
    tasks = await _running_tasks(session, now)
    parameters = {
        "user_ids": list(user_ids),
        "task_ids": [task.id for task in tasks],
        "periods": [period_start(task.frequency, now, zone) for task in tasks],
    }
    rows = await session.execute(_COMPLETED, parameters)
    completed = {row.user_id: frozenset(row.task_ids) for row in rows}
    earned = await read_earned(session, user_ids, now, zone)
    found: dict[int, OpenTasks] = {}
    for user_id in user_ids:
        done = completed.get(user_id, frozenset[int]())
        rewards = (task.points_reward for task in tasks if task.id not in done)
        found[user_id] = payable(rewards, earned[user_id])
    return {user_id: tasks for user_id, tasks in found.items() if tasks.count}


async def _running_tasks(session: AsyncSession, now: datetime) -> list[Task]:
    read = [_from_row(row) for row in await session.execute(_ACTIVE)]
    return [task for task in read if task is not None and task.is_running(now)]


def _from_row(row: Any) -> Task | None:
    try:
        return task_from_row(row)
    except ValueError as error:  # nobody can complete it, and it must not hide the others
        _log.error("task_unreadable", task_id=row.id, exc_info=error)
        return None
