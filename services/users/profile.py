"""Users: found by id, created on first sight (`domain.md`, People and access)."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncSession

from models.kpis import MemberDay
from models.users import User as UserTable
from services.bulk import among, insert_rows
from services.calendar import Clock, day_start, local_day
from services.users.claims import Claims
from services.users.renames import issued_at

DEFAULT_LOCALE = "zh-CN"
LONGEST_INTEREST = 50
"""Characters. Tags that are longer cannot be chosen as interests."""
LOGIN_NOTED_EVERY = timedelta(hours=1)
"""How exact `last_login_at` is: a write for every request would be dear and tell no more.

The first of a day of the mall is noted all the same.
"""


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
class Login:
    """Somebody who signed in. `is_member` as their token says: staff and systems are not."""

    user_id: int
    is_member: bool


@dataclass(frozen=True, slots=True)
class Identity:
    """Who a token speaks for: enough to serve a request.

    `named_at` is when the token was issued that named them, None if no token has.
    """

    user_id: int
    locale: str
    is_login_unnoted: bool
    username: str
    named_at: datetime | None


_NEW_USER = (
    "external_id",
    "username",
    "named_at",
    "locale",
    "timezone",
    "created_at",
    "last_login_at",
)
_FIND = text(
    """
    SELECT external_id, id, locale, last_login_at, username, named_at FROM users
    WHERE external_id = ANY(CAST(:subjects AS text[]))
    """
)
# Skips rows that a movement has locked: the next login notes it. The day is written down at once,
# for the figures (`docs/kpis.md`, Active).
_NOTE_LOGINS = text(
    """
    WITH noted AS (
        UPDATE users SET last_login_at = :now
        WHERE id IN (SELECT id FROM users WHERE id = ANY(CAST(:user_ids AS bigint[]))
                     FOR NO KEY UPDATE SKIP LOCKED)
    )
    INSERT INTO member_days (day, user_id)
    SELECT CAST(:day AS date), member FROM unnest(CAST(:members AS bigint[])) member
    ORDER BY member ON CONFLICT DO NOTHING
    """
)
USER_COLUMNS = tuple(
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


async def find_users(
    session: AsyncSession, sought: Sequence[Claims], *, clock: Clock, zone: ZoneInfo
) -> list[Identity | None]:
    """The users of verified tokens, in order; None for a subject seen for the first time.

    Set-based, as movements are: after a deployment everybody is new to a process at once.
    """
    now = clock()
    long_ago = max(now - LOGIN_NOTED_EVERY, day_start(local_day(now, zone), zone))
    subjects = list({claims.subject for claims in sought})
    found = {
        row.external_id: Identity(
            row.id,
            row.locale,
            row.last_login_at is None or row.last_login_at <= long_ago,
            row.username,
            row.named_at,
        )
        for row in await session.execute(_FIND, {"subjects": subjects})
    }
    return [found.get(claims.subject) for claims in sought]


async def create_users(
    session: AsyncSession, sought: Sequence[Claims], *, zone: ZoneInfo, clock: Clock
) -> list[Identity | None]:
    """Create the users of first tokens, in order of their subjects, and return all of them.

    `zone` is the mall's, for users whose token names none. Whom another process created meanwhile
    is left as it is. Members are written down as seen today.
    """
    now = clock()
    by_subject = {claims.subject: claims for claims in sought}
    rows = [_new_user(claims, zone.key, now) for _, claims in sorted(by_subject.items())]
    await insert_rows(session, UserTable, _NEW_USER, rows, suffix="ON CONFLICT DO NOTHING")
    found = await find_users(session, sought, clock=clock, zone=zone)
    today = local_day(now, zone)
    seen = {
        (today, each.user_id)
        for each, claims in zip(found, sought, strict=True)
        if each is not None and claims.is_member
    }
    await insert_rows(
        session, MemberDay, ("day", "user_id"), sorted(seen), suffix="ON CONFLICT DO NOTHING"
    )
    return found


async def note_logins(
    session: AsyncSession, logins: Sequence[Login], *, clock: Clock, zone: ZoneInfo
) -> list[None]:
    """Set `last_login_at`, and write down that members were there today.

    Not worth waiting for: neither for a lock nor for the disk.
    """
    now = clock()
    noted: dict[str, Any] = {
        "now": now,
        "day": local_day(now, zone),
        "user_ids": [login.user_id for login in logins],
        "members": [login.user_id for login in logins if login.is_member],
    }
    await session.execute(text("SET LOCAL synchronous_commit = off"))
    await session.execute(_NOTE_LOGINS, noted)
    return [None] * len(logins)


def anonymous_name(subject: str) -> str:
    """What a user is called whom nobody named.

    Never the subject itself: many identity providers put an e-mail address there.
    """
    return f"member-{sha256(subject.encode()).hexdigest()[:8]}"


def _new_user(claims: Claims, timezone: str, now: datetime) -> tuple[Any, ...]:
    return (
        claims.subject,
        claims.name or anonymous_name(claims.subject),
        claims.name and issued_at(claims),
        claims.locale or DEFAULT_LOCALE,
        claims.timezone or timezone,
        now,
        now,
    )


async def users_by_id(session: AsyncSession, user_ids: Iterable[int]) -> dict[int, User]:
    """Those of `user_ids` that exist."""
    rows = await session.execute(select(*USER_COLUMNS).where(among(UserTable.id, user_ids)))
    return {row["id"]: user_from_row(row) for row in rows.mappings()}


def user_from_row(row: Mapping[Any, Any]) -> User:
    """Read a row of USER_COLUMNS."""
    return User(**dict[str, Any](row, interests=tuple(row["interests"])))
