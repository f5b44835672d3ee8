"""The best of a week that has ended (`domain.md`, Leaderboard and Achievements)."""

from collections.abc import Mapping
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from models.achievements import LOWEST_WEEKLY_RANK
from services.achievements.unlock import UnlockedBy, may_unlock, unlock_all
from services.bulk import Writes
from services.calendar import Clock
from services.points.accounts import load_lots, lock_accounts, save_accounts

WEEKLY_TOP_JOB = "unlock_weekly_top"

# `least` passes over what is null: the first rank is the best so far. What it reaches is not known
# to be unlocked: who cannot have it now is looked at with the next movement.
_NOTE_RANKS = text(
    """
    UPDATE users
    SET best_weekly_rank = least(best_weekly_rank, ended.rank), achievements_version = 0
    FROM unnest(CAST(:user_ids AS bigint[]), CAST(:ranks AS smallint[])) AS ended(user_id, rank)
    WHERE users.id = ended.user_id AND (best_weekly_rank <= ended.rank) IS NOT TRUE
    """
)


def weekly_top_payload(ranks: Mapping[int, int]) -> dict[str, Any]:
    """What the job is to be asked for with: the final ranks of a week, by user id, 1 the first.

    Ranks below the hundredth achieve nothing and are left out.
    """
    return {"ranks": [[u, rank] for u, rank in ranks.items() if rank <= LOWEST_WEEKLY_RANK]}


async def unlock_weekly_top(
    session: AsyncSession, ranks: Mapping[int, int], *, clock: Clock, zone: ZoneInfo
) -> UnlockedBy:
    """Note the final ranks of a week, by user id, and unlock what they reach.

    At most the first hundred count. The same ranks again change nothing. Who is suspended keeps
    the rank, and gets what it reaches with the first movement afterwards.
    """
    counted = {u: rank for u, rank in ranks.items() if 1 <= rank <= LOWEST_WEEKLY_RANK}
    accounts = await lock_accounts(session, counted)
    now = clock()
    standing = {u: account for u, account in accounts.items() if not account.is_erased}
    await _note_ranks(session, {u: counted[u] for u in standing})
    for user_id, account in standing.items():
        best = account.best_weekly_rank
        account.best_weekly_rank = min(best or counted[user_id], counted[user_id])
    await load_lots(session, standing, {}, now)
    writes = Writes()
    free = [account for account in standing.values() if may_unlock(account, now)]
    unlocked = await unlock_all(session, writes, free, now, zone)
    save_accounts(writes, free, zone)
    await writes.flush(session)
    return unlocked


async def _note_ranks(session: AsyncSession, ranks: Mapping[int, int]) -> None:
    parameters = {"user_ids": list(ranks), "ranks": list(ranks.values())}
    await session.execute(_NOTE_RANKS, parameters)
