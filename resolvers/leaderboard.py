"""Root fields of the leaderboard."""

import strawberry

from models.leaderboard import LeaderboardPeriod
from resolvers.access import Audience, field_for
from schema.context import Info
from schema.leaderboard import Leaderboard, UserRank
from services.leaderboard.read import read_ranks, read_top
from services.paging import require_page_size


@strawberry.type
class LeaderboardQuery:
    """Who earned most."""

    @field_for(Audience.ANYONE)
    async def leaderboard(
        self,
        info: Info,
        period: LeaderboardPeriod = LeaderboardPeriod.ALL_TIME,
        top: int = 10,
    ) -> Leaderboard:
        """The first of the board that runs, 1 to 100 of them."""
        size = require_page_size(top, "top")
        return Leaderboard.of(
            info, await read_top(info.context.mall, period, size, info.context.now())
        )

    @field_for(Audience.MEMBER)
    async def my_rank(
        self, info: Info, period: LeaderboardPeriod = LeaderboardPeriod.ALL_TIME
    ) -> UserRank | None:
        """The viewer's place on the board that runs; null until they earn points in the period."""
        user_id = info.context.require_viewer().user_id
        ranks = await read_ranks(info.context.mall, period, [user_id], info.context.now())
        return UserRank.of(ranks, user_id)
