"""Recording what users did elsewhere: progress on tasks, and points for purchases.

Rules: `domain.md`, Tasks and check-in. An event counts for the period in which it occurred, even
when it arrives later; points are granted, and counted against the caps, when it arrives.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from operator import attrgetter
from uuid import UUID
from zoneinfo import ZoneInfo

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from models.tasks import Event
from services.achievements.unlock import unlock_reached
from services.bulk import Writes, insert_rows
from services.calendar import Clock
from services.errors import InvalidInput, LimitReached, MemberSuspended
from services.identifiers import new_id
from services.points.account import Account, Cause, Lot, require_not_suspended
from services.points.accounts import load_lots, lock_accounts, save_accounts
from services.points.expiry import expiry_of
from services.points.grant import name_grants
from services.points.ledger import grant
from services.points.room import BalanceFull
from services.tasks.complete import pay_task
from services.tasks.first_task import ask_for_rewards
from services.tasks.incoming_events import (
    PURCHASE,
    IncomingEvent,
    RecordedEvents,
    RejectedEvent,
    sift,
)
from services.tasks.progress import (
    ProgressKey,
    read_earned,
    read_progress,
    save_progress,
    tasks_by_event,
)
from services.tasks.reward import NoRoomForReward
from services.tasks.rules import Earned, Progress, Task, period_start, require_below_caps

MOST_EVENTS_A_CALL = 1_000
_EVENT = (
    "event_id",
    "user_id",
    "type",
    "amount",
    "occurred_at",
    "attributes",
    "viewed_item_id",
    "recorded_at",
)
_stated = attrgetter(*_EVENT[:6])
_ONLY_NEW = "ON CONFLICT (event_id) DO NOTHING RETURNING event_id"
_DELETE = text("DELETE FROM events WHERE event_id = ANY(CAST(:event_ids AS text[]))")


class TooManyEvents(InvalidInput):
    """More events than one call may bring."""


@dataclass(slots=True)
class EventSettlement:
    """What a call's new events are decided on, and what they change."""

    now: datetime
    zone: ZoneInfo
    accounts: dict[int, Account]
    tasks: list[Task]
    progress: dict[ProgressKey, Progress]
    earned: dict[int, Earned]
    result: RecordedEvents
    recorded_by: str = "system"
    changed: dict[ProgressKey, Progress] = field(default_factory=dict[ProgressKey, Progress])
    purchases: list[Lot] = field(default_factory=list[Lot])
    unpayable: list[RejectedEvent] = field(default_factory=list[RejectedEvent])


async def record_events(
    session: AsyncSession,
    events: Sequence[IncomingEvent],
    *,
    clock: Clock,
    zone: ZoneInfo,
    recorded_by: str = "system",
) -> RecordedEvents:
    """Record up to 1,000 events and grant what they earn, in one transaction.

    Raises TooManyEvents for more events than a call may bring.
    """
    if len(events) > MOST_EVENTS_A_CALL:
        raise TooManyEvents(("events",), f"at most {MOST_EVENTS_A_CALL} a call")
    result = RecordedEvents()
    accounts = await lock_accounts(session, (e.user_id for e in events if e.user_id is not None))
    now = clock()
    acceptable = sift(events, accounts, now, result)
    new = await _insert_new(session, acceptable, now)
    result.recorded, result.duplicates = len(new), result.duplicates + len(acceptable) - len(new)
    await load_lots(session, accounts, {}, now)
    settlement = await _read(session, new, accounts, now, zone, result)
    settlement.recorded_by = recorded_by
    for event in sorted(new, key=lambda event: event.occurred_at):
        decide(settlement, event, new_id)
    await _reject(session, settlement)
    writes = Writes()
    await unlock_reached(session, writes, accounts.values(), now, zone)
    save_accounts(writes, accounts.values(), zone)
    name_grants(writes, settlement.purchases)
    save_progress(writes, list(settlement.changed.values()))
    ask_for_rewards(writes, settlement.earned.values(), now)
    await writes.flush(session)
    return result


async def _insert_new(
    session: AsyncSession, events: Sequence[IncomingEvent], now: datetime
) -> list[IncomingEvent]:
    """Insert in the order of their ids, so that two calls with the same events cannot deadlock."""
    rows = [
        (*_stated(event), event.viewed_item_id, now)
        for event in sorted(events, key=attrgetter("event_id"))
    ]
    inserted = await insert_rows(session, Event, _EVENT, rows, suffix=_ONLY_NEW)
    new_ids = {row.event_id for row in inserted}
    return [event for event in events if event.event_id in new_ids]


