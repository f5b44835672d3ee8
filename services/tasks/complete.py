"""Completing tasks: read locked, decide, write in bulk (`domain.md`, Tasks and check-in)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID
from zoneinfo import ZoneInfo

from sqlalchemy.ext.asyncio import AsyncSession

from services.bulk import Writes
from services.calendar import Clock
from services.errors import NotFound, Refusal, VerificationRequired
from services.points.account import Account, Cause, Lot, require_not_suspended
from services.points.accounts import load_lots, lock_accounts, save_accounts
from services.points.expiry import expiry_of
from services.tasks.progress import (
    ProgressKey,
    read_earned,
    read_progress,
    save_progress,
    tasks_by_id,
)
from services.tasks.reward import grant_reward
from services.tasks.rules import (
    TASK_SOURCE,
    Earned,
    MemberTask,
    Progress,
    Task,
    TaskNotCompletable,
    TaskRefusal,
    available_again_at,
    member_task,
    period_start,
    require_below_caps,
)


@dataclass(frozen=True, slots=True)
class CompletionRequest:
    """One member claiming one task. `lot_id` is fresh; used only if it is granted."""

    user_id: int
    task_id: int
    is_verified: bool
    lot_id: UUID


@dataclass(frozen=True, slots=True)
class Completed:
    """A task that was completed, and the lot it gave."""

    member_task: MemberTask
    lot: Lot


@dataclass(slots=True)
class TaskSettlement:
    """What a batch of completions was decided on, and what it decided."""

    now: datetime
    zone: ZoneInfo
    accounts: dict[int, Account]
    tasks: dict[int, Task]
    progress: dict[ProgressKey, Progress]
    earned: dict[int, Earned]
    captcha: Callable[[], VerificationRequired]
    changed: dict[ProgressKey, Progress] = field(default_factory=dict)


async def complete_tasks(
    session: AsyncSession,
    requests: Sequence[CompletionRequest],
    *,
    clock: Clock,
    zone: ZoneInfo,
    captcha: Callable[[], VerificationRequired],
) -> list[Completed | Refusal]:
    """Settle a batch of claims in one transaction; one outcome per request, in order."""
    accounts = await lock_accounts(session, (request.user_id for request in requests))
    now = clock()
    await load_lots(session, accounts, {}, now)
    tasks = await tasks_by_id(session, (request.task_id for request in requests))
    keys = [
        (request.user_id, task.id, period_start(task.frequency, now, zone))
        for request in requests
        if (task := tasks.get(request.task_id)) is not None
    ]
    progress = await read_progress(session, keys)
    earned = await read_earned(session, accounts, now, zone)
    settlement = TaskSettlement(now, zone, accounts, tasks, progress, earned, captcha)
    outcomes = decide(settlement, requests)
    writes = Writes()
    save_accounts(writes, accounts.values(), zone)
    save_progress(writes, list(settlement.changed.values()))
    await writes.flush(session)
    return outcomes


def decide(
    settlement: TaskSettlement, requests: Sequence[CompletionRequest]
) -> list[Completed | Refusal]:
    """Settle the claims one after another, in order; a refusal changes nothing. Pure."""
    outcomes: list[Completed | Refusal] = []
    for request in requests:
        try:
            outcomes.append(_complete(settlement, request))
        except Refusal as refusal:
            outcomes.append(refusal)
    return outcomes


def _complete(settlement: TaskSettlement, request: CompletionRequest) -> Completed:
    now, zone = settlement.now, settlement.zone
    account, task = settlement.accounts.get(request.user_id), settlement.tasks.get(request.task_id)
    if account is None:
        raise NotFound("User", str(request.user_id))
    require_not_suspended(account, now)
    if task is None:
        raise NotFound("Task", str(request.task_id))
    key = (account.user_id, task.id, period_start(task.frequency, now, zone))
    progress = settlement.progress.get(key) or Progress(*key)
    _require_completable(task, progress, now, zone)
    if task.rules.verification and not request.is_verified:
        raise settlement.captcha()
    earned = settlement.earned[account.user_id]
    require_below_caps(earned, task.points_reward, now, zone)
    lot = pay_task(account, task, progress, earned, request.lot_id, now, zone)
    settlement.progress[key] = settlement.changed[key] = progress
    return Completed(member_task(task, progress, now, zone), lot)


def _require_completable(task: Task, progress: Progress, now: datetime, zone: ZoneInfo) -> None:
    reason = task.unavailable_because(now)
    if reason is not None:
        again = task.starts_at if reason is TaskRefusal.NOT_STARTED else None
        raise TaskNotCompletable(reason, again)
    if progress.completed_at is not None:
        again = available_again_at(task, now, zone)
        raise TaskNotCompletable(TaskRefusal.ALREADY_COMPLETED, again)
    # A task that events drive cannot just be claimed: its progress has to be there.
    if task.rules.event is not None and progress.progress < task.rules.target:
        raise TaskNotCompletable(TaskRefusal.REQUIREMENT_UNMET)


def pay_task(
    account: Account,
    task: Task,
    progress: Progress,
    earned: Earned,
    lot_id: UUID,
    now: datetime,
    zone: ZoneInfo,
    *,
    created_by: str | None = None,
) -> Lot:
    """Grant a task's reward and mark it completed. The caller has checked that it may be. Pure.

    `created_by` is whoever caused it, when it is not the member. Raises NoRoomForReward, and then
    nothing has changed.
    """
    cause = Cause(TASK_SOURCE, str(task.id), created_by or f"user:{account.user_id}")
    expires_at = expiry_of(TASK_SOURCE, now, zone, task.rules.lifetime)
    lot = grant_reward(account, lot_id, task.points_reward, cause, expires_at, now)
    progress.progress = max(progress.progress, task.rules.target)
    progress.completed_at = now
    progress.points_earned = task.points_reward
    progress.points_record_id = lot.id
    earned.today += task.points_reward
    earned.this_week += task.points_reward
    return lot
