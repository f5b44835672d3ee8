"""Building the boards anew from PostgreSQL: by hand, or because Redis has lost them.

One builder at a time holds a token in Redis. The boards are emptied, then filled page by page by
the script that settlements use too, so nothing that moves meanwhile is lost. In the end it is said
that they are whole, but only if what was said in the beginning is still there: else Redis lost
something again, and it all begins anew.
"""

import asyncio
import secrets
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from redis.exceptions import RedisError
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from models.stores import Stores
from services.calendar import Clock
from services.leaderboard.boards import (
    BOARDS_KEY,
    BUILDING_KEY,
    CHANNEL,
    PROFILES_KEY,
    Board,
    boards_at,
    encode_news,
)
from services.leaderboard.refresh import USERS_AT_ONCE, Scored, add_scores, read_score_page
from services.leaderboard.scripts import (
    BEGIN_BUILDING,
    FINISH_BUILDING,
    GO_ON_BUILDING,
    LEAVE_BUILDING,
)
from services.transaction import reading

REBUILD_JOB = "rebuild_leaderboard"
_MOST_ATTEMPTS = 5
_TOKEN_LASTS_MS = 60_000

OnPage = Callable[[int], None]
"""Told after each page how many users were looked at so far."""

# One row at a time: while it is open, asking again changes nothing.
_ASK = text(
    """
    INSERT INTO outbox (job, payload, created_at, due_at)
    SELECT :job, '{}', :now, :now
    WHERE NOT EXISTS (SELECT FROM outbox
                      WHERE job = :job AND done_at IS NULL AND failed_at IS NULL)
    """
)


class BoardsLost(Exception):
    """Redis was emptied again and again while the boards were built."""


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """How many users were looked at, and how many attempts it took."""

    users: int
    attempts: int


async def ask_for_rebuild(session: AsyncSession, now: datetime) -> None:
    """Ask, in the outbox, for the boards to be built anew, unless somebody has."""
    await session.execute(_ASK, {"job": REBUILD_JOB, "now": now})


async def rebuild(
    stores: Stores,
    clock: Clock,
    zone: ZoneInfo,
    on_page: OnPage = lambda _users: None,
    *,
    users_a_page: int = USERS_AT_ONCE,
) -> Rebuilt | None:
    """Build all boards that run; None when somebody else is at it.

    Raises BoardsLost when Redis keeps losing them, and what either store raises when it is away.
    """
    for attempt in range(1, _MOST_ATTEMPTS + 1):
        builder = _Builder(stores, clock, zone, secrets.token_urlsafe())
        if not await builder.begin():
            return None
        try:
            if await builder.fill(on_page, users_a_page) and await builder.finish():
                return Rebuilt(builder.users, attempt)
        finally:
            await builder.leave()
    raise BoardsLost


class _Builder:
    """One attempt."""

    def __init__(self, stores: Stores, clock: Clock, zone: ZoneInfo, token: str) -> None:
        self._stores, self._clock, self._zone, self._token = stores, clock, zone, token
        self._server = ""
        self.users = 0

    async def begin(self) -> bool:
        """Empty the boards; False when somebody else is building."""
        redis: Any = self._stores.redis
        self._server = (await redis.info("server"))["run_id"]
        keys = [BUILDING_KEY, BOARDS_KEY]
        for board in self._boards():
            keys += [board.key, board.versions_key]
        arguments = (self._token, _TOKEN_LASTS_MS)
        return bool(await redis.eval(BEGIN_BUILDING, len(keys), *keys, *arguments))

    def _boards(self) -> tuple[Board, ...]:
        return boards_at(self._clock(), self._zone)

    async def leave(self) -> None:
        """Let somebody else begin, whatever went wrong."""
        redis: Any = self._stores.redis
        with suppress(RedisError):  # then the token ends by itself
            await redis.eval(LEAVE_BUILDING, 1, BUILDING_KEY, self._token)

    async def fill(self, on_page: OnPage, users_a_page: int) -> bool:
        """Apply page after page; False as soon as what was built is gone."""
        boards, page = await self._read(0, users_a_page)
        while page:
            # While Redis applies one page PostgreSQL reads the next.
            coming = asyncio.create_task(self._read(page[-1].user_id, users_a_page))
            try:
                if not await self._apply(boards, page):
                    return False
                self.users += len(page)
                on_page(self.users)
                boards, page = await coming
            finally:
                coming.cancel()
        return True

    async def _read(self, after: int, limit: int) -> tuple[tuple[Board, ...], list[Scored]]:
        boards = self._boards()  # those of this moment: a day may end between two pages
        async with reading(self._stores.read) as session:
            return boards, await read_score_page(session, after, limit, boards)

    async def _apply(self, boards: Sequence[Board], page: Sequence[Scored]) -> bool:
        pipeline = self._stores.redis.pipeline(transaction=False)
        now = self._clock()
        add_scores(pipeline, page, boards, now, self._zone, are_boards_new=True)
        token = (BUILDING_KEY, BOARDS_KEY, self._token, str(_TOKEN_LASTS_MS))
        pipeline.eval(GO_ON_BUILDING, 2, *token)
        return bool((await pipeline.execute())[-1])

    async def finish(self) -> bool:
        """Let the boards count, and tell those who watch; False when they are gone."""
        redis: Any = self._stores.redis
        keys = (BUILDING_KEY, BOARDS_KEY, PROFILES_KEY)
        arguments = (self._token, self._server, secrets.token_urlsafe())
        is_done = bool(await redis.eval(FINISH_BUILDING, len(keys), *keys, *arguments))
        if is_done:
            await redis.publish(CHANNEL, encode_news((), is_ranked=True))
        return is_done
