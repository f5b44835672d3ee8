"""Users: found by id, created on first sight (`domain.md`, People and access)."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Any

from sqlalchemy import Row, select, text
from sqlalchemy.ext.asyncio import AsyncSession

from models.users import User as UserTable
from services.bulk import among, insert_rows
from services.calendar import Clock
from services.users.claims import Claims

DEFAULT_LOCALE = "zh-CN"
LOGIN_NOTED_EVERY = timedelta(hours=1)
"""How exact `last_login_at` is: a write for every request would be dear and tell no more."""


@dataclass(frozen=True, slots=True)
class User:
    """What is known of a user."""

    id: int
    username: str
    email: str | None
    phone: str | None
    avatar_url: str | None
    locale: str
    timezone: str
    interests: tuple[str, ...]
    created_at: datetime
    last_login_at: datetime | None
    suspended_until: datetime | None


@dataclass(frozen=True, slots=True)
class Identity:
    """Who a token speaks for: enough to serve a request."""

    user_id: int
    locale: str


_NEW_USER = ("external_id", "username", "locale", "timezone", "created_at", "last_login_at")
_FIND = text(
    """
    SELECT external_id, id, locale, last_login_at FROM users
    WHERE external_id = ANY(CAST(:subjects AS text[]))
    """
)
# Skips rows that a movement has locked: a login is not worth waiting for, the next one notes it.
_NOTE_LOGINS = text(
    """
    UPDATE users SET last_login_at = :now
    WHERE id IN (SELECT id FROM users WHERE id = ANY(CAST(:user_ids AS bigint[]))
                 FOR NO KEY UPDATE SKIP LOCKED)
    """
)
_USER = tuple(
    getattr(UserTable, name)
    for name in (
        "id",
        "username",
        "email",
        "phone",
        "avatar_url",
        "locale",
        "timezone",
        "interests",
        "created_at",
        "last_login_at",
        "suspended_until",
    )
)


async def identify(
    session: AsyncSession, sought: Sequence[Claims], *, timezone: str, clock: Clock
) -> list[Identity]:
    """The users of verified tokens, in order; a subject's first token creates its user.

    `timezone` is the mall's, for users whose token names none. Set-based, as movements are: after
    a deployment everybody is new to a process at once.
    """
    now = clock()
    by_subject = {claims.subject: claims for claims in sought}
    found = await _find(session, by_subject)
    missing = [claims for subject, claims in sorted(by_subject.items()) if subject not in found]
    if missing:
        rows = [_new_user(claims, timezone, now) for claims in missing]
        await insert_rows(session, UserTable, _NEW_USER, rows, suffix="ON CONFLICT DO NOTHING")
        found = await _find(session, by_subject)
    await _note_logins(session, found.values(), now)
    return [Identity(found[claims.subject].id, found[claims.subject].locale) for claims in sought]


async def _find(session: AsyncSession, subjects: Iterable[str]) -> dict[str, Row[Any]]:
    rows = await session.execute(_FIND, {"subjects": list(subjects)})
    return {row.external_id: row for row in rows}


async def _note_logins(session: AsyncSession, rows: Iterable[Row[Any]], now: datetime) -> None:
    long_ago = now - LOGIN_NOTED_EVERY
    stale = [row.id for row in rows if row.last_login_at is None or row.last_login_at <= long_ago]
    if stale:
        await session.execute(_NOTE_LOGINS, {"user_ids": stale, "now": now})


def _new_user(claims: Claims, timezone: str, now: datetime) -> tuple[Any, ...]:
    # Never the subject as a name: many identity providers put an e-mail address there.
    anonymous = f"member-{sha256(claims.subject.encode()).hexdigest()[:8]}"
    return (
        claims.subject,
        claims.name or anonymous,
        claims.locale or DEFAULT_LOCALE,
        claims.timezone or timezone,
        now,
        now,
    )


async def users_by_id(session: AsyncSession, user_ids: Iterable[int]) -> dict[int, User]:
    """Those of `user_ids` that exist."""
    rows = await session.execute(select(*_USER).where(among(UserTable.id, user_ids)))
    return {row.id: _from_row(row) for row in rows}


def _from_row(row: Row[Any]) -> User:
    return User(**{**row._mapping, "interests": tuple(row.interests)})  # noqa: SLF001
