"""The boards: which days count on one, and how it lies in Redis.

A sorted set holds a board: score = -points, exact up to 2^53; member = when the user's points last
changed in the period, then the user, both of fixed width, so that equal scores stand in the order
of `standing_order` and ZRANK is the rank. Beside it a hash says of each user which member is theirs
and which version of their account it was computed from.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import orjson

from models.leaderboard import LeaderboardPeriod
from models.stores import NAMESPACE
from services.calendar import day_start, local_day, month_start, next_month_start, week_start

CHANNEL = f"{NAMESPACE}:moved"
"""Where commits are announced: JSON, {"users": [ids], "ranked": bool}, and "profiles": true if the
name, picture or level of anybody may be another."""
_BOARDS = f"{NAMESPACE}:boards-2"
"""What the keys of boards begin with, but for the channel and the token of profiles. The number
is that of their layout: whoever changes what lies there, or what scripts keep of it, counts on. In
a rolling upgrade processes of both layouts run beside each other, each on boards of its own."""
BOARDS_KEY = f"{_BOARDS}:built"
"""A hash that says what the boards are: `builder`, who built them or does; `server`, the run id of
the server on which they became whole; and under a board's key how large its set and hash are. Where
it is missing, or says something else than what is there, the boards have been lost."""
BUILDING_KEY = f"{_BOARDS}:building"
PROFILES_KEY = f"{NAMESPACE}:profiles"
"""A random token: another one says that what is remembered of profiles may be wrong."""

_KEPT_AFTER_END = timedelta(days=2)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_INSTANT_DIGITS, _USER_DIGITS = 16, 19


@dataclass(frozen=True, slots=True)
class Board:
    """A board: all time, or the days from `first` up to, not including, `end`."""

    period: LeaderboardPeriod
    first: date | None = None
    end: date | None = None

    @property
    def key(self) -> str:
        """The sorted set."""
        start = "" if self.first is None else f":{self.first.isoformat()}"
        return f"{_BOARDS}:{self.period}{start}"

    @property
    def versions_key(self) -> str:
        """The hash beside it."""
        return f"{self.key}:versions"

    def starts_at(self, zone: ZoneInfo) -> datetime | None:
        """When its first day begins; None for all time."""
        return None if self.first is None else day_start(self.first, zone)

    def ends_at(self, zone: ZoneInfo) -> datetime | None:
        """When its last day ends; None for all time."""
        return None if self.end is None else day_start(self.end, zone)

    def lifetime_s(self, now: datetime, zone: ZoneInfo) -> int:
        """For how long it is kept from now on; 0 for ever."""
        ends_at = self.ends_at(zone)
        if ends_at is None:
            return 0
        return max(1, int((ends_at + _KEPT_AFTER_END - now).total_seconds()))


def board_on(period: LeaderboardPeriod, day: date) -> Board:
    """The board of that period on which a day of the mall counts; weeks begin on Mondays."""
    match period:
        case LeaderboardPeriod.DAILY:
            return Board(period, day, day + timedelta(days=1))
        case LeaderboardPeriod.WEEKLY:
            return Board(period, week_start(day), week_start(day) + timedelta(days=7))
        case LeaderboardPeriod.MONTHLY:
            return Board(period, month_start(day), next_month_start(day))
        case LeaderboardPeriod.ALL_TIME:
            return Board(period)


def board_at(period: LeaderboardPeriod, now: datetime, zone: ZoneInfo) -> Board:
    """The board of that period that runs now."""
    return board_on(period, local_day(now, zone))


def boards_at(now: datetime, zone: ZoneInfo) -> tuple[Board, ...]:
    """All boards that run now."""
    return tuple(board_at(period, now, zone) for period in LeaderboardPeriod)


def standing_order(points: int, reached_at: datetime, user_id: int) -> tuple[int, datetime, int]:
    """Sorts standings: more points first, then who got there first, then the older account."""
    return (-points, reached_at, user_id)


def encode_member(reached_at: datetime, user_id: int) -> str:
    """The name under which a user stands in the sorted set: sorts as the pair does."""
    instant = (reached_at - _EPOCH) // _MICROSECOND
    return f"{instant:0{_INSTANT_DIGITS}d}:{user_id:0{_USER_DIGITS}d}"


def user_of(member: str) -> int:
    """The user who stands under that name."""
    return int(member[_INSTANT_DIGITS + 1 :])


def encode_news(
    user_ids: Iterable[int], *, is_ranked: bool, are_profiles_changed: bool = False
) -> bytes:
    """What CHANNEL carries: whose balance moved, whether any rank may have, and any profile."""
    news: dict[str, object] = {"users": sorted(user_ids), "ranked": is_ranked}
    if are_profiles_changed:
        news["profiles"] = True
    return orjson.dumps(news)
