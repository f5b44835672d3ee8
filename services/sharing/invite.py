"""Accepting an invite (`domain.md`, Achievements and sharing): whoever is new, once for ever.

Accepting gives nothing yet: both sides are rewarded when the invited one has completed the first
task (`reward.py`).
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from models.sharing import Invite
from services.bulk import Writes
from services.errors import InvalidState, NotFound, Unauthenticated
from services.identifiers import new_id
from services.points.account import OPENING_BALANCE, Account
from services.points.accounts import lock_accounts
from services.sharing.links import read_code
from services.users.erased_subjects import erased_among

LONGEST_MEMBER_FOR = timedelta(days=7)
"""For so long after joining one can still be invited."""

_COLUMNS = ("id", "invited_id", "inviter_id", "share_id", "accepted_at")
_FIND_SHARE = text("SELECT id, user_id, code FROM shares WHERE code = :code AND kind = 'invite'")
# The walk up ends: UNION takes nobody twice.
_READ = text(
    """
    WITH RECURSIVE above (user_id) AS (
        SELECT CAST(:inviter_id AS bigint)
        UNION
        SELECT invites.inviter_id FROM above JOIN invites ON invited_id = above.user_id
    )
    SELECT created_at AS joined_at,
           (SELECT share_id FROM invites WHERE invited_id = users.id) AS accepted_share_id,
           EXISTS (SELECT FROM above WHERE user_id = users.id) AS is_above_inviter,
           EXISTS (SELECT FROM user_tasks
                   WHERE user_id = users.id AND completed_at IS NOT NULL) AS has_completed_task,
           EXISTS (SELECT FROM points_records
                   WHERE source = :opening AND source_reference = CAST(users.id AS text)
           ) AS has_moved_in
    FROM users WHERE id = :invited_id
    """
)


class InviteRefusal(StrEnum):
    """Why an invite cannot be accepted."""

    OWN = "own"
    ACCEPTED_ANOTHER = "accepted_another"
    NOT_NEW = "not_new"
    IN_CIRCLE = "in_circle"
    SUSPENDED = "suspended"


class InviteNotAcceptable(InvalidState):
    """This member cannot accept this invite."""

    def __init__(self, reason: InviteRefusal) -> None:
        super().__init__(reason.name)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class InvitedMember:
    """What is known of who accepts an invite, read under their lock."""

    joined_at: datetime
    accepted_share_id: UUID | None
    is_above_inviter: bool
    has_completed_task: bool
    was_erased_before: bool
    has_moved_in: bool
    is_suspended: bool


async def accept_invite(
    session: AsyncSession, invited_id: int, subject: str, written_code: str, now: datetime
) -> None:
    """Let a new member, known by `subject` to whoever signs tokens, be brought by another one.

    Accepting the same invite again changes nothing. Raises NotFound for a code of no invite, or of
    somebody who is suspended or erased, InviteNotAcceptable, and Unauthenticated for a member who
    was erased.
    """
    share = await _find_share(session, written_code)
    # Before the locks of users, as it asks for: they were a member once, whatever they are called.
    erased = await erased_among(session, [subject])
    accounts = await lock_accounts(session, [share.user_id, invited_id])
    invited, inviter = accounts.get(invited_id), accounts.get(share.user_id)
    if invited is None or invited.is_erased:
        raise Unauthenticated
    if share.user_id == invited_id:
        raise InviteNotAcceptable(InviteRefusal.OWN)
    if inviter is None or inviter.is_erased or _is_suspended(inviter, now):
        raise NotFound("Share", share.code)
    asked = {
        "inviter_id": share.user_id,
        "invited_id": invited_id,
        "opening": OPENING_BALANCE,
    }
    row = (await session.execute(_READ, asked)).one()
    member = InvitedMember(
        joined_at=row.joined_at,
        accepted_share_id=row.accepted_share_id,
        is_above_inviter=row.is_above_inviter,
        has_completed_task=row.has_completed_task,
        was_erased_before=subject in erased,
        has_moved_in=row.has_moved_in,
        is_suspended=_is_suspended(invited, now),
    )
    if require_acceptable(member, share.id, now):
        writes = Writes()
        writes.insert(Invite, _COLUMNS, [(new_id(), invited_id, share.user_id, share.id, now)])
        await writes.flush(session)


async def _find_share(session: AsyncSession, written_code: str) -> Any:
    code = read_code(written_code)
    row = code and (await session.execute(_FIND_SHARE, {"code": code})).one_or_none()
    if not row:
        raise NotFound("Share", code or "")  # what is no code may not even be text
    return row


def _is_suspended(account: Account, now: datetime) -> bool:
    return account.suspended_until is not None and account.suspended_until > now


def require_acceptable(member: InvitedMember, share_id: UUID, now: datetime) -> bool:
    """Whether this is a new invite: False for one that the member has accepted already. Pure.

    Raises InviteNotAcceptable.
    """
    if member.accepted_share_id is not None:
        if member.accepted_share_id != share_id:
            raise InviteNotAcceptable(InviteRefusal.ACCEPTED_ANOTHER)
        return False
    if member.is_suspended:
        raise InviteNotAcceptable(InviteRefusal.SUSPENDED)
    is_late = now > member.joined_at + LONGEST_MEMBER_FOR
    was_here_before = member.was_erased_before or member.has_moved_in
    if is_late or member.has_completed_task or was_here_before:
        raise InviteNotAcceptable(InviteRefusal.NOT_NEW)
    if member.is_above_inviter:
        raise InviteNotAcceptable(InviteRefusal.IN_CIRCLE)
    return True
