"""A task and its rules as plain data (`domain.md`, Tasks and check-in)."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Any, Literal
from uuid import UUID
from zoneinfo import ZoneInfo

from models.catalogue import LimitPeriod
from models.tasks import TaskFrequency
from services.calendar import day_start, local_day, week_start
from services.errors import LimitReached, Refusal
from services.points.expiry import Lifetime, LifetimeInvalid, parse_lifetime

MOST_POINTS_A_DAY = 1_000
MOST_POINTS_A_WEEK = 5_000
TASK_SOURCE = "task"

KEYS = frozenset({"event", "target", "min_amount", "claim", "verification", "expiry"})
"""All that a task's `config` may say."""

ONLY_PERIOD = date(1970, 1, 1)
"""The one period of a task that can be completed once."""


class TaskStatus(StrEnum):
    """Where a task stands for a member (`contract.graphql`, TaskStatus)."""

    AVAILABLE = "available"
    IN_PROGRESS = "in_progress"
    COMPLETED = "completed"
    UNAVAILABLE = "unavailable"


class TaskRefusal(StrEnum):
    """Why a task cannot be completed (`contract.graphql`, TaskRefusal)."""

    ALREADY_COMPLETED = "already_completed"
    NOT_STARTED = "not_started"
    ENDED = "ended"
    INACTIVE = "inactive"
    REQUIREMENT_UNMET = "requirement_unmet"


class TaskNotCompletable(Refusal):
    """The task cannot be completed by this member now."""

    def __init__(
        self,
        reason: TaskRefusal,
        available_again_at: datetime | None = None,
        *,
        is_check_in: bool = False,
    ) -> None:
        super().__init__(reason.value)
        self.reason = reason
        self.available_again_at = available_again_at
        self.is_check_in = is_check_in


class TaskCapReached(LimitReached):
    """Tasks have paid as much as a day or week may bring."""


class RuleInvalid(ValueError):
    """A `config` says under `key` what no task may say."""

    def __init__(self, key: str, problem: str) -> None:
        super().__init__(f"{key}: {problem}")
        self.key = key
        self.problem = problem


@dataclass(frozen=True, slots=True)
class TaskRules:
    """A task's `config`, read. `event` None: nothing drives it, the member just does it."""

    event: str | None
    target: int
    min_amount: Decimal | None
    claim: Literal["manual", "auto"]
    verification: bool
    lifetime: Lifetime | None


@dataclass(frozen=True, slots=True)
class Task:
    """What a member does to earn."""

    id: int
    name: str
    description: str | None
    points_reward: int
    frequency: TaskFrequency
    is_active: bool
    starts_at: datetime | None
    ends_at: datetime | None
    config: Mapping[str, Any]
    rules: TaskRules

    def is_running(self, instant: datetime) -> bool:
        """Active, started and not ended."""
        return self.unavailable_because(instant) is None

    def unavailable_because(self, instant: datetime) -> TaskRefusal | None:
        """Why nobody can complete the task at `instant`; None when they can."""
        if not self.is_active:
            return TaskRefusal.INACTIVE
        if self.starts_at is not None and instant < self.starts_at:
            return TaskRefusal.NOT_STARTED
        if self.ends_at is not None and instant >= self.ends_at:
            return TaskRefusal.ENDED
        return None


@dataclass(slots=True)
class Progress:
    """One member's progress on one task in one period."""

    user_id: int
    task_id: int
    period_start: date
    progress: int = 0
    completed_at: datetime | None = None
    points_earned: int = 0
    points_record_id: Any = None


@dataclass(frozen=True, slots=True)
class MemberTask:
    """A task as one member sees it."""

    task: Task
    status: TaskStatus
    current: int
    available_again_at: datetime | None


@dataclass(slots=True)
class Earned:
    """Points earned from tasks in the running day and week; `completed` counts those of this batch.

    `awaited_by` is the invite that waited for the member's first task when the batch began.
    """

    today: int = 0
    this_week: int = 0
    awaited_by: UUID | None = None
    completed: int = 0

    def add(self, points: int) -> None:
        """Count one more task that paid so much."""
        self.today += points
        self.this_week += points
        self.completed += 1


