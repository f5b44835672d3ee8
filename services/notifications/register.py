"""Devices that pushes are sent to: a token belongs to the last user who registered it."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from models.notifications import LONGEST_TOKEN, DevicePlatform
from services.errors import InvalidInput, Unauthenticated
from services.identifiers import new_id
from services.notifications.preferences import lock_preferences
from services.notifications.shared_devices import note_device_user

MOST_DEVICES = 20
"""Devices of a member. Every reinstallation may bring a new token: those longest unseen go."""

_COLUMNS = "id, user_id, platform, created_at, last_seen_at"
# A token that comes from somebody else is another device: the id that they know dies with it.
# Devices that somebody else registers right now are leaving anyway, and not waited for: two members
# who swap devices would wait for each other.
_REGISTER = text(
    f"""
    WITH surplus AS (
        SELECT id FROM devices WHERE id = ANY(ARRAY(
            SELECT id FROM devices WHERE user_id = :user_id AND token <> :token
            ORDER BY last_seen_at DESC, id DESC OFFSET {MOST_DEVICES - 1}
        ))
        FOR UPDATE SKIP LOCKED
    ), dropped AS (
        DELETE FROM devices WHERE id IN (SELECT id FROM surplus)
    )
    INSERT INTO devices (id, user_id, platform, token, created_at, last_seen_at)
    VALUES (:id, :user_id, :platform, :token, :now, :now)
    ON CONFLICT (token) DO UPDATE
    SET id = CASE WHEN devices.user_id = excluded.user_id THEN devices.id ELSE excluded.id END,
        created_at = CASE WHEN devices.user_id = excluded.user_id THEN devices.created_at
                          ELSE excluded.created_at END,
        user_id = excluded.user_id, platform = excluded.platform,
        last_seen_at = excluded.last_seen_at
    RETURNING {_COLUMNS}
    """
)
_UNREGISTER = text("DELETE FROM devices WHERE token = :token AND user_id = :user_id")
_FIND = text(f"SELECT {_COLUMNS} FROM devices WHERE id = ANY(CAST(:ids AS uuid[]))")


class TokenInvalid(InvalidInput):
    """Not 1 to 1,024 printable ASCII characters, which is what providers hand out."""

    def __init__(self) -> None:
        super().__init__(("token",), f"1 to {LONGEST_TOKEN} printable ASCII characters")


@dataclass(frozen=True, slots=True)
class Device:
    """A phone or browser of a member."""

    id: UUID
    user_id: int
    platform: DevicePlatform
    created_at: datetime
    last_seen_at: datetime


async def register_device(
    session: AsyncSession, user_id: int, platform: DevicePlatform, token: str, now: datetime
) -> Device:
    """Send a member's pushes to that device from now on, and to nobody else's with its token.

    Registering again says that it was seen. Beyond 20 devices the one longest unseen goes. Raises
    TokenInvalid, and Unauthenticated for a user who is gone or erased.
    """
    _require_token(token)
    # Registrations of one member queue up: together they never pass the bound.
    if not await lock_preferences(session, [user_id]):
        raise Unauthenticated
    values = {"id": new_id(), "user_id": user_id, "platform": platform, "token": token, "now": now}
    device = _device((await session.execute(_REGISTER, values)).one())
    await note_device_user(session, user_id, token, now)
    return device


async def unregister_device(session: AsyncSession, user_id: int, token: str) -> bool:
    """Send nothing more to the member's device with that token; whether there was one.

    Another member's stays. Raises TokenInvalid.
    """
    _require_token(token)
    removed: Any = await session.execute(_UNREGISTER, {"user_id": user_id, "token": token})
    return removed.rowcount > 0


def _require_token(token: str) -> None:
    is_plain = token.isascii() and token.isprintable() and bool(token.strip())
    if not is_plain or len(token) > LONGEST_TOKEN:
        raise TokenInvalid


async def devices_by_id(session: AsyncSession, ids: Iterable[UUID]) -> dict[UUID, Device]:
    """Those of `ids` that exist, whoever's they are."""
    rows = await session.execute(_FIND, {"ids": sorted(set(ids))})
    return {row.id: _device(row) for row in rows}


def _device(row: Any) -> Device:
    return Device(
        row.id, row.user_id, DevicePlatform(row.platform), row.created_at, row.last_seen_at
    )
