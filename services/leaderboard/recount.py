"""Counting anew, from the books, what boards and achievements count beside every movement.

Whatever is kept beside the books is written by the movement that changes it. A process of an
earlier version does not know all of that and goes on without; after it, this puts the counts
right. Members are taken page by page in the order of their ids, each page in one transaction under
their locks, so it may run beside everything else, stop anywhere, and run again.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from services.achievements.unlock import may_unlock, unlock_all
from services.bulk import Writes
from services.calendar import Clock
from services.leaderboard.earnings import RANKED_CHANGES, ask_for_refresh
from services.leaderboard.period_sums import forget_sums, lock_sums
from services.points.account import Account
from services.points.accounts import load_lots, lock_accounts, save_accounts

MEMBERS_A_PAGE = 100
"""Members whom one transaction holds up: with 25 movements each some 30 ms, and 80 where all were
kept otherwise. Whoever moves one of them waits, and is refused after a second
(`MALL_DATABASE_LOCK_TIMEOUT_S`): nothing that may take long is waited for while they are held."""

_THEIRS = "user_id = ANY(CAST(:user_ids AS bigint[]))"
_PAGE = text("SELECT id FROM users WHERE id > :after ORDER BY id LIMIT :limit")

# What was taken back and has no row: as migration 0021 did it for all that was taken back before.
_ADD_REVERSALS = text(
    f"""
    INSERT INTO points_reversals (id, user_id, source, reference, points, withheld_points,
                                  lapsed_points, owed_points, created_at)
    SELECT uuidv7(), user_id, source, reference, points, withheld, least(lapsed, missing),
           missing - least(lapsed, missing), at
    FROM (
        SELECT granted.user_id, granted.source, granted.reference,
               reversed_points - known.points AS points,
               withheld_points - known.withheld AS withheld,
               lapsed_points - known.lapsed AS lapsed,
               reversed_points - known.points - (withheld_points - known.withheld)
                   - (coalesce(log.points, 0) - known.taken) AS missing,
               coalesce(log.taken_at, log.earned_at, lot.created_at) AS at
        FROM points_grants granted
        JOIN points_records lot ON lot.id = granted.points_record_id
        CROSS JOIN LATERAL (
            SELECT coalesce(sum(points), 0)::bigint AS points,
                   coalesce(sum(withheld_points), 0)::bigint AS withheld,
                   coalesce(sum(lapsed_points), 0)::bigint AS lapsed,
                   coalesce(sum(points - withheld_points - lapsed_points - owed_points),
                            0)::bigint AS taken
            FROM points_reversals done
            WHERE (done.source, done.reference) = (granted.source, granted.reference)
        ) known
        CROSS JOIN LATERAL (
            SELECT -sum(amount) FILTER (WHERE action = 'reverse')::bigint AS points,
                   max(log.created_at) FILTER (WHERE action = 'reverse') AS taken_at,
                   max(log.created_at) FILTER (WHERE action = 'earn') AS earned_at
            FROM points_audit_log log
            WHERE log.user_id = granted.user_id
              AND (log.source, log.reference) = (granted.source, granted.reference)
        ) log
        WHERE granted.{_THEIRS} AND reversed_points > 0 AND reversed_points > known.points
    ) unknown
    RETURNING user_id
    """
)
_CORRECT_DAYS = text(
    f"""
    WITH counted AS (
        SELECT user_id, CAST(created_at AT TIME ZONE :zone AS date) AS day,
               CAST(sum(points) AS bigint) AS points, max(created_at) AS last_at
        FROM ({RANKED_CHANGES}) changes WHERE {_THEIRS} GROUP BY 1, 2
    ), corrected AS (
        INSERT INTO daily_earnings (user_id, day, points, last_at)
        SELECT user_id, day, counted.points, counted.last_at
        FROM counted LEFT JOIN daily_earnings kept USING (user_id, day)
        WHERE (kept.points, kept.last_at) IS DISTINCT FROM (counted.points, counted.last_at)
        ON CONFLICT (user_id, day) DO UPDATE SET points = excluded.points,
                                                 last_at = excluded.last_at
        RETURNING user_id
    ), dropped AS (
        DELETE FROM daily_earnings kept
        WHERE {_THEIRS} AND NOT EXISTS (
            SELECT FROM counted
            WHERE (counted.user_id, counted.day) = (kept.user_id, kept.day))
        RETURNING user_id
    )
    SELECT user_id FROM corrected UNION SELECT user_id FROM dropped
    """
)
_COUNT = text(
    f"""
    SELECT users.id AS user_id, coalesce(changes.points, 0)::bigint AS ranked_points,
           changes.last_at AS ranked_at, coalesce(made.number, 0) AS exchanges_made,
           coalesce(done.number, 0) AS tasks_completed, coalesce(days.streak, 0) AS best_streak
    FROM users
    LEFT JOIN (SELECT user_id, sum(points) AS points, max(created_at) AS last_at
               FROM ({RANKED_CHANGES}) changes WHERE {_THEIRS} GROUP BY user_id) changes
        ON changes.user_id = users.id
    LEFT JOIN (SELECT user_id, count(*) AS number FROM exchanges
               WHERE {_THEIRS} AND status <> 'cancelled' GROUP BY user_id) made
        ON made.user_id = users.id
    LEFT JOIN (SELECT user_id, count(*) AS number FROM user_tasks
               WHERE {_THEIRS} AND completed_at IS NOT NULL GROUP BY user_id) done
        ON done.user_id = users.id
    LEFT JOIN (SELECT user_id, max(streak) AS streak FROM check_ins
               WHERE {_THEIRS} GROUP BY user_id) days
        ON days.user_id = users.id
    WHERE users.id = ANY(CAST(:user_ids AS bigint[]))
    """
)


@dataclass(frozen=True, slots=True)
class Recounted:
    """A page: up to whom by id, how many members, and of how many what was kept was wrong.

    `ranked`: what they have on boards; `counted`: what achievements measure beside that.
    """

    last_id: int
    members: int
    ranked: int
    counted: int


async def recount_page(
    session: AsyncSession, after: int, *, clock: Clock, zone: ZoneInfo, limit: int = MEMBERS_A_PAGE
) -> Recounted | None:
    """Put right what is kept of up to `limit` members with ids above `after`; None without any.

    Days are told apart by `zone`, whatever they were told apart by when they were written. Whoever
    turns out to have reached an achievement unlocks it, as in `services.achievements.catch_up`.
    Raises Contended while somebody else holds a member, or adds up days.
    """
    page = await session.execute(_PAGE, {"after": after, "limit": limit})
    user_ids = page.scalars().all()
    if not user_ids:
        return None
    await lock_sums(session)
    accounts = await lock_accounts(session, user_ids)
    now = clock()  # after waiting, or it might be before what a member did last
    theirs = {"user_ids": user_ids}
    moved = set((await session.execute(_ADD_REVERSALS, theirs)).scalars())
    corrected = set((await session.execute(_CORRECT_DAYS, {**theirs, "zone": zone.key})).scalars())
    if corrected:
        await forget_sums(session)
    moved |= corrected
    counts = {row.user_id: row for row in await session.execute(_COUNT, theirs)}
    ranked = {user_id for user_id, a in accounts.items() if _rank_anew(a, counts[user_id])} | moved
    counted = {user_id for user_id, a in accounts.items() if _count_anew(a, counts[user_id])}
    for user_id in ranked:
        accounts[user_id].ranking_changes += 1
    for user_id in ranked | counted:
        accounts[user_id].counts_otherwise = True
    await _save(session, accounts, sorted(ranked), now, zone)
    return Recounted(user_ids[-1], len(user_ids), len(ranked), len(counted))


def _rank_anew(account: Account, books: Any) -> bool:
    """Whether something else was kept than the books say."""
    kept = account.ranked_points, account.ranked_at
    account.ranked_points, account.ranked_at = books.ranked_points, books.ranked_at
    return kept != (account.ranked_points, account.ranked_at)


def _count_anew(account: Account, books: Any) -> bool:
    """Whether something else was kept than the tables say."""
    kept = account.exchanges_made, account.tasks_completed, account.best_streak
    account.exchanges_made = books.exchanges_made
    account.tasks_completed = books.tasks_completed
    account.best_streak = books.best_streak
    return kept != (account.exchanges_made, account.tasks_completed, account.best_streak)


async def _save(
    session: AsyncSession,
    accounts: Mapping[int, Account],
    ranked: Sequence[int],
    now: datetime,
    zone: ZoneInfo,
) -> None:
    """Write those that changed, with what they unlock; the boards follow the commit."""
    writes = Writes()
    behind = {
        user_id: account
        for user_id, account in accounts.items()
        if account.is_changed and account.is_at_milestone and may_unlock(account, now)
    }
    if behind:
        await load_lots(session, behind, {}, now)
        await unlock_all(session, writes, list(behind.values()), now, zone, is_long_ago=True)
    save_accounts(writes, accounts.values(), zone)
    ask_for_refresh(writes, ranked, now)
    await writes.flush(session)
