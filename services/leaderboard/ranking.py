"""The same answers from PostgreSQL, for as long as Redis has no boards.

Ranking everyone costs far more than looking at a sorted set, so whoever asks at once is answered
by one statement: while it runs the next questions gather, and an answer is good for a second.
"""

import asyncio
import time
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import structlog
from sqlalchemy import TextClause, text
from sqlalchemy.ext.asyncio import AsyncSession

from models.stores import Sessions
from services.leaderboard.boards import Board
from services.leaderboard.standings import Entry, Standing
from services.transaction import reading

GOOD_FOR_S = 1.0
FAILED_FOR_S = 3.0
"""For so long nobody tries again: a statement that is too slow would follow the other."""
MOST_LINES = 100

_log = structlog.get_logger(__name__)

ALL_TIME_SCORES = """
    SELECT id AS user_id, ranked_points AS points, ranked_at AS reached_at
    FROM users WHERE ranked_points > 0 AND erased_at IS NULL
"""
PERIOD_SCORES = """
    SELECT user_id, CAST(sum(daily_earnings.points) AS bigint) AS points,
           max(last_at) AS reached_at
    FROM daily_earnings JOIN users ON users.id = user_id AND erased_at IS NULL
    WHERE day >= CAST(:first AS date) AND day < CAST(:end AS date)
    GROUP BY user_id HAVING sum(daily_earnings.points) > 0
"""
RANKED = """
    SELECT user_id, points, row_number() OVER (ORDER BY points DESC, reached_at, user_id) AS rank
    FROM scores
"""
"""The order of `services.leaderboard.boards.standing_order`."""


def _lines(scores: str) -> TextClause:
    """The first lines, and those around the users who are asked for."""
    return text(
        f"""
        WITH scores AS ({scores}), board AS MATERIALIZED ({RANKED}), wanted AS (
            SELECT generate_series(1, CAST(:top AS bigint)) AS rank
            UNION
            SELECT generate_series(rank - CAST(:window AS bigint), rank + :window)
            FROM board WHERE user_id = ANY(CAST(:user_ids AS bigint[]))
        )
        SELECT rank, user_id, points, (SELECT count(*) FROM board) AS total
        FROM board JOIN wanted USING (rank)
        """
    )


_PERIOD_LINES, _ALL_TIME_LINES = _lines(PERIOD_SCORES), _lines(ALL_TIME_SCORES)


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


async def rank_by_sql(
    session: AsyncSession, board: Board, *, top: int, user_ids: Collection[int], window: int
) -> Lines:
    """The first `top` lines of a board, and `window` lines to either side of each of the users."""
    asked: dict[str, Any] = {"top": top, "user_ids": list(user_ids), "window": window}
    if board.first is None:
        return Lines.of(await session.execute(_ALL_TIME_LINES, asked))
    asked |= {"first": board.first, "end": board.end}
    return Lines.of(await session.execute(_PERIOD_LINES, asked))


@dataclass(slots=True)
class _Question:
    """What is asked of one board by all who ask at once."""

    user_ids: set[int] = field(default_factory=set[int])
    window: int = 1
    answer: asyncio.Future[Lines] = field(default_factory=asyncio.Future[Lines])

    def covers(self, user_ids: Collection[int], window: int) -> bool:
        return window <= self.window and self.user_ids.issuperset(user_ids)


class Ranking:
    """Answers of a process, each board's by one statement at a time."""

    def __init__(self, read: Sessions) -> None:
        """`read` opens a session for one statement."""
        self._read = read
        self._redis_away_until_s = 0.0
        self._asked: dict[Board, _Question] = {}
        self._known: dict[Board, tuple[float, _Question]] = {}
        self._failed: dict[Board, tuple[float, Exception]] = {}
        self._runners: dict[Board, asyncio.Task[None]] = {}

    @property
    def is_redis_away(self) -> bool:
        """Whether Redis did not answer just now: not everybody has to wait for it in vain."""
        return time.monotonic() < self._redis_away_until_s

    def leave_redis_alone(self, error: Exception) -> None:
        """Ask Redis nothing for a second."""
        _log.warning("boards_from_postgresql", error=str(error))
        self._redis_away_until_s = time.monotonic() + GOOD_FOR_S

    async def lines(self, board: Board, user_ids: Collection[int] = (), window: int = 1) -> Lines:
        """The first 100 lines of a board, and those around the users; up to a second old.

        Raises ServiceUnavailable when PostgreSQL is away as well, or was a moment ago.
        """
        known_at_s, known = self._known.get(board, (0.0, None))
        if known and known.covers(user_ids, window) and time.monotonic() < known_at_s + GOOD_FOR_S:
            return known.answer.result()
        question = self._asked.setdefault(board, _Question())
        question.user_ids.update(user_ids)
        question.window = max(question.window, window)
        if board not in self._runners:
            self._runners[board] = asyncio.create_task(self._run(board))
        return await asyncio.shield(question.answer)

    async def _run(self, board: Board) -> None:
        try:
            while (question := self._asked.pop(board, None)) is not None:
                await self._answer(board, question)
        finally:
            del self._runners[board]

    async def _answer(self, board: Board, question: _Question) -> None:
        started_at_s = time.monotonic()  # what commits while it runs may be missing in the answer
        try:
            self._raise_if_failed(board)
            lines = await self._ask(board, question)
        except Exception as error:  # noqa: BLE001 — it belongs to whoever asked, not to the loop
            self._failed.setdefault(board, (time.monotonic() + FAILED_FOR_S, error))
            question.answer.set_exception(error)
            question.answer.exception()  # whoever asked may have gone
        else:
            question.answer.set_result(lines)
            self._known = {key: held for key, held in self._known.items() if self._is_good(held)}
            self._known[board] = (started_at_s, question)

    def _raise_if_failed(self, board: Board) -> None:
        now_s = time.monotonic()
        self._failed = {key: held for key, held in self._failed.items() if now_s < held[0]}
        if board in self._failed:
            raise self._failed[board][1].with_traceback(None)

    async def _ask(self, board: Board, question: _Question) -> Lines:
        async with reading(self._read) as session:
            return await rank_by_sql(
                session,
                board,
                top=MOST_LINES,
                user_ids=question.user_ids,
                window=question.window,
            )

    @staticmethod
    def _is_good(held: tuple[float, _Question]) -> bool:
        return time.monotonic() < held[0] + GOOD_FOR_S
