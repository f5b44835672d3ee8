"""Users: found by id, created on first sight (`domain.md`, People and access)."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Any

from sqlalchemy import Row, select, text
from sqlalchemy.ext.asyncio import AsyncSession

from models.users import User as UserTable
from services.bulk import among
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


_FIND = text("SELECT id, locale, last_login_at FROM users WHERE external_id = :subject")
_CREATE = text(
    """
    INSERT INTO users (external_id, username, locale, timezone, created_at, last_login_at)
    VALUES (:subject, :username, :locale, :timezone, :now, :now)
    ON CONFLICT (external_id) DO NOTHING
    """
)
# Skips a row that a movement has locked: a login is not worth waiting for, the next one notes it.
_NOTE_LOGIN = text(
    """
    UPDATE users SET last_login_at = :now
    WHERE id = (SELECT id FROM users WHERE id = :user_id FOR NO KEY UPDATE SKIP LOCKED)
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
    session: AsyncSession, claims: Claims, *, timezone: str, now: datetime
) -> Identity:
    """The user of a verified token; its first token creates them.

    `timezone` is the mall's, for users whose token names none.
    """
    row = (await session.execute(_FIND, {"subject": claims.subject})).one_or_none()
    if row is None:
        await session.execute(_CREATE, _new_user(claims, timezone, now))
        row = (await session.execute(_FIND, {"subject": claims.subject})).one()
    elif row.last_login_at is None or row.last_login_at <= now - LOGIN_NOTED_EVERY:
        await session.execute(_NOTE_LOGIN, {"user_id": row.id, "now": now})
    return Identity(row.id, row.locale)


def _new_user(claims: Claims, timezone: str, now: datetime) -> dict[str, Any]:
    return {
        "subject": claims.subject,
        # Never the subject: many identity providers put an e-mail address there.
        "username": claims.name or f"member-{sha256(claims.subject.encode()).hexdigest()[:8]}",
        "locale": claims.locale or DEFAULT_LOCALE,
        "timezone": claims.timezone or timezone,
        "now": now,
    }


async def users_by_id(session: AsyncSession, user_ids: Iterable[int]) -> dict[int, User]:
    """Those of `user_ids` that exist."""
    rows = await session.execute(select(*_USER).where(among(UserTable.id, user_ids)))
    return {row.id: _from_row(row) for row in rows}


def _from_row(row: Row[Any]) -> User:
    return User(**{**row._mapping, "interests": tuple(row.interests)})  # noqa: SLF001
