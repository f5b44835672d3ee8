"""Suspending members: for a time they neither earn nor spend (`domain.md`, Operating it, Abuse)."""

from datetime import datetime

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from models.users import User as UserTable
from services.bulk import Writes
from services.errors import BadInput, NotFound
from services.identifiers import new_id
from services.operators import note_action
from services.reasons import keep_reason, reason_details
from services.users.profile import User, users_by_id

LONGEST_REASON = 500

# The lock that movements take: those in flight end first, those that wait find the suspension.
_LOCK = text(
    """
    SELECT suspended_until FROM users
    WHERE id = :user_id AND erased_at IS NULL FOR NO KEY UPDATE
    """
)


async def suspend_user(
    session: AsyncSession,
    operator_id: int,
    user_id: int,
    until: datetime | None,
    reason: str,
    now: datetime,
) -> User:
    """Suspend a user `until` then, or lift the suspension (None); the operator is noted.

    Raises BadInput for an end that is not in the future and a reason that does not have 1 to 500
    characters, NotFound for a user who is not there or was erased.
    """
    _require_sound(until, reason, now)
    row = (await session.execute(_LOCK, {"user_id": user_id})).one_or_none()
    if row is None:
        raise NotFound("User", str(user_id))
    writes, reason_id = Writes(), new_id()
    keep_reason(writes, reason_id, user_id, reason, now)
    details = {
        "from": _written(row.suspended_until),
        "to": _written(until),
        **reason_details(reason_id),
    }
    writes.update(UserTable, ("id", "suspended_until"), [(user_id, until)])
    action = "lift_suspension" if until is None else "suspend_user"
    note_action(writes, operator_id, action, ("User", user_id), details, now)
    await writes.flush(session)
    return (await users_by_id(session, [user_id]))[user_id]


def _require_sound(until: datetime | None, reason: str, now: datetime) -> None:
    if until is not None and until <= now:
        raise BadInput("until must lie in the future")
    if not reason.strip() or len(reason) > LONGEST_REASON or "\x00" in reason:
        raise BadInput(f"reason must have 1 to {LONGEST_REASON} characters")


def _written(instant: datetime | None) -> str | None:
    return instant and instant.isoformat()