def task_from_row(row: Any) -> Task:
    """Read a row of the tasks table."""
    return Task(
        id=row.id,
        name=row.name,
        description=row.description,
        points_reward=row.points_reward,
        frequency=TaskFrequency(row.frequency),
        is_active=row.is_active,
        starts_at=row.starts_at,
        ends_at=row.ends_at,
        config=row.config,
        rules=parse_rules(row.config),
    )


def parse_rules(config: Mapping[str, Any]) -> TaskRules:
    """Read a task's `config`; raises RuleInvalid for what no task may say."""
    target, minimum = config.get("target", 1), config.get("min_amount")
    claim, event = config.get("claim", "manual"), config.get("event")
    if type(target) is not int or target < 1:
        raise RuleInvalid("target", f"a whole number of at least 1, not {target!r}")
    if claim not in ("manual", "auto"):
        raise RuleInvalid("claim", f"manual or auto, not {claim!r}")
    if not isinstance(event, str | None):
        raise RuleInvalid("event", f"a type of event, not {event!r}")
    return TaskRules(
        event=event,
        target=target,
        min_amount=None if minimum is None else _amount(minimum),
        claim=claim,
        verification=config.get("verification") is True,
        lifetime=_lifetime(config["expiry"]) if "expiry" in config else None,
    )


def _amount(value: Any) -> Decimal:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise RuleInvalid("min_amount", f"a number, not {value!r}")
    return Decimal(str(value))


def _lifetime(value: Any) -> Lifetime:
    try:
        return parse_lifetime(value)
    except LifetimeInvalid as error:
        raise RuleInvalid("expiry", str(error)) from error


def period_start(frequency: TaskFrequency, instant: datetime, zone: ZoneInfo) -> date:
    """The first day of the period of `instant`: what makes a completion single."""
    day = local_day(instant, zone)
    match frequency:
        case TaskFrequency.DAILY:
            return day
        case TaskFrequency.WEEKLY:
            return week_start(day)
        case TaskFrequency.ONCE:
            return ONLY_PERIOD


def next_period(frequency: TaskFrequency, instant: datetime, zone: ZoneInfo) -> datetime | None:
    """When a task completed at `instant` can be completed again; None where it never can."""
    if frequency is TaskFrequency.ONCE:
        return None
    length = timedelta(days=1 if frequency is TaskFrequency.DAILY else 7)
    return day_start(period_start(frequency, instant, zone) + length, zone)


def available_again_at(task: Task, now: datetime, zone: ZoneInfo) -> datetime | None:
    """When a task completed at `now` can be completed again; None where it never can."""
    again = next_period(task.frequency, now, zone)
    is_over = again is None or (task.ends_at is not None and task.ends_at <= again)
    return None if is_over or not task.is_active else again


def require_below_caps(earned: Earned, reward: int, now: datetime, zone: ZoneInfo) -> None:
    """Raise TaskCapReached when `reward` more would be over what tasks may pay."""
    if earned.today + reward > MOST_POINTS_A_DAY:
        never = reward > MOST_POINTS_A_DAY
        again = None if never else next_period(TaskFrequency.DAILY, now, zone)
        raise TaskCapReached(MOST_POINTS_A_DAY, LimitPeriod.DAY, again)
    if earned.this_week + reward > MOST_POINTS_A_WEEK:
        again = next_period(TaskFrequency.WEEKLY, now, zone)
        raise TaskCapReached(MOST_POINTS_A_WEEK, LimitPeriod.WEEK, again)


def member_task(task: Task, progress: Progress | None, now: datetime, zone: ZoneInfo) -> MemberTask:
    """The task as the member with that progress sees it at `now`."""
    current = progress.progress if progress else 0
    if progress is not None and progress.completed_at is not None:
        again = available_again_at(task, now, zone)
        return MemberTask(task, TaskStatus.COMPLETED, max(current, task.rules.target), again)
    if not task.is_running(now):
        return MemberTask(task, TaskStatus.UNAVAILABLE, current, None)
    status = TaskStatus.IN_PROGRESS if current else TaskStatus.AVAILABLE
    return MemberTask(task, status, current, None)
