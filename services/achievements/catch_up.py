"""Unlocking what members had reached before there was such an achievement, or one so near.

A walk over all members, page by page in the order of their ids: each page is one transaction,
together with asking for the next. Whoever moves meanwhile is held against the definitions anyway
(`unlock.py`), so a walk that meets the same members twice, or another walk, does nothing twice.
"""

from dataclasses import dataclass
from zoneinfo import ZoneInfo

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from services.achievements.measures import COUNTED, COUNTED_TO
from services.achievements.unlock import may_unlock, unlock_all
from services.bulk import Writes
from services.calendar import Clock
from services.outbox import enqueue
from services.points.accounts import load_lots, lock_accounts, save_accounts

CATCH_UP_JOB = "unlock_reached"
MEMBERS_A_PAGE = 500

# Read without locks, so only a guess whom it is worth to lock.
_PAGE = text(
    f"""
    SELECT users.id,
           EXISTS (
               SELECT FROM achievements
               WHERE is_active AND {COUNTED} >= {COUNTED_TO} AND NOT EXISTS (
                   SELECT FROM user_achievements held
                   WHERE held.user_id = users.id AND held.achievement_id = achievements.id
               )
           ) AS is_behind
    FROM (SELECT * FROM users WHERE id > :after ORDER BY id LIMIT :limit) AS users
    ORDER BY users.id
    """
)


@dataclass(frozen=True, slots=True)
class CaughtUp:
    """How many members a page had, and how many achievements they unlocked."""

    members: int
    unlocked: int


async def catch_up(
    session: AsyncSession, after: int, *, clock: Clock, zone: ZoneInfo, limit: int = MEMBERS_A_PAGE
) -> CaughtUp:
    """Unlock what up to `limit` members with ids above `after` have reached; ask for the next page.

    Suspended members are passed over: their next movement afterwards looks again.
    """
    page = (await session.execute(_PAGE, {"after": after, "limit": limit})).all()
    accounts = await lock_accounts(session, (row.id for row in page if row.is_behind))
    now = clock()
    behind = {user_id: a for user_id, a in accounts.items() if may_unlock(a, now)}
    writes = Writes()
    if behind:
        await load_lots(session, behind, {}, now)
        unlocked = await unlock_all(
            session, writes, list(behind.values()), now, zone, is_long_ago=True
        )
        save_accounts(writes, behind.values(), zone)
    else:
        unlocked = {}
    if len(page) == limit:
        enqueue(writes, CATCH_UP_JOB, [{"after": page[-1].id}], now)
    await writes.flush(session)
    return CaughtUp(len(page), sum(map(len, unlocked.values())))
