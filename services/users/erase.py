"""Deleting a member's personal data on request, while the ledger stays whole.

What is a number of the books stays, under a name that says nothing: lots, changes of the balance,
exchanges, coupons and their codes, memberships, completed tasks, achievements. What says who it
was, where they live, what they like or what was said of them goes. A salted hash of the external id
stays (`erased_subjects`).
"""

import secrets
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from services.bulk import Writes
from services.errors import InvalidState
from services.exchange.place import OPERATION as EXCHANGE_OPERATION
from services.leaderboard.earnings import leave_boards
from services.leaderboard.snapshot import await_snapshots
from services.operators import note_action
from services.users.erased_subjects import await_imports, remember_erased
from services.users.profile import DEFAULT_LOCALE

FOR_EVER = datetime(9999, 12, 31, tzinfo=UTC)

# FOR UPDATE, for the key itself changes; movements of the user wait, and find the suspension.
_LOCK = text("SELECT id FROM users WHERE external_id = :subject FOR UPDATE")
_COUNT_OPEN = text(
    """
    SELECT count(*) FROM exchanges
    WHERE user_id = :user_id AND status NOT IN ('completed', 'cancelled')
    """
)
# Suspended as well: other processes may remember for a while whose token it was.
_FORGET_USER = text(
    """
    UPDATE users
    SET external_id = :placeholder, username = 'erased-' || id, named_at = NULL, email = NULL,
        phone = NULL, avatar_url = NULL, gender = NULL, birth_year = NULL, interests = '{}',
        locale = :locale, timezone = :timezone, last_login_at = NULL, suspended_until = :for_ever,
        erased_at = :now
    WHERE id = :user_id
    """
)
# The row stays: it is what says that the exchange gave its reward. A tracking number leads to the
# address; a reason and what other systems said of an event may hold anything.
_FORGET_SHIPMENTS = text(
    """
    UPDATE shipments SET recipient = NULL, phone = NULL, address = NULL, tracking_number = NULL
    FROM exchanges WHERE exchanges.id = exchange_id AND user_id = :user_id
    """
)
_FORGET_REASONS = text(
    "UPDATE exchanges SET cancel_reason = NULL WHERE user_id = :user_id AND cancel_reason <> ''"
)
_FORGET_EVENTS = text("UPDATE events SET attributes = '{}' WHERE user_id = :user_id")
_FORGET_DEVICE_USERS = text("DELETE FROM device_users WHERE user_id = :user_id")
_FORGET_WISHES = text("DELETE FROM wishes WHERE user_id = :user_id")
# Planning shares the lock on the user: none comes after. That a push was sent and opened stays, for
# the figures; one that waits has nobody left to go to.
_FORGET_DEVICES = text("DELETE FROM devices WHERE user_id = :user_id")
_FORGET_PREFERENCES = text("DELETE FROM push_preferences WHERE user_id = :user_id")
_FORGET_PUSHES = text(
    """
    UPDATE push_records
    SET title = '', body = '', payload = '{}',
        reason = CASE WHEN status = 'queued' THEN 'no_device' ELSE reason END,
        status = CASE WHEN status = 'queued' THEN 'suppressed' ELSE status END
    WHERE user_id = :user_id
    """
)
# Nothing is no reference that anybody can ask with, and still says that the coupon was used.
_FORGET_REFERENCES = text(
    "UPDATE user_coupons SET used_reference = '' WHERE user_id = :user_id AND used_reference <> ''"
)
_FORGET_RANKS = text("DELETE FROM rank_history WHERE user_id = :user_id")
_FORGET_WORDS = text("DELETE FROM reasons WHERE user_id = :user_id")
# What they showed to others says what they like. A link that invites stays, for invites are of the
# books: it shows nothing of who made it any more.
_FORGET_SHARES = text("DELETE FROM shares WHERE user_id = :user_id AND kind <> 'invite'")
# What was measured stays, for the figures; apps choose the ids of events, which may say anything.
_FORGET_SAMPLE_IDS = text(
    "UPDATE experiment_events SET event_id = gen_random_uuid()::text WHERE user_id = :user_id"
)
# A fingerprint is of the address too, and who has a guess could try it. They never ask again; keys
# that another system or an operator used are of something else, and stay.
_FORGET_KEYS = text(
    "DELETE FROM idempotency_keys WHERE user_id = :user_id AND operation = :exchange"
)
# The score stays, for the figures: it names nobody.
_FORGET_COMMENTS = text(
    "UPDATE satisfaction_answers SET comment = NULL"
    " WHERE user_id = :user_id AND comment IS NOT NULL"
)
_FORGET_THE_REST = (
    _FORGET_COMMENTS,
    _FORGET_DEVICE_USERS,
    _FORGET_REASONS,
    _FORGET_EVENTS,
    _FORGET_REFERENCES,
    _FORGET_WORDS,
    _FORGET_RANKS,
    _FORGET_DEVICES,
    _FORGET_PREFERENCES,
    _FORGET_PUSHES,
    _FORGET_SHARES,
    _FORGET_SAMPLE_IDS,
)


class ExchangesOpen(InvalidState):
    """`count` exchanges are neither completed nor cancelled: what they send needs its address."""

    def __init__(self, count: int) -> None:
        super().__init__("open")
        self.count = count


@dataclass(frozen=True, slots=True)
class Erased:
    """Whose personal data is gone, and how many of their wishes and shipments held some."""

    user_id: int
    wishes: int
    shipments: int


async def erase_user(
    session: AsyncSession,
    subject: str,
    now: datetime,
    *,
    timezone: str,
    operator_id: int | None = None,
) -> Erased | None:
    """Delete the personal data of the user with that external id; None when there is nobody.

    A token of the same subject makes a new user afterwards, so that erasing again finds nobody.
    `timezone` is the mall's, `operator_id` who does it, if that is known. Raises ExchangesOpen,
    and then nothing has changed.
    """
    await await_imports(session)
    await await_snapshots(session)
    user_id = (await session.execute(_LOCK, {"subject": subject})).scalar_one_or_none()
    if user_id is None:
        return None
    whose = {"user_id": user_id}
    open_exchanges = (await session.execute(_COUNT_OPEN, whose)).scalar_one()
    if open_exchanges:
        raise ExchangesOpen(open_exchanges)
    await remember_erased(session, subject, now)
    await session.execute(_FORGET_USER, _nobody(user_id, now, timezone))
    await leave_boards(session, user_id, now)
    for forget in _FORGET_THE_REST:
        await session.execute(forget, whose)
    await session.execute(_FORGET_KEYS, {**whose, "exchange": EXCHANGE_OPERATION})
    shipments: Any = await session.execute(_FORGET_SHIPMENTS, whose)
    wishes: Any = await session.execute(_FORGET_WISHES, whose)
    erased = Erased(user_id, wishes.rowcount, shipments.rowcount)
    await _note(session, erased, operator_id, now)
    return erased


def _nobody(user_id: int, now: datetime, timezone: str) -> dict[str, Any]:
    """What the user is from now on. No subject can be the placeholder: nobody can guess it."""
    return {
        "user_id": user_id,
        "placeholder": f"erased:{secrets.token_urlsafe(32)}",
        "locale": DEFAULT_LOCALE,
        "timezone": timezone,
        "for_ever": FOR_EVER,
        "now": now,
    }


async def _note(
    session: AsyncSession, erased: Erased, operator_id: int | None, now: datetime
) -> None:
    writes = Writes()
    details = {"wishes": erased.wishes, "shipments": erased.shipments}
    note_action(writes, operator_id, "erase_user", ("User", erased.user_id), details, now)
    await writes.flush(session)
