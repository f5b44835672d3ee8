"""Reading boards: one round trip to Redis a question, else PostgreSQL.

A board counts when Redis says that it is whole. When it is not, or Redis is away, the answers are
the same and dearer (`ranking.py`), and whoever sees that boards are lost asks for new ones.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from models.leaderboard import LeaderboardPeriod
from services.bulk import in_pieces
from services.leaderboard.boards import BOARDS_KEY, PROFILES_KEY, Board, board_at, user_of
from services.leaderboard.scripts import READ_AROUND, READ_RANKS, READ_TOP
from services.leaderboard.standings import Entry, Ranks, Standing, Top
from services.mall import Mall

_USERS_A_SCRIPT = 1_000
_MOST_OF_A_QUESTION = 10
"""Arguments of a question that may share a round trip."""


async def read_top(mall: Mall, period: LeaderboardPeriod, top: int, now: datetime) -> Top:
    """The first `top` (1 to 100) lines of the board that runs, and how many are ranked.

    Raises ServiceUnavailable when both stores are away.
    """
    board = board_at(period, now, mall.zone)
    answers = await _ask(mall, board, READ_TOP, [(top,)])
    if answers is None:
        lines = await mall.ranking.lines(board)
        return Top(board, lines.total, lines.between(1, top), None)
    (answer,) = answers
    return Top(board, answer[2], _entries(answer[3], 1), answer[1])


async def read_ranks(
    mall: Mall, period: LeaderboardPeriod, user_ids: Sequence[int], now: datetime
) -> Ranks:
    """The places of any number of users on the board that runs, in one round trip.

    Raises ServiceUnavailable when both stores are away.
    """
    board = board_at(period, now, mall.zone)
    chunks = list(in_pieces(user_ids, _USERS_A_SCRIPT)) or [()]
    answers = await _ask(mall, board, READ_RANKS, chunks)
    if answers is None:
        lines = await mall.ranking.lines(board, user_ids)
        places = [(user_id, lines.standing(user_id)) for user_id in user_ids]
        return Ranks(board, lines.total, {user: place for user, place in places if place})
    found = [place for answer in answers for place in answer[3:]]
    standings = {
        user_id: _standing(place)
        for user_id, place in zip(user_ids, found, strict=True)
        if place[0] >= 0
    }
    return Ranks(board, answers[0][2], standings)


async def read_around(
    mall: Mall, period: LeaderboardPeriod, user_id: int, window: int, now: datetime
) -> Top:
    """A user's line with up to `window` lines on either side; none for who is not ranked.

    Raises ServiceUnavailable when both stores are away.
    """
    board = board_at(period, now, mall.zone)
    answers = await _ask(mall, board, READ_AROUND, [(user_id, window)])
    if answers is None:
        lines = await mall.ranking.lines(board, [user_id], window)
        rank = lines.rank_of.get(user_id)
        around = () if rank is None else lines.between(rank - window, rank + window)
        return Top(board, lines.total, around, None)
    (answer,) = answers
    return Top(board, answer[2], _entries(answer[4], answer[3] + 1), answer[1])


async def _ask(
    mall: Mall, board: Board, script: str, asked: Sequence[Sequence[Any]]
) -> list[Any] | None:
    """What the script answers to each; None when the boards are not there to be asked."""
    if mall.ranking.is_redis_away:
        return None
    keys = (BOARDS_KEY, board.key, board.versions_key, PROFILES_KEY)
    try:
        if len(asked) == 1 and len(asked[0]) <= _MOST_OF_A_QUESTION:
            answers = [await mall.questions.ask((script, keys, tuple(asked[0])))]
        else:
            answers = await _ask_alone(mall, script, keys, asked)
    except (RedisConnectionError, RedisTimeoutError, OSError) as error:
        mall.ranking.leave_redis_alone(error)
        return None
    if any(answer[0] is None for answer in answers):
        mall.movements.ask_for_rebuild()
        return None
    return answers


async def _ask_alone(
    mall: Mall, script: str, keys: Sequence[str], asked: Sequence[Sequence[Any]]
) -> list[Any]:
    """Many users at once: nobody else waits until Redis has found them all."""
    pipeline = mall.stores.redis.pipeline(transaction=False)
    for arguments in asked:
        pipeline.eval(script, len(keys), *keys, *arguments)
    return await pipeline.execute()


def _entries(lines: Sequence[str], first: int) -> tuple[Entry, ...]:
    """From members and scores in turn."""
    pairs = zip(lines[::2], lines[1::2], strict=True)
    return tuple(
        Entry(rank, user_of(member), _points(score))
        for rank, (member, score) in enumerate(pairs, first)
    )


def _standing(place: Sequence[Any]) -> Standing:
    rank, own, *above = place
    return Standing(rank + 1, _points(own), _points(above[0]) if above else None)


def _points(score: str) -> int:
    return -int(float(score))
