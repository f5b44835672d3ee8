"""What members say about themselves: read strictly, and all of it changes or none."""

from collections.abc import Callable
from datetime import date, datetime
from functools import partial
from typing import Any, TypedDict
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

from sqlalchemy import Boolean, literal_column, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from models.users import EARLIEST_BIRTH_YEAR, MOST_INTERESTS, Gender
from models.users import User as UserTable
from services.announcements import Announcement, announce
from services.calendar import TIME_ZONES, local_day
from services.errors import InvalidInput, Unauthenticated
from services.users.claims import storable
from services.users.language_tags import read_language_tag
from services.users.profile import (
    LONGEST_INTEREST,
    USER_COLUMNS,
    User,
    user_from_row,
)

LONGEST_URL = 2_000
YOUNGEST_YEARS = 5

# The row as it was when it was locked; SQLAlchemy has no word for PostgreSQL 18's yet. Everybody's
# boards are read anew for another picture, so not for one that an app sends with every change.
_HAS_ANOTHER_PICTURE = literal_column(
    "old.avatar_url IS DISTINCT FROM new.avatar_url", Boolean
).label("has_another_picture")


class ProfileInvalid(InvalidInput):
    """A field of the profile breaks its rule: one class for each rule."""


class AvatarInvalid(ProfileInvalid):
    """Not the address of a picture on the web, or longer than 2,000 characters."""


class LocaleInvalid(ProfileInvalid):
    """Not a language tag, or none at all."""


class TimezoneInvalid(ProfileInvalid):
    """Not the name of a time zone, or none at all."""


class InterestsInvalid(ProfileInvalid):
    """More than 50, or one that is empty or has more than 50 characters."""


class BirthYearInvalid(ProfileInvalid):
    """Before 1900, or after `latest`."""

    def __init__(self, latest: int) -> None:
        super().__init__(("birthYear",), f"{EARLIEST_BIRTH_YEAR} to {latest}")
        self.latest = latest


class ProfileChanges(TypedDict, total=False):
    """What a member wants changed: a field that is absent stays, None clears it."""

    avatar_url: str | None
    locale: str | None
    timezone: str | None
    gender: Gender | None
    birth_year: int | None
    interests: list[str] | None


async def update_profile(
    session: AsyncSession, user_id: int, asked: ProfileChanges, now: datetime, zone: ZoneInfo
) -> User:
    """Change a member's profile. Raises ProfileInvalid, and then nothing has changed.

    Raises Unauthenticated for a user who is gone or erased: their token may outlive them.
    """
    columns = read_changes(asked, local_day(now, zone))
    is_present = (UserTable.id == user_id) & UserTable.erased_at.is_(None)
    if columns:
        change = update(UserTable).where(is_present).values(columns)
        change = change.returning(*USER_COLUMNS, _HAS_ANOTHER_PICTURE)
        row = (await session.execute(change)).mappings().one_or_none()
    else:
        unchanged = select(*USER_COLUMNS).where(is_present)
        row = (await session.execute(unchanged)).mappings().one_or_none()
    if row is None:
        raise Unauthenticated
    user = dict(row)
    if user.pop(_HAS_ANOTHER_PICTURE.name, False):
        announce(session, Announcement(profiles=True))
    return user_from_row(user)


def read_changes(asked: ProfileChanges, today: date) -> dict[str, Any]:
    """What to write into which column; raises ProfileInvalid for the first value that is wrong."""
    read: dict[str, Callable[[Any], Any]] = {
        "avatar_url": _read_avatar,
        "locale": _read_locale,
        "timezone": _read_timezone,
        "gender": lambda gender: gender,
        "birth_year": partial(_read_birth_year, latest=today.year - YOUNGEST_YEARS),
        "interests": _read_interests,
    }
    return {name: read[name](value) for name, value in asked.items()}


def _read_avatar(url: str | None) -> str | None:
    if url is not None and not (len(url) <= LONGEST_URL and _is_web_address(url)):
        raise AvatarInvalid(("avatarUrl",), f"http(s), at most {LONGEST_URL} characters")
    return url


def _is_web_address(url: str) -> bool:
    # urlsplit drops line breaks and tabs without a word, and looks at the port only when asked.
    if not url.isprintable() or " " in url:
        return False
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def _read_locale(locale: str | None) -> str:
    tag = read_language_tag(locale or "")
    if tag is None:
        raise LocaleInvalid(("locale",), "a BCP 47 language tag")
    return tag


def _read_timezone(name: str | None) -> str:
    if name is None or name not in TIME_ZONES:
        raise TimezoneInvalid(("timezone",), "the IANA name of a time zone")
    return name


def _read_birth_year(year: int | None, *, latest: int) -> int | None:
    if year is not None and not EARLIEST_BIRTH_YEAR <= year <= latest:
        raise BirthYearInvalid(latest)
    return year


def _read_interests(interests: list[str] | None) -> list[str]:
    """In their order, each once; none when the field is cleared."""
    distinct = list(dict.fromkeys(interest.strip() for interest in interests or ()))
    if len(distinct) > MOST_INTERESTS or not all(map(_is_interest, distinct)):
        problem = f"at most {MOST_INTERESTS} of 1 to {LONGEST_INTEREST} characters"
        raise InterestsInvalid(("interests",), problem)
    return distinct


def _is_interest(text: str) -> bool:
    return 1 <= len(text) <= LONGEST_INTEREST and storable(text) == text
