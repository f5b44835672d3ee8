"""Scores and ranks of a board in SQL: what stands in for Redis, and what is kept by day.

Ranking a million members takes a second or two (measured), so what is added up before stays added
up (`period_sums.py`), and each of these statements is given the memory to sort them all.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import TextClause, text
from sqlalchemy.ext.asyncio import AsyncSession

from services.leaderboard.boards import Board
from services.leaderboard.standings import Entry, Standing

# With the server's own 4 MB a million members are sorted on disk. Workers in parallel would group
# and sort every member twice: 3 s instead of 1.5 s, and both cores.
_GIVE_ROOM = text(
    """
    SELECT set_config('work_mem', '128MB', true),
           set_config('max_parallel_workers_per_gather', '0', true)
    """
)
ALL_TIME_SCORES = """
    SELECT id AS user_id, ranked_points AS points, ranked_at AS reached_at
    FROM users WHERE ranked_points > 0 AND erased_at IS NULL
"""
PERIOD_SCORES = """
    SELECT user_id, CAST(sum(points) AS bigint) AS points, max(last_at) AS reached_at
    FROM (
        SELECT user_id, points, last_at FROM period_earnings
        WHERE period = :period AND EXISTS (SELECT FROM kept)
        UNION ALL
        SELECT user_id, points, last_at FROM daily_earnings
        WHERE day >= coalesce((SELECT until FROM kept), CAST(:first AS date))
          AND day < CAST(:end AS date)
    ) earned
    WHERE NOT EXISTS (SELECT FROM users WHERE id = earned.user_id AND erased_at IS NOT NULL)
    GROUP BY user_id HAVING sum(points) > 0
"""
"""Of the days from `first` up to, not including, `end`: of those that are added up the sums."""
KEPT = """
    kept AS MATERIALIZED (
        SELECT until FROM period_earnings_kept
        WHERE period = :period AND zone = :zone AND first = CAST(:first AS date)
          AND until <= CAST(:end AS date)
    )
"""
RANKED = """
    SELECT user_id, points, row_number() OVER (ORDER BY points DESC, reached_at, user_id) AS rank
    FROM scores
"""
"""The order of `services.leaderboard.boards.standing_order`."""


def _lines(scores: str) -> TextClause:
    """The first lines, and those around the users who are asked for.

    Of an array the planner expects ten members, however many it gets: so that it makes a hash of
    what is asked for and goes over the board once, never a hash of the board.
    """
    return text(
        f"""
        WITH {scores}, board AS MATERIALIZED ({RANKED}), wanted AS (
            SELECT unnest(ARRAY(
                SELECT generate_series(1, CAST(:top AS bigint))
                UNION
                SELECT generate_series(rank - CAST(:window AS bigint), rank + :window)
                FROM board JOIN unnest(CAST(:user_ids AS bigint[])) AS asked(user_id)
                    USING (user_id)
            )) AS rank
        )
        SELECT rank, user_id, points, (SELECT count(*) FROM board) AS total
        FROM board JOIN wanted USING (rank)
        """
    )


_PERIOD_LINES = _lines(f"{KEPT}, scores AS ({PERIOD_SCORES})")
_ALL_TIME_LINES = _lines(f"scores AS ({ALL_TIME_SCORES})")


@dataclass(frozen=True, slots=True)
class Lines:
    """Parts of a board: its first lines, and those around some users."""

    total: int
    by_rank: Mapping[int, Entry]
    rank_of: Mapping[int, int]

    @classmethod
    def of(cls, rows: Iterable[Any]) -> "Lines":
        """From rows of rank, user, points, and how many are ranked."""
        found = list(rows)
        by_rank = {row[0]: Entry(row[0], row[1], row[2]) for row in found}
        rank_of = {entry.user_id: rank for rank, entry in by_rank.items()}
        return cls(found[0][3] if found else 0, by_rank, rank_of)

    def between(self, first: int, last: int) -> tuple[Entry, ...]:
        """The lines from one rank to another, as far as the board goes."""
        return tuple(self.by_rank[n] for n in range(first, last + 1) if n in self.by_rank)

    def standing(self, user_id: int) -> Standing | None:
        """A user's place; None for who is not ranked."""
        rank = self.rank_of.get(user_id)
        if rank is None:
            return None
        above = self.by_rank.get(rank - 1)
        return Standing(rank, self.by_rank[rank].points, above and above.points)


async def give_room(session: AsyncSession) -> None:
    """Let the statements of this transaction rank everybody in memory, on one core."""
    await session.execute(_GIVE_ROOM)


async def rank_by_sql(
    session: AsyncSession,
    board: Board,
    zone: str,
    *,
    top: int,
    user_ids: Collection[int],
    window: int,
) -> Lines:
    """The first `top` lines of a board, and `window` lines to either side of each of the users.

    `zone` is the name of the mall's.
    """
    await give_room(session)
    asked: dict[str, Any] = {"top": top, "user_ids": list(user_ids), "window": window}
    if board.first is None:
        return Lines.of(await session.execute(_ALL_TIME_LINES, asked))
    asked |= {"period": board.period, "zone": zone, "first": board.first, "end": board.end}
    return Lines.of(await session.execute(_PERIOD_LINES, asked))
