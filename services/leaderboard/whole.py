"""Whether the boards in Redis are whole: asked every minute, should nobody look at them."""

import secrets
from collections.abc import Sequence
from datetime import date, timedelta

from redis.asyncio import Redis

from services.leaderboard.boards import BOARDS_KEY, PROFILES_KEY, Board
from services.leaderboard.scripts import IS_WHOLE

_LONGEST_BOARD = timedelta(days=31)
_SPARE = timedelta(days=2)


async def are_boards_whole(redis: Redis, boards: Sequence[Board]) -> bool:
    """Whether these were built on the server that runs, and hold what they held then and since."""
    pipeline = redis.pipeline(transaction=False)
    for board in boards:
        pipeline.eval(IS_WHOLE, 3, BOARDS_KEY, board.key, board.versions_key)
    return all(answer == [1] for answer in await pipeline.execute())


async def tidy_boards(redis: Redis, today: date) -> None:
    """Forget how large boards were that have ended, and let profiles be remembered again.

    Their token may have been evicted, and else comes back only when somebody's profile changes.
    """
    await redis.set(PROFILES_KEY, secrets.token_urlsafe(), nx=True)
    oldest = (today - _LONGEST_BOARD - _SPARE).isoformat()
    fields = [str(field) for field in await redis.hkeys(BOARDS_KEY)]
    if ended := [field for field in fields if _first_day(field) < oldest]:
        await redis.hdel(BOARDS_KEY, *ended)


def _first_day(field: str) -> str:
    """The day that a board's key ends with; for what has none something that comes after any."""
    day = field.rsplit(":", 1)[-1]
    return day if day[:1].isdigit() else "~"
