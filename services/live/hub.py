"""What is watched in this process: opened once, shared by every socket and stream."""

import asyncio
import random
from collections.abc import AsyncGenerator
from collections.abc import Set as AbstractSet
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Final

from models.leaderboard import LeaderboardPeriod
from services.calendar import day_start, local_day
from services.ending import end
from services.leaderboard.standings import Top
from services.live.feed import Moved, listen
from services.live.places import (
    BoardKey,
    Place,
    PlaceKey,
    read_boards,
    read_places,
    shows_the_same,
)
from services.live.watch import Watch
from services.mall import Mall
from services.monitoring.log_context import detached
from services.points.balance import Balance, balances
from services.transaction import reading

PAUSE_S: Final = 0.25
"""Everything is read at most four times a second (`contract.graphql`, leaderboardChanged)."""
HEAL_EVERY_S: Final = 30.0
"""So often all that is watched is read anew: a message may be lost, points end by the clock."""
_HEAL_EARLIER: Final = 0.2
"""Up to this share earlier, at random: processes that began together do not all read at once."""
_BALANCES_AT_ONCE: Final = 1_000
"""A statement of some 10 ms. After Redis was away a process reads 4,000 balances a second."""
_PLACES_AT_ONCE: Final = 10_000
"""A pipeline of ten scripts. Anyone's movement may move all of them, so they are read together."""
_AFTER_MIDNIGHT_S: Final = 0.01  # a timer may ring a little early


class Hub:
    """Who watches what; listens to the other processes from the first watcher on."""

    def __init__(self, mall: Mall, *, heal_every_s: float = HEAL_EVERY_S) -> None:
        """Nobody watches yet."""
        self._mall = mall
        self._heal_every_s = heal_every_s
        self._tasks: list[asyncio.Task[None]] = []
        self._later: asyncio.TimerHandle | None = None
        self.boards: Watch[BoardKey, Top] = Watch(
            "boards", self._read_boards, pause_s=PAUSE_S, same=shows_the_same
        )
        self.places: Watch[PlaceKey, Place] = Watch(
            "places",
            self._read_places,
            pause_s=PAUSE_S,
            most_at_once=_PLACES_AT_ONCE,
            same=Place.is_at,
        )
        self.balances: Watch[int, Balance] = Watch(
            "balances", self._read_balances, pause_s=PAUSE_S, most_at_once=_BALANCES_AT_ONCE
        )
        self._watches = (self.boards, self.places, self.balances)

    @property
    def watched(self) -> int:
        """How many different things are being watched."""
        return sum(len(watch.keys) for watch in self._watches)

    def follow_board(self, period: LeaderboardPeriod, top: int) -> AsyncGenerator[Top | None]:
        """The first `top` lines of a board, now and whenever one of them changed."""
        self._listen()
        return self.boards.follow((period, top))

    def follow_place(self, period: LeaderboardPeriod, user_id: int) -> AsyncGenerator[Place | None]:
        """A member's place on a board, now and whenever it changed; None while not ranked."""
        self._listen()
        return self.places.follow((period, user_id))

    def follow_balance(self, user_id: int) -> AsyncGenerator[Balance | None]:
        """A member's balance, now and whenever it changed; None for a user who is not there."""
        self._listen()
        return self.balances.follow(user_id)

    async def aclose(self) -> None:
        """Listen and read no more."""
        if self._later is not None:
            self._later.cancel()
        await end(*self._tasks)
        for watch in self._watches:
            await watch.aclose()

    def _listen(self) -> None:
        if not self._tasks:
            redis = self._mall.stores.redis
            self._tasks = [
                detached(listen(redis, self._touch_all, self._touch)),
                detached(self._heal()),
            ]

    def _touch(self, moved: Moved) -> None:
        self.balances.touch(moved.users)
        if moved.ranked:
            self._touch_ranks()
            self._look_again_later()
        elif moved.profiles:
            self.boards.touch_all()

    def _touch_ranks(self) -> None:
        """Whose points move may move anyone's rank."""
        self.boards.touch_all()
        self.places.touch_all()

    def _look_again_later(self) -> None:
        """While the boards are not in Redis, what was just read may be some seconds old."""
        if self._later is not None:
            self._later.cancel()
        loop = asyncio.get_running_loop()
        self._later = loop.call_later(self._mall.ranking.good_for_s + PAUSE_S, self._touch_ranks)

    def _touch_all(self) -> None:
        self.balances.touch_all()
        self._touch_ranks()
        self._look_again_later()

    async def _heal(self) -> None:
        while True:
            rest_s = self._heal_every_s * random.uniform(1 - _HEAL_EARLIER, 1)  # noqa: S311
            await asyncio.sleep(min(rest_s, self._until_midnight_s()))
            self._touch_all()
            # The same lines may say something else by now: a membership ends by the clock.
            self.boards.show_all()

    def _until_midnight_s(self) -> float:
        """Until the mall's day ends, and with it perhaps a week or a month."""
        now, zone = self._mall.clock(), self._mall.zone
        midnight = day_start(local_day(now, zone) + timedelta(days=1), zone)
        return (midnight - now).total_seconds() + _AFTER_MIDNIGHT_S

    async def _read_boards(self, keys: AbstractSet[BoardKey]) -> dict[BoardKey, Top]:
        return await read_boards(self._mall, keys, self._mall.clock())

    async def _read_places(self, keys: AbstractSet[PlaceKey]) -> dict[PlaceKey, Place]:
        return await read_places(self._mall, keys, self._mall.clock())

    async def _read_balances(self, user_ids: AbstractSet[int]) -> dict[int, Balance]:
        async with reading(self._mall.stores.read) as session:
            return await balances(session, user_ids, self._mall.clock())


@asynccontextmanager
async def open_hub(mall: Mall) -> AsyncGenerator[Hub]:
    """The hub of a web process."""
    hub = Hub(mall)
    try:
        yield hub
    finally:
        await hub.aclose()
