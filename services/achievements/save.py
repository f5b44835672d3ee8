"""Creating and changing achievements (`domain.md`, Achievements)."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import func, insert, select, text, update
from sqlalchemy.ext.asyncio import AsyncSession

from models.achievements import (
    KEY_PATTERN,
    LOWEST_WEEKLY_RANK,
    Achievement,
    AchievementMeasure,
)
from services.achievements.browse import MemberAchievement, find_achievements
from services.achievements.catch_up import CATCH_UP_JOB
from services.bulk import Writes
from services.calendar import Clock
from services.errors import InvalidInput, NotFound
from services.input_rules import require_between, require_text, require_url
from services.operators import changes, note_action
from services.outbox import enqueue
from services.points.grant import MOST_POINTS_A_GRANT

LONGEST_NAME, LONGEST_DESCRIPTION = 200, 1_000
HIGHEST_TARGET = 2**31 - 1
"""The largest number that GraphQL's Int, and the column, can hold."""

_DECIDED = (
    "key",
    "name",
    "description",
    "badge_url",
    "measure",
    "target",
    "points_reward",
    "is_active",
)
# Versions are to be seen in their order: one save at a time. Nobody who reads waits.
_ONE_AT_A_TIME = text("LOCK TABLE achievements IN SHARE ROW EXCLUSIVE MODE")


class DefinitionInvalid(InvalidInput):
    """What an operator decides of an achievement breaks one of its rules."""


class KeyIsNoName(DefinitionInvalid):
    """Not 1 to 64 small letters, digits and underscores that begin with a letter."""


class KeyTaken(DefinitionInvalid):
    """Another achievement has this key."""


class DecidedForGood(DefinitionInvalid):
    """What cannot be changed of this achievement any more: its logs or its texts speak of it."""


@dataclass(frozen=True, slots=True)
class AchievementTerms:
    """All that an operator decides; texts are None where a built-in one keeps the catalogues'."""

    key: str
    name: str | None
    description: str | None
    badge_url: str | None
    measure: AchievementMeasure
    target: int
    points_reward: int
    is_active: bool


async def save_achievement(
    session: AsyncSession,
    operator_id: int,
    terms: AchievementTerms,
    *,
    achievement_id: int | None = None,
    clock: Clock,
) -> MemberAchievement:
    """Create an achievement, or change the one of that id; as the operator now sees it.

    Who has unlocked it keeps it, and what it granted. When it can be reached by more members than
    before, a job looks for those who are past it.

    Raises InvalidInput, naming the field, for terms that break a rule, and NotFound.
    """
    await session.execute(_ONE_AT_A_TIME)
    before = None if achievement_id is None else await _read(session, achievement_id)
    require_valid_terms(terms, is_built_in=before is not None and before["is_built_in"])
    await _require_free_key(session, terms.key, achievement_id)
    if before is not None:
        _require_unchanged(terms, before)
    values = _values(terms)
    is_wider = widens(before, values)
    now = clock()
    stamped = values | {"updated_at": now}
    if is_wider:
        stamped["version"] = await _next_version(session)
    saved_id = await _write(session, achievement_id, stamped)
    writes = Writes()
    details = changes(before, values)
    target = ("Achievement", saved_id)
    note_action(writes, operator_id, "save_achievement", target, details, now)
    if is_wider:
        enqueue(writes, CATCH_UP_JOB, [{}], now)
    await writes.flush(session)
    seen = await find_achievements(session, [(operator_id, saved_id)])
    return seen[operator_id, saved_id]


def require_valid_terms(terms: AchievementTerms, *, is_built_in: bool) -> None:
    """Raise InvalidInput, naming the field, for the first rule that is broken."""
    if not re.fullmatch(KEY_PATTERN, terms.key) or "\n" in terms.key:
        raise KeyIsNoName(("key",), "1 to 64 of a-z, 0-9 and _, beginning with a letter")
    texts = (
        ("name", terms.name, LONGEST_NAME),
        ("description", terms.description, LONGEST_DESCRIPTION),
    )
    for field, value, longest in texts:
        if value is not None or not is_built_in:
            require_text((field,), value, longest)
    if terms.badge_url is not None:
        require_url(("badgeUrl",), terms.badge_url)
    is_rank = terms.measure is AchievementMeasure.WEEKLY_RANK
    highest = LOWEST_WEEKLY_RANK if is_rank else HIGHEST_TARGET
    require_between(("target",), terms.target, 1, highest)
    require_between(("pointsReward",), terms.points_reward, 0, MOST_POINTS_A_GRANT)


def widens(before: Mapping[str, Any] | None, after: Mapping[str, Any]) -> bool:
    """Whether members may have reached what they had not, without having moved."""
    if not after["is_active"]:
        return False
    if before is None or not before["is_active"]:
        return True
    if after["measure"] == AchievementMeasure.WEEKLY_RANK:
        return after["target"] > before["target"]
    return after["target"] < before["target"]


def _require_unchanged(terms: AchievementTerms, before: Mapping[str, Any]) -> None:
    fixed = ("key", "measure", "target") if before["is_built_in"] else ("key", "measure")
    for name in fixed:
        if getattr(terms, name) != before[name]:
            raise DecidedForGood((name,), f"it is {before[name]} for good")


def _values(terms: AchievementTerms) -> dict[str, Any]:
    values = {name: getattr(terms, name) for name in _DECIDED}
    for name in ("name", "description"):
        values[name] = values[name] and values[name].strip()
    return values


async def _read(session: AsyncSession, achievement_id: int) -> dict[str, Any]:
    columns = [Achievement.__table__.c[name] for name in (*_DECIDED, "is_built_in")]
    statement = select(*columns).where(Achievement.id == achievement_id)
    row = (await session.execute(statement)).mappings().one_or_none()
    if row is None:
        raise NotFound("Achievement", str(achievement_id))
    return dict(row)


async def _require_free_key(session: AsyncSession, key: str, achievement_id: int | None) -> None:
    found = await session.execute(select(Achievement.id).where(Achievement.key == key))
    if found.scalar_one_or_none() not in (None, achievement_id):
        raise KeyTaken(("key",), "another achievement has this key")


async def _next_version(session: AsyncSession) -> int:
    newest = await session.execute(select(func.coalesce(func.max(Achievement.version), 0)))
    return newest.scalar_one() + 1


async def _write(session: AsyncSession, achievement_id: int | None, values: dict[str, Any]) -> int:
    statement: Any = insert(Achievement).values(values | {"created_at": values["updated_at"]})
    if achievement_id is not None:
        statement = update(Achievement).where(Achievement.id == achievement_id).values(values)
    return (await session.execute(statement.returning(Achievement.id))).scalar_one()
