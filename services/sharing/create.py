"""Making a link (`domain.md`, Achievements and sharing)."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from models.catalogue import LimitPeriod
from models.sharing import ShareKind
from services.achievements.browse import find_achievements
from services.calendar import day_start, local_day
from services.catalogue.items import items_by_id
from services.errors import InvalidInput, LimitReached, NotFound, Unauthenticated
from services.identifiers import new_id
from services.sharing.links import new_code
from services.sharing.shares import SHARE_COLUMNS, Share, share_from_row

MOST_NEW_A_DAY = 50
"""New links of a member; asking for one again makes none."""

# As movements lock: links of one member are made one after another, and never after an erasure.
_HOLD_USER = text(
    "SELECT id FROM users WHERE id = :user_id AND erased_at IS NULL FOR NO KEY UPDATE"
)
_FIND = text(
    f"""
    SELECT {SHARE_COLUMNS} FROM shares
    WHERE user_id = :user_id AND kind = :kind
      AND target IS NOT DISTINCT FROM CAST(:target AS bigint)
    """
)
_COUNT_NEW = text(
    "SELECT count(*) FROM shares WHERE user_id = :user_id AND created_at >= :day_start"
)
_CREATE = text(
    f"""
    INSERT INTO shares (id, user_id, kind, target, code, created_at)
    VALUES (:id, :user_id, :kind, :target, :code, :now)
    ON CONFLICT (code) DO NOTHING
    RETURNING {SHARE_COLUMNS}
    """
)


class ShareCapReached(LimitReached):
    """As many new links as a member may make a day."""


class TargetInvalid(InvalidInput):
    """A target for a kind that has none, or none for one that needs it."""


@dataclass(frozen=True, slots=True)
class ShareRequest:
    """A link that a member wants; `target` is the key of what is shared, if the kind has one."""

    user_id: int
    kind: ShareKind
    target: int | None


async def create_share(
    session: AsyncSession,
    request: ShareRequest,
    now: datetime,
    zone: ZoneInfo,
    *,
    make_code: Callable[[], str] = new_code,
) -> Share:
    """The member's link for that kind and target: the one there is, or a new one.

    Raises TargetInvalid, NotFound for a target that is not there to be shared, ShareCapReached, and
    Unauthenticated for a user who was erased: their token may outlive them.
    """
    await _require_target(session, request)
    held = await session.execute(_HOLD_USER, {"user_id": request.user_id})
    if held.one_or_none() is None:
        raise Unauthenticated
    whose = {"user_id": request.user_id, "kind": request.kind, "target": request.target}
    row = (await session.execute(_FIND, whose)).one_or_none()
    if row is not None:
        return share_from_row(row)
    await _require_below_cap(session, request.user_id, local_day(now, zone), zone)
    while row is None:  # another code, should somebody have this one
        values = {**whose, "id": new_id(), "code": make_code(), "now": now}
        row = (await session.execute(_CREATE, values)).one_or_none()
    return share_from_row(row)


async def _require_below_cap(
    session: AsyncSession, user_id: int, today: date, zone: ZoneInfo
) -> None:
    parameters = {"user_id": user_id, "day_start": day_start(today, zone)}
    made = (await session.execute(_COUNT_NEW, parameters)).scalar_one()
    if made >= MOST_NEW_A_DAY:
        tomorrow = day_start(today + timedelta(days=1), zone)
        raise ShareCapReached(MOST_NEW_A_DAY, LimitPeriod.DAY, tomorrow)


async def _require_target(session: AsyncSession, request: ShareRequest) -> None:
    require = _TARGETS.get(request.kind)
    if (request.target is None) != (require is None):
        raise TargetInvalid(("targetId",), "an item and an achievement need one, others have none")
    if require is not None and request.target is not None:
        await require(session, request.user_id, request.target)


async def _require_item(session: AsyncSession, _user_id: int, target: int) -> None:
    item = (await items_by_id(session, [target])).get(target)
    if item is None or not item.is_active:
        raise NotFound("ExchangeItem", str(target))


async def _require_achievement(session: AsyncSession, user_id: int, target: int) -> None:
    """One that the member has unlocked."""
    whose = (user_id, target)
    seen = (await find_achievements(session, [whose])).get(whose)
    if seen is None or seen.unlocked_at is None:
        raise NotFound("Achievement", str(target))


_TARGETS: Mapping[ShareKind, Callable[[AsyncSession, int, int], Awaitable[None]]] = {
    ShareKind.ITEM: _require_item,
    ShareKind.ACHIEVEMENT: _require_achievement,
}
"""What raises NotFound for a target that the member cannot share; kinds that have one."""
