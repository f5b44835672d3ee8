"""Bringing boards up to date: absolute scores from PostgreSQL, applied by their version.

Nothing is added to a score: whoever reads later reads what is true then, and what was read earlier
is passed over by Redis. So it does not matter who refreshes, how often, or in which order.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any
from zoneinfo import ZoneInfo

from redis.asyncio import Redis
from redis.asyncio.client import Pipeline
from sqlalchemy import TextClause, text
from sqlalchemy.ext.asyncio import AsyncSession

from services.bulk import in_pieces
from services.leaderboard.boards import BOARDS_KEY, Board, boards_at, encode_member
from services.leaderboard.scripts import APPLY

USERS_AT_ONCE = 1_000
"""How many one statement reads and one round trip applies: for longer ones Redis is not waited
for, and it does nothing else meanwhile."""
_LAST_VERSION = 2**53  # of users who were erased: nothing comes after

AFTER_COMMIT = "/* after the commit */"
"""What the statement begins with: it is no part of what a request costs."""


def _scores(which: str) -> TextClause:
    """A row per user: version, then points and instant on each board that runs."""
    days = "BETWEEN CAST(:{0}_first AS date) AND CAST(:{0}_end AS date) - 1"
    periods = ", ".join(
        f"CAST(sum(points) FILTER (WHERE day {days.format(name)}) AS bigint) AS {name}_points,"
        f" max(last_at) FILTER (WHERE day {days.format(name)}) AS {name}_at"
        for name in ("daily", "weekly", "monthly")
    )
    return text(
        f"""
        {AFTER_COMMIT}
        SELECT users.id AS user_id,
               CASE WHEN erased_at IS NULL THEN audit_sequence + ranking_changes
                    ELSE {_LAST_VERSION} END AS version,
               erased_at IS NOT NULL AS is_erased, recent.*, ranked_points, ranked_at
        FROM users CROSS JOIN LATERAL (
            SELECT {periods} FROM daily_earnings
            WHERE user_id = users.id
              AND day >= least(CAST(:weekly_first AS date), CAST(:monthly_first AS date))
        ) recent
        WHERE {which}
        """
    )


_OF_USERS = _scores("users.id = ANY(CAST(:user_ids AS bigint[]))")
_OF_PAGE = _scores("users.id > :after AND ranked_at IS NOT NULL ORDER BY users.id LIMIT :limit")


@dataclass(frozen=True, slots=True)
class Scored:
    """What a user has on each of the boards, in their order: points and when they last changed.

    `version` grows with every change of the user's account or rank. None on a board: nothing that
    counts.
    """

    user_id: int
    version: int
    is_erased: bool
    scores: tuple[tuple[int, datetime] | None, ...]

    def is_on(self, number: int) -> bool:
        """Whether there is anything to say for an empty board of that number."""
        return self.is_erased or self.scores[number] is not None

    def line(self, number: int) -> str:
        """What the script is told for the board of that number."""
        score = self.scores[number]
        if score is None or score[0] <= 0 or self.is_erased:
            return f"{self.user_id} {self.version} 0 \n"
        points, reached_at = score
        member = encode_member(reached_at, self.user_id)
        return f"{self.user_id} {self.version} {-points} {member}\n"


async def read_scores(
    session: AsyncSession, user_ids: Sequence[int], boards: Sequence[Board]
) -> list[Scored]:
    """What those users have on the boards, in one statement."""
    parameters = {"user_ids": list(user_ids), **_days(boards)}
    return _scored(await session.execute(_OF_USERS, parameters))


async def read_score_page(
    session: AsyncSession, after: int, limit: int, boards: Sequence[Board]
) -> list[Scored]:
    """The same of the next users by their ids, of those who ever had anything on a board."""
    parameters = {"after": after, "limit": limit, **_days(boards)}
    return _scored(await session.execute(_OF_PAGE, parameters))


def _days(boards: Iterable[Board]) -> dict[str, date | None]:
    days: dict[str, date | None] = {}
    for board in boards:
        if board.first is not None:
            days |= {f"{board.period}_first": board.first, f"{board.period}_end": board.end}
    return days


def _scored(rows: Iterable[Any]) -> list[Scored]:
    return [Scored(row[0], row[1], row[2], tuple(_pairs(row[3:]))) for row in rows]


def _pairs(values: Sequence[Any]) -> Iterator[tuple[int, datetime] | None]:
    for points, reached_at in zip(values[::2], values[1::2], strict=True):
        yield None if reached_at is None else (points, reached_at)


def add_scores(
    pipeline: Pipeline,
    scored: Sequence[Scored],
    boards: Sequence[Board],
    now: datetime,
    zone: ZoneInfo,
    *,
    are_boards_new: bool = False,
) -> None:
    """Let a pipeline apply them; each of its answers says how many users changed.

    Whoever has nothing on a board is taken off it: a recount may have moved what they had to other
    days. A movement that counts leaves something on every board that runs, so that this is rare.
    Boards that are new do without: most members have nothing on a board of today.
    """
    for number, board in enumerate(boards):
        lines = "".join(
            each.line(number) for each in scored if each.is_on(number) or not are_boards_new
        )
        if lines:
            keys = (BOARDS_KEY, board.key, board.versions_key)
            pipeline.eval(APPLY, len(keys), *keys, str(board.lifetime_s(now, zone)), lines)


async def refresh_users(
    session: AsyncSession, redis: Redis, user_ids: Sequence[int], now: datetime, zone: ZoneInfo
) -> int:
    """Bring those users up to date on all boards; returns how many of their places changed.

    Raises what Redis raises when it is away.
    """
    boards, changed = boards_at(now, zone), 0
    for some in in_pieces(user_ids, USERS_AT_ONCE):
        scored = await read_scores(session, some, boards)
        pipeline = redis.pipeline(transaction=False)
        add_scores(pipeline, scored, boards, now, zone)
        changed += sum(await pipeline.execute())
    return changed
