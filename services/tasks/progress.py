"""Reading and writing what members have done of their tasks."""

from collections.abc import Iterable, Sequence
from dataclasses import fields
from datetime import date, datetime
from operator import attrgetter
from zoneinfo import ZoneInfo

from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncSession

from models.tasks import Task as TaskTable
from models.tasks import UserTask
from services.bulk import Writes, among
from services.calendar import day_start, local_day, week_start
from services.tasks.rules import Earned, Progress, Task, task_from_row

ProgressKey = tuple[int, int, date]
"""(user id, task id, first day of the period)."""

_PROGRESS = tuple(field.name for field in fields(Progress))
_progress_row = attrgetter(*_PROGRESS)
_READ_PROGRESS = text(
    """
    SELECT user_id, task_id, period_start, progress, completed_at, points_earned, points_record_id
    FROM user_tasks
    JOIN unnest(CAST(:user_ids AS bigint[]), CAST(:task_ids AS bigint[]), CAST(:periods AS date[]))
        AS asked(user_id, task_id, period_start) USING (user_id, task_id, period_start)
    """
)
# With it whoever was invited and has not completed a task yet: a read of its own would be a round
# trip more for everybody.
_EARNED = text(
    """
    SELECT asked.user_id, paid.today, paid.this_week, invites.id AS awaited_by
    FROM unnest(CAST(:user_ids AS bigint[])) AS asked(user_id)
    CROSS JOIN LATERAL (
        SELECT coalesce(sum(points_earned), 0)::bigint AS this_week,
               coalesce(sum(points_earned) FILTER (WHERE completed_at >= :day), 0)::bigint AS today
        FROM user_tasks WHERE user_id = asked.user_id AND completed_at >= :week
    ) paid
    LEFT JOIN invites ON invited_id = asked.user_id AND first_task_at IS NULL
    """
)
_OVERWRITE = (
    "ON CONFLICT (user_id, task_id, period_start) DO UPDATE SET progress = excluded.progress,"
    " completed_at = excluded.completed_at, points_earned = excluded.points_earned,"
    " points_record_id = excluded.points_record_id"
)


async def tasks_by_id(session: AsyncSession, task_ids: Iterable[int]) -> dict[int, Task]:
    """Those of `task_ids` that exist."""
    statement = select(TaskTable.__table__).where(among(TaskTable.id, task_ids))
    return {row.id: task_from_row(row) for row in await session.execute(statement)}


async def tasks_by_event(session: AsyncSession, event_types: Iterable[str]) -> list[Task]:
    """Active tasks that one of these types of event drives."""
    event = TaskTable.config["event"].astext
    statement = select(TaskTable.__table__).where(TaskTable.is_active, among(event, event_types))
    rows = await session.execute(statement.order_by(TaskTable.id))
    return [task_from_row(row) for row in rows]


async def read_progress(
    session: AsyncSession, keys: Iterable[ProgressKey]
) -> dict[ProgressKey, Progress]:
    """The progress stored for `keys`; under the users' locks it cannot move meanwhile."""
    asked = sorted(set(keys))
    if not asked:
        return {}
    user_ids, task_ids, periods = (list(column) for column in zip(*asked, strict=True))
    parameters = {"user_ids": user_ids, "task_ids": task_ids, "periods": periods}
    rows = [Progress(*row) for row in await session.execute(_READ_PROGRESS, parameters)]
    return {(row.user_id, row.task_id, row.period_start): row for row in rows}


async def read_earned(
    session: AsyncSession, user_ids: Iterable[int], now: datetime, zone: ZoneInfo
) -> dict[int, Earned]:
    """What tasks have paid each user today and this week; every user asked for is present."""
    today = local_day(now, zone)
    asked = sorted(set(user_ids))
    parameters = {
        "user_ids": asked,
        "day": day_start(today, zone),
        "week": day_start(week_start(today), zone),
    }
    rows = await session.execute(_EARNED, parameters)
    return {row.user_id: Earned(row.today, row.this_week, row.awaited_by) for row in rows}


def save_progress(writes: Writes, changed: Sequence[Progress]) -> None:
    """Add progress to what is written; under the users' locks nothing newer is overwritten."""
    rows = [_progress_row(progress) for progress in changed]
    writes.insert(UserTask, _PROGRESS, rows, suffix=_OVERWRITE)