async def _reject(session: AsyncSession, settlement: EventSettlement) -> None:
    """Take out again what was inserted and cannot be paid: nobody else ever sees it there."""
    result, unpayable = settlement.result, settlement.unpayable
    if unpayable:
        event_ids = [event.event_id for event in unpayable]
        await session.execute(_DELETE, {"event_ids": event_ids})
        result.recorded -= len(unpayable)
        result.rejected += unpayable


async def _read(
    session: AsyncSession,
    events: Sequence[IncomingEvent],
    accounts: dict[int, Account],
    now: datetime,
    zone: ZoneInfo,
    result: RecordedEvents,
) -> EventSettlement:
    tasks = await tasks_by_event(session, {event.type for event in events})
    keys = [
        (event.user_id, task.id, period_start(task.frequency, event.occurred_at, zone))
        for event in events
        for task in tasks
        if event.user_id is not None and counts(task, event)
    ]
    progress = await read_progress(session, keys)
    earned = await read_earned(session, {user_id for user_id, _, _ in keys}, now, zone)
    return EventSettlement(now, zone, accounts, tasks, progress, earned, result)


def counts(task: Task, event: IncomingEvent) -> bool:
    """Whether an event is progress on a task: its type, a large enough amount, while it ran."""
    if task.rules.event != event.type or not task.is_running(event.occurred_at):
        return False
    return task.rules.min_amount is None or (event.amount or 0) >= task.rules.min_amount


def decide(settlement: EventSettlement, event: IncomingEvent, fresh_id: Callable[[], UUID]) -> None:
    """Let one new event move its user's tasks and points. Pure but for the ids it is handed.

    A purchase whose points do not fit moves nothing: it is rejected, so that it can come again.
    """
    if event.user_id is None:
        return
    account = settlement.accounts[event.user_id]
    if event.type == PURCHASE and event.amount is not None and event.amount >= 1:
        try:
            _pay_purchase(settlement, account, event, fresh_id())
        except BalanceFull as full:
            settlement.unpayable.append(RejectedEvent(event.event_id, full.problem))
            return
    for task in settlement.tasks:
        if counts(task, event):
            _advance(settlement, account, task, event, fresh_id)


def _pay_purchase(
    settlement: EventSettlement, account: Account, event: IncomingEvent, lot_id: UUID
) -> None:
    """One point per whole unit of currency."""
    points = int(event.amount or 0)
    cause = Cause(PURCHASE, event.event_id, settlement.recorded_by)
    expires_at = expiry_of(PURCHASE, settlement.now, settlement.zone)
    lot = grant(account, lot_id, points, cause, expires_at, settlement.now)
    settlement.purchases.append(lot)
    settlement.result.points_earned += points


def _advance(
    settlement: EventSettlement,
    account: Account,
    task: Task,
    event: IncomingEvent,
    fresh_id: Callable[[], UUID],
) -> None:
    period = period_start(task.frequency, event.occurred_at, settlement.zone)
    key = (account.user_id, task.id, period)
    progress = settlement.progress.setdefault(key, Progress(*key))
    if progress.completed_at is not None:
        return
    progress.progress = min(progress.progress + 1, task.rules.target)
    settlement.changed[key] = progress
    if task.rules.claim == "auto" and progress.progress >= task.rules.target:
        _pay_if_allowed(settlement, account, task, progress, fresh_id)


def _pay_if_allowed(
    settlement: EventSettlement,
    account: Account,
    task: Task,
    progress: Progress,
    fresh_id: Callable[[], UUID],
) -> None:
    """Grant an automatic task. Where it cannot be paid, it stays open while its period lasts."""
    now, zone = settlement.now, settlement.zone
    earned = settlement.earned[account.user_id]
    try:
        require_not_suspended(account, now)
        require_below_caps(earned, task.points_reward, now, zone)
        who = settlement.recorded_by
        lot = pay_task(account, task, progress, earned, fresh_id(), now, zone, created_by=who)
    except (MemberSuspended, LimitReached, NoRoomForReward):
        return
    settlement.result.tasks_completed += 1
    settlement.result.points_earned += lot.original_points
