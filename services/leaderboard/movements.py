"""Telling everyone what moved, right after the commit that moved it.

Whoever settles announces: the boards are brought up to date and the news published, in the
background, so that no member waits for it and none is refused when Redis is away. While one round
is under way the next gathers, so a burst costs few rounds. What is lost with the process the job
`services.leaderboard.earnings.REFRESH_JOB` does again.
"""

import asyncio
import math
import secrets
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any
from zoneinfo import ZoneInfo

import structlog
from redis.exceptions import RedisError

from models.stores import Stores
from services.announcements import Announcement, noted
from services.bulk import in_pieces
from services.calendar import Clock
from services.errors import ServiceUnavailable
from services.leaderboard.boards import CHANNEL, PROFILES_KEY, boards_at, encode_news
from services.leaderboard.rebuild import ask_for_rebuild
from services.leaderboard.refresh import USERS_AT_ONCE, add_scores, read_scores
from services.monitoring.log_context import detached
from services.transaction import reading, transaction

MOST_KEPT = 10_000
"""Users kept for another try while a store is away; the jobs know of all of them."""
_PAUSE_AFTER_ERROR_S = 1.0
_REBUILD_ASKED_EVERY_S = 5.0
_LONGEST_GOODBYE_S = 2.0

_log = structlog.get_logger(__name__)


@dataclass(slots=True)
class _Round:
    """What is told together, and whether that was tried."""

    news: Announcement = field(default_factory=Announcement)
    is_rebuild_needed: bool = False
    tried: asyncio.Event = field(default_factory=asyncio.Event)


class Movements:
    """Takes announcements of a process and tells them, round after round."""

    def __init__(self, stores: Stores, clock: Clock, zone: ZoneInfo) -> None:
        """Tells of the commits that it hears of (`models.stores.Sessions.after_commit`)."""
        self._stores, self._clock, self._zone = stores, clock, zone
        self._rebuild_asked_at_s = -math.inf
        self._next = _Round()
        self._latest = self._next
        self._runner: asyncio.Task[None] | None = None
        self._is_closing = self._is_away = False

    def hear(self, info: Mapping[Any, Any]) -> None:
        """Take what was noted on a session whose transaction is committed."""
        announcement = noted(info)
        if announcement:
            self.announce(announcement)

    def announce(self, announcement: Announcement) -> None:
        """Tell it soon. Never fails, never waits."""
        self._next.news.add(announcement)
        self._start()

    def ask_for_rebuild(self) -> None:
        """Ask for the boards to be built anew, soon, and not for every reader who misses them."""
        if time.monotonic() < self._rebuild_asked_at_s + _REBUILD_ASKED_EVERY_S:
            return
        self._rebuild_asked_at_s = time.monotonic()
        self._next.is_rebuild_needed = True
        self._start()

    def _start(self) -> None:
        self._latest = self._next
        if self._runner is None and not self._is_closing:
            self._runner = detached(self._run())

    async def told(self) -> None:
        """Wait until what was announced so far has been told; not while a store is away."""
        if self._runner is not None and not self._is_away:
            await self._latest.tried.wait()

    async def aclose(self) -> None:
        """Tell what is left, if that does not take long; then tell nothing more."""
        self._is_closing = True
        if self._runner is not None:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._runner, _LONGEST_GOODBYE_S)

    async def _run(self) -> None:
        try:
            while self._next.news or self._next.is_rebuild_needed:
                current, self._next = self._next, _Round()
                try:
                    is_told = await self._tell(current)
                finally:
                    current.tried.set()
                if not is_told and self._is_closing:
                    return
                if not is_told:
                    self._keep(current.news)
                    await asyncio.sleep(_PAUSE_AFTER_ERROR_S)
        finally:
            self._runner = None

    async def _tell(self, current: _Round) -> bool:
        """Whether it was told, or never will be: False asks for another try."""
        try:
            if current.is_rebuild_needed:
                async with transaction(self._stores.write) as session:
                    await ask_for_rebuild(session, self._clock())
            if current.news:
                await self._send(current.news)
        except (RedisError, ServiceUnavailable, OSError) as error:
            if not self._is_away:
                _log.warning("movements_held_up", error=repr(error))
            self._is_away = True
            return False
        except Exception:  # noqa: BLE001 — a mistake of ours: seen, and not repeated for ever
            _log.exception("movements_not_told")
        self._is_away = False
        return True

    def _keep(self, news: Announcement) -> None:
        if len(self._next.news.moved) + len(news.moved) <= MOST_KEPT:
            self._next.news.add(news)
        else:
            self._next.news.profiles |= news.profiles

    async def _send(self, news: Announcement) -> None:
        pipeline = self._stores.redis.pipeline(transaction=False)
        if news.profiles:
            pipeline.set(PROFILES_KEY, secrets.token_urlsafe())
        for number, some in enumerate(in_pieces(sorted(news.ranked), USERS_AT_ONCE)):
            if number:
                await pipeline.execute()
            now = self._clock()
            boards = boards_at(now, self._zone)
            async with reading(self._stores.read) as session:
                scored = await read_scores(session, some, boards)
            add_scores(pipeline, scored, boards, now, self._zone)
        told = encode_news(
            news.moved, is_ranked=bool(news.ranked), are_profiles_changed=news.profiles
        )
        pipeline.publish(CHANNEL, told)
        await pipeline.execute()
