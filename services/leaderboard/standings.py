"""What is asked of a board, and the answers: plain data."""

from collections.abc import Mapping
from dataclasses import dataclass

from services.errors import BadInput
from services.leaderboard.boards import Board

MOST_AROUND = 50
MOST_HISTORY_DAYS = 366


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of a board; ranks count from 1 and no two users share one."""

    rank: int
    user_id: int
    points: int


@dataclass(frozen=True, slots=True)
class Standing:
    """A user's own place. `points_above` are those of the next one above, None for the first."""

    rank: int
    points: int
    points_above: int | None

    @property
    def points_to_next(self) -> int | None:
        """Points missing to overtake the next user above; None for the first."""
        return None if self.points_above is None else self.points_above - self.points + 1

    def top_percentage(self, total: int) -> float:
        """The share of the `total` ranked users who stand above, in percent, two decimals."""
        return round(100 * (self.rank - 1) / total, 2)


@dataclass(frozen=True, slots=True)
class Top:
    """Some lines of a board, in order. `total`: how many users are ranked.

    `profiles` is the token of what is remembered of profiles: it was read with the lines, so
    profiles that are loaded after them and remembered under it are no older. None: not known.
    """

    board: Board
    total: int
    entries: tuple[Entry, ...]
    profiles: str | None


@dataclass(frozen=True, slots=True)
class Ranks:
    """Places of users by their ids; who is not ranked is not in it."""

    board: Board
    total: int
    standings: Mapping[int, Standing]


def require_within(name: str, value: int, most: int) -> int:
    """`value` from 1 to `most`; raises BadInput, as a page's size does."""
    if not 1 <= value <= most:
        raise BadInput(f"{name} must lie between 1 and {most}")
    return value
