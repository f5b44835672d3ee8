"""The ranks a member had, day by day (`snapshot.py` keeps them)."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from models.leaderboard import LeaderboardPeriod

_RANKS = text(
    """
    SELECT asked.number, history.day, history.rank, history.points
    FROM unnest(CAST(:user_ids AS bigint[]), CAST(:periods AS text[]), CAST(:firsts AS date[]),
                CAST(:ends AS date[])) WITH ORDINALITY
             AS asked(user_id, period, first, end_, number)
    JOIN rank_history history
        ON history.user_id = asked.user_id AND history.period = asked.period
       AND history.day >= asked.first AND history.day < asked.end_
    ORDER BY history.day
    """
)


@dataclass(frozen=True, slots=True)
class HistoryAsked:
    """Whose ranks on which board, on the days from `first` up to, not including, `end`."""

    user_id: int
    period: LeaderboardPeriod
    first: date
    end: date


@dataclass(frozen=True, slots=True)
class DayRank:
    """A place on a board when a day of the mall ended."""

    day: date
    rank: int
    points: int


async def ranks_on_days(
    session: AsyncSession, asked: Sequence[HistoryAsked]
) -> dict[HistoryAsked, list[DayRank]]:
    """What is kept for each, oldest first; a day without a rank has no entry."""
    found: dict[HistoryAsked, list[DayRank]] = {each: [] for each in asked}
    parameters = {
        "user_ids": [each.user_id for each in asked],
        "periods": [each.period for each in asked],
        "firsts": [each.first for each in asked],
        "ends": [each.end for each in asked],
    }
    for number, *day_rank in await session.execute(_RANKS, parameters):
        found[asked[number - 1]].append(DayRank(*day_rank))
    return found
