"""Unlocking what a movement reaches, in its transaction (`domain.md`, Achievements).

After a settlement has decided, and before it writes: whoever got to a milestone is held against
the definitions, read in one statement under the locks of the users. What is unlocked is written
and paid with the movement that reached it; that an achievement is unlocked once is the key of
`user_achievements`.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from operator import attrgetter
from typing import Any, Protocol
from uuid import UUID
from zoneinfo import ZoneInfo

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from models.achievements import AchievementMeasure, UserAchievement
from services.achievements.measures import Definition
from services.achievements.milestones import Milestones
from services.bulk import Writes
from services.errors import Refusal
from services.identifiers import new_id
from services.outbox import enqueue
from services.points.account import Account, Cause, is_suspended
from services.points.expiry import expiry_of
from services.points.ledger import grant
from services.points.room import BalanceFull

ACHIEVEMENT_SOURCE = "achievement"
UNLOCKED_JOB = "achievement_unlocked"

_COLUMNS = ("user_id", "achievement_id", "unlocked_at", "points", "points_record_id")
_DEFINITIONS = text(
    """
    SELECT id, key, measure, target, points_reward,
           ARRAY(SELECT user_id FROM user_achievements
                 WHERE achievement_id = achievements.id
                   AND user_id = ANY(CAST(:user_ids AS bigint[]))) AS held_by
    FROM achievements WHERE is_active ORDER BY id
    """
)


@dataclass(frozen=True, slots=True)
class Unlocked:
    """An achievement that a member has from now on; `points` are 0 where none were granted."""

    user_id: int
    achievement_id: int
    unlocked_at: datetime
    points: int
    points_record_id: UUID | None


_unlocked_row = attrgetter(*_COLUMNS)

UnlockedBy = Mapping[int, Sequence[int]]
"""By user id, the ids of the achievements that were unlocked."""


async def unlock_reached(
    session: AsyncSession,
    writes: Writes,
    accounts: Iterable[Account],
    now: datetime,
    zone: ZoneInfo,
) -> UnlockedBy:
    """Unlock all that these accounts have reached; to be called before they are saved.

    Their users are locked and their due lots loaded. Only accounts that a movement changed are
    looked at; suspended members get nothing while that lasts, erased ones nothing at all.
    Reads nothing when nobody got to a milestone.
    """
    moved = [a for a in accounts if a.is_changed and _is_due(a) and may_unlock(a, now)]
    return await unlock_all(session, writes, moved, now, zone) if moved else {}


def _is_due(account: Account) -> bool:
    """Whether there may be something that the member has not unlocked."""
    return account.is_at_milestone or account.ahead.checked != account.ahead.current


def may_unlock(account: Account, now: datetime) -> bool:
    """Whether the member is one that gets achievements now."""
    return not (account.is_erased or is_suspended(account, now))


async def unlock_all(
    session: AsyncSession,
    writes: Writes,
    accounts: Sequence[Account],
    now: datetime,
    zone: ZoneInfo,
    *,
    is_long_ago: bool = False,
) -> UnlockedBy:
    """Hold these accounts against all definitions; adds what they unlock to what is written.

    Of what was reached long ago members are told only where it brings points.
    """
    definitions = await _read_definitions(session, [account.user_id for account in accounts])
    unlocked = [each for a in accounts for each in unlock(a, definitions, now, zone, new_id)]
    writes.insert(UserAchievement, _COLUMNS, [_unlocked_row(each) for each in unlocked])
    told = [
        {"user_id": e.user_id, "achievement_id": e.achievement_id}
        for e in unlocked
        if e.points or not is_long_ago
    ]
    enqueue(writes, UNLOCKED_JOB, told, now)
    by_user: dict[int, list[int]] = {}
    for each in unlocked:
        by_user.setdefault(each.user_id, []).append(each.achievement_id)
    return by_user


async def _read_definitions(session: AsyncSession, user_ids: Sequence[int]) -> list[Definition]:
    rows = await session.execute(_DEFINITIONS, {"user_ids": user_ids})
    return [
        Definition(
            id=row.id,
            key=row.key,
            measure=AchievementMeasure(row.measure),
            target=row.target,
            points_reward=row.points_reward,
            held_by=frozenset(row.held_by),
        )
        for row in rows
    ]


def unlock(
    account: Account,
    definitions: Iterable[Definition],
    now: datetime,
    zone: ZoneInfo,
    fresh_id: Callable[[], UUID],
) -> list[Unlocked]:
    """Unlock what the account has reached, and what the points for that reach in turn.

    In the order of the definitions' ids, whatever order they come in. An account without room for
    the points gets the achievement without them. Pure but for the ids it is handed.
    """
    missing = sorted(
        (each for each in definitions if account.user_id not in each.held_by),
        key=attrgetter("id"),
    )
    unlocked: list[Unlocked] = []
    while reached := [each for each in missing if each.is_reached_by(account)]:
        unlocked += [_grant(account, each, now, zone, fresh_id) for each in reached]
        missing = [each for each in missing if each not in reached]
    version = account.ahead.current
    account.ahead = Milestones(checked=version, current=version)
    return unlocked


def _grant(
    account: Account,
    achieved: Definition,
    now: datetime,
    zone: ZoneInfo,
    fresh_id: Callable[[], UUID],
) -> Unlocked:
    points, lot_id = achieved.points_reward, None
    if points:
        cause = Cause(ACHIEVEMENT_SOURCE, achieved.key, "system")
        expires_at = expiry_of(ACHIEVEMENT_SOURCE, now, zone)
        try:
            lot_id = grant(account, fresh_id(), points, cause, expires_at, now).id
        except BalanceFull:
            points = 0
    return Unlocked(account.user_id, achieved.id, now, points, lot_id)


class _ByUser(Protocol):
    @property
    def user_id(self) -> int:
        """Whose request it is."""
        ...


def tell_unlocked(
    requests: Sequence[_ByUser], outcomes: list[Any], unlocked: UnlockedBy
) -> list[int]:
    """Let the last granted request of each member who unlocked something say so; returns where.

    A refusal tells nothing, and neither does an earlier answer that is given again.
    """
    waiting, places = dict(unlocked), list[int]()
    for place in reversed(range(len(outcomes))) if waiting else ():
        user_id, outcome = requests[place].user_id, outcomes[place]
        if isinstance(outcome, Refusal) or getattr(outcome, "replayed", False):
            continue
        if user_id in waiting:
            outcomes[place] = replace(outcome, unlocked=tuple(waiting.pop(user_id)))
            places.append(place)
    return places
