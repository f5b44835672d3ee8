"""Boards, and a member's own place on one."""

from collections.abc import Sequence
from datetime import date, datetime, timedelta

import strawberry

from models.leaderboard import LeaderboardPeriod
from schema.context import Info
from schema.ids import encode_id
from schema.scalars import Points
from services.calendar import local_day
from services.leaderboard import history, profiles, standings
from services.leaderboard.history import HistoryAsked
from services.leaderboard.read import read_around
from services.leaderboard.standings import Entry, Ranks, Top, require_within

strawberry.enum(LeaderboardPeriod)

_HISTORY_DAYS, _WINDOW = 7, 5


@strawberry.type(description="What anyone may see of a user.")
class UserProfile:
    """A user to others."""

    id: strawberry.ID
    username: str
    avatar_url: str | None
    vip_level: int = strawberry.field(description="The highest membership that runs; 0: none.")

    @classmethod
    def of(cls, profile: profiles.Profile, now: datetime) -> "UserProfile":
        """The contract's view of a profile."""
        return cls(
            id=encode_id("User", profile.user_id),
            username=profile.username,
            avatar_url=profile.avatar_url,
            vip_level=profile.vip_level(now),
        )


@strawberry.type
class LeaderboardEntry:
    """One line of a board."""

    rank: int
    user: UserProfile
    points: Points


async def load_entries(
    info: Info, lines: Sequence[Entry], token: str | None
) -> list[LeaderboardEntry]:
    """Lines with who stands on them; somebody who was erased this very moment is left out."""
    asked = tuple(line.user_id for line in lines)
    found = await info.context.loaders.profiles.load((asked, token))
    now = info.context.now()
    return [
        LeaderboardEntry(rank=line.rank, user=UserProfile.of(profile, now), points=line.points)
        for line in lines
        if (profile := found.get(line.user_id)) is not None
    ]


@strawberry.type
class Leaderboard:
    """The first of a board, which runs from `startsAt` to `endsAt`: both null for all time."""

    period: LeaderboardPeriod
    starts_at: datetime | None
    ends_at: datetime | None
    total_users: int = strawberry.field(description="How many are ranked.")
    top: strawberry.Private[Top]

    @strawberry.field
    async def entries(self, info: Info) -> list[LeaderboardEntry]:
        """In order of rank."""
        return await load_entries(info, self.top.entries, self.top.profiles)

    @classmethod
    def of(cls, info: Info, top: Top) -> "Leaderboard":
        """The contract's view of a board."""
        board, zone = top.board, info.context.mall.zone
        return cls(
            period=board.period,
            starts_at=board.starts_at(zone),
            ends_at=board.ends_at(zone),
            total_users=top.total,
            top=top,
        )


@strawberry.type
class RankOnDay:
    """A place on a board when a day of the mall ended."""

    date: date
    rank: int
    points: Points

    @classmethod
    def of(cls, day_rank: history.DayRank) -> "RankOnDay":
        """The contract's view of it."""
        return cls(date=day_rank.day, rank=day_rank.rank, points=day_rank.points)


@strawberry.type
class UserRank:
    """A member's own place on a board."""

    period: LeaderboardPeriod
    rank: int
    points: Points
    top_percentage: float = strawberry.field(
        description="Share of ranked users who stand above, in percent, two decimals: 0 for the"
        " first."
    )
    points_to_next: Points | None = strawberry.field(
        description="Points missing to overtake the next user above; null for the first."
    )
    user_id: strawberry.Private[int]

    @strawberry.field(
        description="One entry a day, oldest first: the days that have ended, 1 to 366 of them."
        " A day without a rank has none."
    )
    async def history(self, info: Info, days: int | None = _HISTORY_DAYS) -> list[RankOnDay]:
        """From the snapshots."""
        count = _HISTORY_DAYS if days is None else days
        require_within("days", count, standings.MOST_HISTORY_DAYS)
        today = local_day(info.context.now(), info.context.mall.zone)
        asked = HistoryAsked(self.user_id, self.period, today - timedelta(days=count), today)
        found = await info.context.loaders.rank_history.load(asked)
        return [RankOnDay.of(day_rank) for day_rank in found]

    @strawberry.field(
        description="The users around this one, this one included: up to `window` (1 to 50) on"
        " either side."
    )
    async def around(self, info: Info, window: int | None = _WINDOW) -> list[LeaderboardEntry]:
        """As the board stands now."""
        size = _WINDOW if window is None else window
        require_within("window", size, standings.MOST_AROUND)
        context = info.context
        lines = await read_around(context.mall, self.period, self.user_id, size, context.now())
        return await load_entries(info, lines.entries, lines.profiles)

    @classmethod
    def of(cls, ranks: Ranks, user_id: int) -> "UserRank | None":
        """The contract's view of a user's place; None without one."""
        standing = ranks.standings.get(user_id)
        if standing is None:
            return None
        return cls(
            period=ranks.board.period,
            rank=standing.rank,
            points=standing.points,
            top_percentage=standing.top_percentage(ranks.total),
            points_to_next=standing.points_to_next,
            user_id=user_id,
        )
