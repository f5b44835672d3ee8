"""Whom a campaign is for, and finding them (`domain.md`, Notifications, Broadcast)."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from typing import Any, Self

from sqlalchemy import TextClause, text
from sqlalchemy.ext.asyncio import AsyncSession

from models.notifications import DevicePlatform
from services.errors import InvalidInput
from services.input_rules import require_between
from services.users.language_tags import read_language_tag

MOST_USER_IDS = 10_000
MOST_INACTIVE_DAYS = 3_650
MEMBERS_LOOKED_AT = 20_000
"""By one statement, which has to end in time however few of them fit."""

# Only what is asked for stands in the statement: with `:user_ids IS NULL OR id = ANY(:user_ids)`
# the one plan for all parameters would read every user and search the array for each.
_CONDITIONS = {
    "user_ids": "id = ANY(CAST(:user_ids AS bigint[]))",
    # `en` means `en-GB` too, but not `enm`.
    "locale": "(lower(locale) = :locale OR starts_with(lower(locale), :locale || '-'))",
    "inactive_since": "coalesce(last_login_at, created_at) <= :inactive_since",
    # LIMIT 1 makes it one look into an index each; as EXISTS, PostgreSQL may read all devices.
    "platform": """(
        SELECT true FROM devices
        WHERE user_id = users.id AND devices.platform = :platform LIMIT 1
    )""",
    # What has ended cannot be spent, though nobody has settled it yet.
    "min_points": """points >= :min_points AND points - (
        SELECT coalesce(sum(lot.points), 0) FROM points_records AS lot
        WHERE lot.user_id = users.id AND lot.status = 'active' AND lot.expires_at <= :now
    ) >= :min_points""",
}


@dataclass(frozen=True, slots=True)
class Audience:
    """Who is meant: all who fit every condition that is set; everybody when none is."""

    user_ids: tuple[int, ...] | None = None
    min_available_points: int | None = None
    inactive_days: int | None = None
    platform: DevicePlatform | None = None
    locale: str | None = None

    @property
    def stored(self) -> dict[str, Any]:
        """The conditions that are set, as JSON; the same for the same audience."""
        conditions = {
            "user_ids": self.user_ids and sorted(set(self.user_ids)),
            "min_available_points": self.min_available_points,
            "inactive_days": self.inactive_days,
            "platform": self.platform and self.platform.value,
            "locale": self.locale and read_language_tag(self.locale),
        }
        return {name: value for name, value in conditions.items() if value is not None}

    @classmethod
    def read(cls, stored: dict[str, Any]) -> Self:
        """The audience that was stored so."""
        user_ids, platform = stored.get("user_ids"), stored.get("platform")
        return cls(
            None if user_ids is None else tuple(user_ids),
            stored.get("min_available_points"),
            stored.get("inactive_days"),
            None if platform is None else DevicePlatform(platform),
            stored.get("locale"),
        )


@dataclass(frozen=True, slots=True)
class Fitting:
    """Some who fit, in order of their ids, and how far was looked; None: to the end."""

    user_ids: list[int]
    looked_to: int | None


def require_audience(audience: Audience) -> None:
    """Raise InvalidInput for conditions that are none."""
    user_ids, points, days = (
        audience.user_ids,
        audience.min_available_points,
        audience.inactive_days,
    )
    if user_ids is not None and not 1 <= len(user_ids) <= MOST_USER_IDS:
        raise InvalidInput(("audience", "userIds"), f"1 to {MOST_USER_IDS:,} ids")
    if points is not None and points < 0:
        raise InvalidInput(("audience", "minAvailablePoints"), "0 or more")
    if days is not None:
        require_between(("audience", "inactiveDays"), days, 1, MOST_INACTIVE_DAYS)
    if audience.locale is not None and read_language_tag(audience.locale) is None:
        raise InvalidInput(("audience", "locale"), "a language tag (BCP 47): en, zh-CN")


async def count_audience(session: AsyncSession, audience: Audience, now: datetime) -> int:
    """How many fit now."""
    conditions = _parameters(audience, now)
    statement = _statement("SELECT count(*) FROM users", tuple(conditions), "")
    return (await session.execute(statement, {**conditions, "now": now})).scalar_one()


async def fitting_after(
    session: AsyncSession,
    audience: Audience,
    after: int,
    now: datetime,
    *,
    most: int,
    looked_at: int = MEMBERS_LOOKED_AT,
) -> Fitting:
    """Up to `most` who fit now, of the `looked_at` next users after that id.

    Who is chosen by id needs no looking for.
    """
    end = None if audience.user_ids is not None else await _end_of_look(session, after, looked_at)
    conditions = _parameters(audience, now) | {"after": after}
    if end is not None:
        conditions["end"] = end
    statement = _statement("SELECT id FROM users", tuple(conditions), f"ORDER BY id LIMIT {most}")
    rows = await session.execute(statement, {**conditions, "now": now})
    user_ids = list(rows.scalars())
    return Fitting(user_ids, user_ids[-1] if len(user_ids) == most else end)


async def _end_of_look(session: AsyncSession, after: int, looked_at: int) -> int | None:
    """The last id to look at; None when fewer users than that follow."""
    end = f"ORDER BY id LIMIT 1 OFFSET {looked_at - 1}"
    statement = _statement("SELECT id FROM users", ("after",), end)
    return (await session.execute(statement, {"after": after})).scalar_one_or_none()


@cache
def _statement(beginning: str, conditions: tuple[str, ...], end: str) -> TextClause:
    """A statement with those conditions; limits are in its text, or the plan would not know."""
    known = {**_CONDITIONS, "after": "id > :after", "end": "id <= :end"}
    wanted = ("erased_at IS NULL", *(known[name] for name in conditions))
    return text(f"{beginning} WHERE {' AND '.join(wanted)} {end}")


def _parameters(audience: Audience, now: datetime) -> dict[str, Any]:
    """The values of the conditions that are set, by their names."""
    stored = audience.stored
    days, locale = stored.get("inactive_days"), stored.get("locale")
    conditions = {
        "user_ids": stored.get("user_ids"),
        "locale": locale and locale.lower(),
        "inactive_since": None if days is None else now - timedelta(days=days),
        "platform": stored.get("platform"),
        "min_points": stored.get("min_available_points"),
    }
    return {name: value for name, value in conditions.items() if value is not None}
