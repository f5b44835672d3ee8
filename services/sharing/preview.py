"""What a link shows to whoever follows it: in their language, and nothing that is private."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from models.sharing import ShareKind
from services.achievements.words import name_of
from services.identifiers import global_id
from services.messages import message
from services.sharing.links import read_code
from services.sharing.reward import INVITED_POINTS
from services.sharing.shares import SHARE_COLUMNS, Share, share_from_row

# Who was erased has no links any more, and neither has the public anything of theirs to see.
_FIND = text(
    f"""
    SELECT {SHARE_COLUMNS}, username, suspended_until, item.name AS item_name,
           item.points AS item_points, item.image_url AS item_image_url,
           achievement.key, achievement.name AS achievement_name, achievement.badge_url
    FROM shares
    JOIN users ON users.id = shares.user_id AND erased_at IS NULL
    LEFT JOIN exchange_items item
        ON item.id = CASE WHEN kind = 'item' THEN shares.target END AND item.is_active
    LEFT JOIN achievements achievement
        ON achievement.id = CASE WHEN kind = 'achievement' THEN shares.target END
    WHERE code = :code
    """
)


@dataclass(frozen=True, slots=True)
class SharedItem:
    """What the public may see of an item anyway; None for one that is off."""

    name: str
    points: int
    image_url: str | None


@dataclass(frozen=True, slots=True)
class SharedAchievement:
    """What the sharer has unlocked; `name` is the operator's, None for one that is built in."""

    key: str
    name: str | None
    badge_url: str | None


@dataclass(frozen=True, slots=True)
class Shared:
    """A link, who shared it under the name that boards show, and what it is about."""

    share: Share
    sharer: str
    item: SharedItem | None
    achievement: SharedAchievement | None
    is_open: bool
    """Whether an invite can be accepted: not while the one who invites is suspended."""

    @property
    def target_id(self) -> str:
        """The global id of what is shared; empty for kinds that have none."""
        kind = _TARGET_TYPES.get(self.share.kind)
        return "" if kind is None else global_id(kind, self.share.target)


@dataclass(frozen=True, slots=True)
class Preview:
    """What a preview of a link says, and the address of the picture beside it."""

    title: str
    description: str
    image_url: str | None = None


_TARGET_TYPES = {ShareKind.ITEM: "ExchangeItem", ShareKind.ACHIEVEMENT: "Achievement"}


async def find_shared(session: AsyncSession, written_code: str, now: datetime) -> Shared | None:
    """What a code stands for, in one statement; None for one that stands for nothing (any more)."""
    code = read_code(written_code)
    row = code and (await session.execute(_FIND, {"code": code})).one_or_none()
    if not row:
        return None
    item = None
    if row.item_name is not None:
        item = SharedItem(row.item_name, row.item_points, row.item_image_url)
    is_open = row.suspended_until is None or row.suspended_until <= now
    achievement = None
    if row.key is not None:
        achievement = SharedAchievement(row.key, row.achievement_name, row.badge_url)
    return Shared(share_from_row(row), row.username, item, achievement, is_open)


def preview_of(shared: Shared, locale: str, rank: int | None = None) -> Preview:
    """What a link says in that language; `rank`: where the sharer stands, if that is known."""
    name = shared.sharer
    match shared.share.kind:
        case ShareKind.ITEM if shared.item is not None:
            return _item_preview(shared.item, locale)
        case ShareKind.ACHIEVEMENT if shared.achievement is not None:
            return _achievement_preview(name, shared.achievement, locale)
        case ShareKind.RANK:
            return _rank_preview(name, rank, locale)
        case ShareKind.INVITE if shared.is_open:
            return _invite_preview(name, locale)
        case _:
            title = message(locale, "The points mall")
            return Preview(title, message(locale, "Earn points and exchange them for rewards."))


def _item_preview(item: SharedItem, locale: str) -> Preview:
    description = message(locale, "Get it for {points} points.", points=item.points)
    return Preview(item.name, description, _picture(item.image_url))


def _achievement_preview(name: str, unlocked: SharedAchievement, locale: str) -> Preview:
    what = name_of(unlocked.key, unlocked.name, locale)
    title = message(locale, "{name} has unlocked “{achievement}”", name=name, achievement=what)
    description = message(locale, "Collect points and achievements of your own.")
    return Preview(title, description, _picture(unlocked.badge_url))


def _picture(url: str | None) -> str | None:
    """The address, if whoever shows the preview can fetch it."""
    return url if url is not None and url.startswith(("https://", "http://")) else None


def _invite_preview(name: str, locale: str) -> Preview:
    title = message(locale, "{name} invites you to the points mall", name=name)
    description = message(
        locale, "Join, complete your first task and get {points} points.", points=INVITED_POINTS
    )
    return Preview(title, description)


def _rank_preview(name: str, rank: int | None, locale: str) -> Preview:
    title = message(locale, "{name} is climbing the leaderboard", name=name)
    if rank is not None:
        title = message(locale, "{name} is number {rank} of the leaderboard", name=name, rank=rank)
    return Preview(title, message(locale, "Earn points and see how far you get."))
