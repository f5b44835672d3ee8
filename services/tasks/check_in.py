"""The daily check-in and its streak (`domain.md`, Tasks and check-in)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from operator import attrgetter
from uuid import UUID
from zoneinfo import ZoneInfo

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from models.tasks import CheckIn as CheckInTable
from services.bulk import Writes
from services.calendar import Clock, day_start, local_day
from services.errors import NotFound, Refusal, VerificationRequired
from services.points.account import Account, Cause, require_not_suspended
from services.points.accounts import load_lots, lock_accounts, save_accounts
from services.points.expiry import expiry_of
from services.tasks.reward import grant_reward
from services.tasks.rules import TaskNotCompletable, TaskRefusal

CHECK_IN_POINTS = 5
CHECK_IN_SOURCE = "check_in"
STREAK_BONUSES = {3: 5, 7: 20, 14: 50, 30: 100}
EVERY_DAYS, EVERY_BONUS = 30, 100


@dataclass(frozen=True, slots=True)
class CheckInRequest:
    """One member checking in. `lot_id` is fresh; used only if it is granted."""

    user_id: int
    is_verified: bool
    lot_id: UUID


@dataclass(frozen=True, slots=True)
class StreakBonus:
    """What the streak day `streak` adds."""

    streak: int
    points: int


@dataclass(frozen=True, slots=True)
class CheckedIn:
    """A day that was signed in; `bonus_points` is the part of `points` that the streak added."""

    user_id: int
    day: date
    streak: int
    points: int
    bonus_points: int
    points_record_id: UUID
    created_at: datetime


_COLUMNS = ("user_id", "day", "streak", "points", "bonus_points", "points_record_id", "created_at")
_check_in_row = attrgetter(*_COLUMNS)
_LAST = text(
    """
    SELECT last.day, last.streak, last.user_id
    FROM unnest(CAST(:user_ids AS bigint[])) AS asked(user_id)
    CROSS JOIN LATERAL (
        SELECT day, streak, user_id FROM check_ins WHERE check_ins.user_id = asked.user_id
        ORDER BY day DESC LIMIT 1
    ) last
    """
)


@dataclass(frozen=True, slots=True)
class LastCheckIn:
    """The latest day a member signed in, and the streak it had reached."""

    day: date
    streak: int


def bonus_on(streak: int) -> int:
    """The points that the streak adds on its day number `streak`."""
    if streak > EVERY_DAYS and streak % EVERY_DAYS == 0:
        return EVERY_BONUS
    return STREAK_BONUSES.get(streak, 0)


def next_bonus(streak: int) -> StreakBonus:
    """The next day of the streak that adds something, and what."""
    ahead = next(day for day in range(streak + 1, streak + EVERY_DAYS + 1) if bonus_on(day))
    return StreakBonus(ahead, bonus_on(ahead))


def running_streak(last: LastCheckIn | None, today: date) -> int:
    """The streak as it stands today: 0 once a whole day was missed."""
    if last is None or last.day < today - timedelta(days=1):
        return 0
    return last.streak


async def last_check_ins(session: AsyncSession, user_ids: Sequence[int]) -> dict[int, LastCheckIn]:
    """Each user's latest check-in; users without any are missing."""
    rows = await session.execute(_LAST, {"user_ids": list(user_ids)})
    return {row.user_id: LastCheckIn(row.day, row.streak) for row in rows}


async def check_in(
    session: AsyncSession,
    requests: Sequence[CheckInRequest],
    *,
    clock: Clock,
    zone: ZoneInfo,
    captcha: Callable[[], VerificationRequired] | None,
) -> list[CheckedIn | Refusal]:
    """Settle a batch of check-ins in one transaction; one outcome per request, in order.

    `captcha` makes the refusal for a request that is not verified; None demands no verification.
    """
    accounts = await lock_accounts(session, (request.user_id for request in requests))
    now = clock()
    await load_lots(session, accounts, {}, now)
    last = await last_check_ins(session, list(accounts))
    outcomes: list[CheckedIn | Refusal] = []
    for request in requests:
        try:
            if captcha is not None and not request.is_verified:
                raise captcha()
            outcomes.append(decide(accounts.get(request.user_id), last, request, now, zone))
        except Refusal as refusal:
            outcomes.append(refusal)
    writes = Writes()
    save_accounts(writes, accounts.values(), zone)
    save_check_ins(writes, [outcome for outcome in outcomes if isinstance(outcome, CheckedIn)])
    await writes.flush(session)
    return outcomes


def save_check_ins(writes: Writes, checked_in: Sequence[CheckedIn]) -> None:
    """Add check-ins that were granted to what is written."""
    rows = [_check_in_row(entry) for entry in checked_in]
    writes.insert(CheckInTable, _COLUMNS, rows)


def decide(
    account: Account | None,
    last: dict[int, LastCheckIn],
    request: CheckInRequest,
    now: datetime,
    zone: ZoneInfo,
) -> CheckedIn:
    """Sign a member in for the day of `now`, or raise the refusal. Pure."""
    if account is None:
        raise NotFound("User", str(request.user_id))
    require_not_suspended(account, now)
    today = local_day(now, zone)
    previous = last.get(account.user_id)
    if previous is not None and previous.day >= today:
        tomorrow = day_start(previous.day + timedelta(days=1), zone)
        raise TaskNotCompletable(TaskRefusal.ALREADY_COMPLETED, tomorrow, is_check_in=True)
    streak = running_streak(previous, today) + 1
    bonus = bonus_on(streak)
    cause = Cause(CHECK_IN_SOURCE, today.isoformat(), f"user:{account.user_id}")
    expires_at = expiry_of(CHECK_IN_SOURCE, now, zone)
    points = CHECK_IN_POINTS + bonus
    lot = grant_reward(account, request.lot_id, points, cause, expires_at, now)
    last[account.user_id] = LastCheckIn(today, streak)
    return CheckedIn(
        user_id=account.user_id,
        day=today,
        streak=streak,
        points=points,
        bonus_points=bonus,
        points_record_id=lot.id,
        created_at=now,
    )
