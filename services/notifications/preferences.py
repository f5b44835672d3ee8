"""What members want to be told, and when not (`domain.md`, Notifications)."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import time
from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from models.notifications import PushType
from services.errors import InvalidInput, Unauthenticated
from services.notifications.decide import Preferences

# FOR KEY SHARE is what the foreign keys of all that follows would take, taken first and in order:
# erasing a member waits, or has come before, and then the member is left out.
_CREATE = text(
    """
    INSERT INTO push_preferences (user_id)
    SELECT id FROM users
    WHERE id = ANY(CAST(:user_ids AS bigint[])) AND erased_at IS NULL
    ORDER BY id FOR KEY SHARE
    ON CONFLICT DO NOTHING
    """
)
_COLUMNS = "user_id, enabled, muted_types, quiet_from, quiet_until"
_LOCK = text(
    f"""
    SELECT {_COLUMNS} FROM push_preferences
    WHERE user_id = ANY(CAST(:user_ids AS bigint[])) ORDER BY user_id FOR UPDATE
    """
)
_READ = text(
    f"SELECT {_COLUMNS} FROM push_preferences WHERE user_id = ANY(CAST(:user_ids AS bigint[]))"
)
_WRITE = text(
    """
    UPDATE push_preferences
    SET enabled = :enabled, muted_types = CAST(:muted_types AS text[]),
        quiet_from = :quiet_from, quiet_until = :quiet_until
    WHERE user_id = :user_id
    """
)
_TIME_OF_DAY = re.compile("([01][0-9]|2[0-3]):[0-5][0-9]")


class QuietHoursInvalid(InvalidInput):
    """Not a time of day from 00:00 to 23:59."""

    def __init__(self, field: str) -> None:
        super().__init__((field,), "HH:MM, 00:00 to 23:59")


@dataclass(frozen=True, slots=True)
class PreferenceChanges:
    """What a member wants changed; None stays. `muted_types` replaces all that were muted."""

    enabled: bool | None = None
    muted_types: Sequence[PushType] | None = None
    quiet_hours_start: str | None = None
    quiet_hours_end: str | None = None


async def update_preferences(
    session: AsyncSession, user_id: int, asked: PreferenceChanges
) -> Preferences:
    """Change what a member wants, and return all of it; equal ends mean no quiet hours.

    What is sent from now on heeds it, though it was planned before. Raises
    QuietHoursInvalid, and Unauthenticated for a user who is gone or erased: their token may
    outlive them. Then nothing has changed.
    """
    changes = _read_changes(asked)
    held = (await lock_preferences(session, [user_id])).get(user_id)
    if held is None:
        raise Unauthenticated
    wanted = replace(held, **changes)
    if wanted != held:
        await session.execute(_WRITE, {"user_id": user_id, **_stored(wanted)})
    return wanted


def _read_changes(asked: PreferenceChanges) -> dict[str, Any]:
    changes: dict[str, Any] = {
        "enabled": asked.enabled,
        "muted_types": None if asked.muted_types is None else frozenset(asked.muted_types),
        "quiet_from": _read_time("quietHoursStart", asked.quiet_hours_start),
        "quiet_until": _read_time("quietHoursEnd", asked.quiet_hours_end),
    }
    return {name: value for name, value in changes.items() if value is not None}


def _read_time(field: str, written: str | None) -> time | None:
    if written is None:
        return None
    if not _TIME_OF_DAY.fullmatch(written):
        raise QuietHoursInvalid(field)
    return time.fromisoformat(written)


def _stored(preferences: Preferences) -> dict[str, Any]:
    return {
        "enabled": preferences.enabled,
        "muted_types": sorted(preferences.muted_types),
        "quiet_from": preferences.quiet_from,
        "quiet_until": preferences.quiet_until,
    }


async def lock_preferences(
    session: AsyncSession, user_ids: Iterable[int]
) -> dict[int, Preferences]:
    """Lock what members want, one row each, made when there is none yet; in order of their ids.

    Users who are not there or were erased are missing; the others are not erased meanwhile. What
    is to be read under the lock takes a later statement.
    """
    asked = {"user_ids": sorted(set(user_ids))}
    await session.execute(_CREATE, asked)
    return _by_user(await session.execute(_LOCK, asked))


async def preferences_by_user(
    session: AsyncSession, user_ids: Iterable[int]
) -> dict[int, Preferences]:
    """What members said they want; who never said anything is missing."""
    return _by_user(await session.execute(_READ, {"user_ids": sorted(set(user_ids))}))


def _by_user(rows: Iterable[Any]) -> dict[int, Preferences]:
    return {
        row.user_id: Preferences(
            row.enabled,
            frozenset(PushType(name) for name in row.muted_types),
            row.quiet_from,
            row.quiet_until,
        )
        for row in rows
    }
