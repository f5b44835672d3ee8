"""Members' places on boards, and the first lines of boards, as those who watch see them change."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TypeAlias

from models.leaderboard import LeaderboardPeriod
from services.leaderboard.boards import Board
from services.leaderboard.read import read_ranks, read_top
from services.leaderboard.standings import Top
from services.mall import Mall

BoardKey: TypeAlias = tuple[LeaderboardPeriod, int]
"""A board and how many lines of it."""
PlaceKey: TypeAlias = tuple[LeaderboardPeriod, int]
"""A board and the user whose place on it is meant."""


@dataclass(frozen=True, slots=True)
class Place:
    """A user's place on a board, and the points that it took."""

    board: Board
    rank: int
    points: int

    def is_at(self, other: "Place | None") -> bool:
        """Whether the other is the same place: the same rank of the same board."""
        return other is not None and (self.board, self.rank) == (other.board, other.rank)


def previous_rank(place: Place, previous: Place | None) -> int | None:
    """The rank before, on the same board: none on a day, week or month that has just begun."""
    return previous.rank if previous is not None and previous.board == place.board else None


def shows_the_same(one: Top, other: Top) -> bool:
    """Whether two boards have the same lines, under names that may be remembered alike."""
    return (one.board, one.entries, one.profiles) == (other.board, other.entries, other.profiles)


async def read_boards(mall: Mall, keys: Iterable[BoardKey], now: datetime) -> dict[BoardKey, Top]:
    """The first lines of boards; each period is read once, as far as the longest goes.

    Raises ServiceUnavailable as `read_top` does.
    """
    found: dict[BoardKey, Top] = {}
    for period, tops in _by_period(keys).items():
        longest = await read_top(mall, period, max(tops), now)
        for top in tops:
            found[period, top] = replace(longest, entries=longest.entries[:top])
    return found


async def read_places(mall: Mall, keys: Iterable[PlaceKey], now: datetime) -> dict[PlaceKey, Place]:
    """The places of those who are ranked, by one pipeline a period.

    Raises ServiceUnavailable as `read_ranks` does.
    """
    found: dict[PlaceKey, Place] = {}
    for period, user_ids in _by_period(keys).items():
        ranks = await read_ranks(mall, period, user_ids, now)
        for user_id, standing in ranks.standings.items():
            found[period, user_id] = Place(ranks.board, standing.rank, standing.points)
    return found


def _by_period(
    keys: Iterable[tuple[LeaderboardPeriod, int]],
) -> Mapping[LeaderboardPeriod, list[int]]:
    found: defaultdict[LeaderboardPeriod, list[int]] = defaultdict(list)
    for period, number in keys:
        found[period].append(number)
    return found
