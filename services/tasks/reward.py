"""Points for what a member did in the mall itself: tasks and check-ins."""

from datetime import datetime
from uuid import UUID

from services.points.account import Account, Cause, Lot
from services.points.ledger import grant
from services.points.room import BalanceFull
from services.tasks.rules import TaskNotCompletable, TaskRefusal


class NoRoomForReward(TaskNotCompletable):
    """The member's balance cannot hold the reward."""


def grant_reward(
    account: Account,
    lot_id: UUID,
    points: int,
    cause: Cause,
    expires_at: datetime | None,
    now: datetime,
) -> Lot:
    """Grant to a member; raises NoRoomForReward, and then nothing has changed."""
    try:
        return grant(account, lot_id, points, cause, expires_at, now)
    except BalanceFull as full:
        raise NoRoomForReward(TaskRefusal.REQUIREMENT_UNMET) from full
