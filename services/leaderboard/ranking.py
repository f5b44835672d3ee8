"""The same answers from PostgreSQL, for as long as Redis has no boards.

Ranking everyone costs far more than looking at a sorted set. So a process has one statement under
way, for whatever board, on a connection that no movement and no ordinary read waits for; meanwhile
the next questions gather, and an answer is good for as long as it took. Whoever would wait too long
is told that the mall cannot answer now. While ever other members ask for their own places, the one
statement follows the other: a rest between them would let those of the last board wait too long.
"""

import asyncio
import time
from collections.abc import Collection
from dataclasses import dataclass, field
from zoneinfo import ZoneInfo

import structlog

from models.stores import Sessions
from services.ending import end
from services.errors import ServiceUnavailable
from services.leaderboard.boards import Board
from services.leaderboard.scores import Lines, rank_by_sql
from services.monitoring.log_context import detached
from services.transaction import transaction

GOOD_FOR_S = 1.0
"""The shortest: of an answer that cost less."""
LONGEST_GOOD_S = 30.0
FAILED_FOR_S = 3.0
"""For so long at least nobody tries again: a statement that is too slow would follow the other."""
MOST_LINES = 100

_log = structlog.get_logger(__name__)


@dataclass(slots=True)
class _Question:
    """What is asked of one board by all who ask at once."""

    user_ids: set[int] = field(default_factory=set[int])
    window: int = 1
    answer: asyncio.Future[Lines] = field(default_factory=asyncio.Future[Lines])

    def covers(self, user_ids: Collection[int], window: int) -> bool:
        return window <= self.window and self.user_ids.issuperset(user_ids)


@dataclass(frozen=True, slots=True)
class _Answer:
    """What was answered, and for how long that is good."""

    question: _Question
    good_for_s: float
    given_at_s: float = field(default_factory=time.monotonic)

    def is_good(self) -> bool:
        return time.monotonic() < self.given_at_s + self.good_for_s


class Ranking:
    """Answers of a process, by one statement at a time."""

    def __init__(self, bulk: Sessions, zone: ZoneInfo) -> None:
        """`bulk` opens sessions that nobody waits for who is served at once; `zone`: the mall's."""
        self._bulk, self._zone = bulk, zone
        self._redis_away_until_s = 0.0
        self._asked: dict[Board, _Question] = {}
        self._known: dict[Board, _Answer] = {}
        self._failed: dict[Board, tuple[float, Exception]] = {}
        self._runner: asyncio.Task[None] | None = None

    @property
    def is_redis_away(self) -> bool:
        """Whether Redis did not answer just now: not everybody has to wait for it in vain."""
        return time.monotonic() < self._redis_away_until_s

    @property
    def good_for_s(self) -> float:
        """After so long whoever asks again, of any board, is answered anew."""
        return max((known.good_for_s for known in self._known.values()), default=GOOD_FOR_S)

    def leave_redis_alone(self, error: Exception) -> None:
        """Ask Redis nothing for a second."""
        _log.warning("boards_from_postgresql", error=repr(error))
        self._redis_away_until_s = time.monotonic() + GOOD_FOR_S

    async def lines(self, board: Board, user_ids: Collection[int] = (), window: int = 1) -> Lines:
        """The first 100 lines of a board, and those around the users; some seconds old at most.

        Raises ServiceUnavailable when PostgreSQL is away as well, or was a moment ago, and when
        the answer takes longer than a statement may.
        """
        known = self._known.get(board)
        if known and known.is_good() and known.question.covers(user_ids, window):
            return known.question.answer.result()
        question = self._asked.setdefault(board, _Question())
        question.user_ids.update(user_ids)
        question.window = max(question.window, window)
        if self._runner is None:
            self._runner = detached(self._run())
        try:
            async with asyncio.timeout(self._bulk.wait_s):
                return await asyncio.shield(question.answer)
        except TimeoutError as error:
            raise ServiceUnavailable("boards are being ranked for too long") from error

    async def aclose(self) -> None:
        """Rank nobody any more; whoever still waits is told so in the end."""
        if self._runner is not None:
            await end(self._runner)

    async def _run(self) -> None:
        """Answer board after board, in the order in which they were first asked for."""
        try:
            while self._asked:
                board = next(iter(self._asked))
                await self._answer(board, self._asked.pop(board))
        finally:
            self._runner = None

    async def _answer(self, board: Board, question: _Question) -> None:
        started_at_s = time.monotonic()
        try:
            self._raise_if_failed(board)
            lines = await self._ask(board, question)
        except Exception as error:  # noqa: BLE001 — it belongs to whoever asked, not to the loop
            pause_s = min(max(time.monotonic() - started_at_s, FAILED_FOR_S), LONGEST_GOOD_S)
            self._failed.setdefault(board, (time.monotonic() + pause_s, error))
            question.answer.set_exception(error)
            question.answer.exception()  # whoever asked may have gone
        else:
            cost_s = time.monotonic() - started_at_s
            question.answer.set_result(lines)
            self._known = {key: known for key, known in self._known.items() if known.is_good()}
            self._known[board] = _Answer(question, min(max(cost_s, GOOD_FOR_S), LONGEST_GOOD_S))

    def _raise_if_failed(self, board: Board) -> None:
        now_s = time.monotonic()
        self._failed = {key: held for key, held in self._failed.items() if now_s < held[0]}
        if board in self._failed:
            raise self._failed[board][1].with_traceback(None)

    async def _ask(self, board: Board, question: _Question) -> Lines:
        async with transaction(self._bulk) as session:
            return await rank_by_sql(
                session,
                board,
                self._zone.key,
                top=MOST_LINES,
                user_ids=question.user_ids,
                window=question.window,
            )
