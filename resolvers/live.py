"""Subscriptions: the newest state at once, then whenever it changed."""

from collections.abc import AsyncGenerator
from contextlib import aclosing

import strawberry

from models.leaderboard import LeaderboardPeriod
from resolvers.access import Audience, subscription_for
from schema.context import Info
from schema.leaderboard import Leaderboard
from schema.live import RankChange
from schema.points import Balance
from services.errors import Unauthenticated
from services.live.places import Place, previous_rank
from services.paging import require_page_size

SHARED_FIELDS = frozenset({"leaderboardChanged"})
"""Subscriptions that show everybody the same: they run once for all who ask alike."""


@strawberry.type
class LiveSubscription:
    """What can be watched. No session is held and nothing loaded is kept between two events."""

    @subscription_for(
        Audience.ANYONE,
        description="The top of the board: once at the start, then whenever an entry in it changes,"
        " at most 4 times a second.",
    )
    async def leaderboard_changed(
        self,
        info: Info,
        period: LeaderboardPeriod = LeaderboardPeriod.ALL_TIME,
        top: int = 10,
    ) -> AsyncGenerator[Leaderboard]:
        """Raises BadInput for a `top` outside of 1 to 100."""
        size, context = require_page_size(top, "top"), info.context
        async with aclosing(context.live.follow_board(period, size)) as boards:
            async for board in boards:
                if board is not None:
                    context.forget_loaded()
                    yield Leaderboard.of(info, board)

    @subscription_for(
        Audience.MEMBER,
        description="The viewer's own rank: once at the start, then whenever it changes, from"
        " anyone's points.",
    )
    async def rank_changed(
        self, info: Info, period: LeaderboardPeriod = LeaderboardPeriod.ALL_TIME
    ) -> AsyncGenerator[RankChange]:
        """Says nothing while the viewer is not ranked."""
        context = info.context
        user_id = context.require_viewer().user_id
        told: Place | None = None
        async with aclosing(context.live.follow_place(period, user_id)) as places:
            async for place in places:
                if place is not None and not place.is_at(told):
                    yield RankChange.of(place, previous_rank(place, told), context.now())
                told = place

    @subscription_for(
        Audience.MEMBER,
        description="The viewer's balance: once at the start, then after every change.",
    )
    async def balance_changed(self, info: Info) -> AsyncGenerator[Balance]:
        """Raises Unauthenticated when the user is gone."""
        context = info.context
        user_id = context.require_viewer().user_id
        async with aclosing(context.live.follow_balance(user_id)) as balances:
            async for balance in balances:
                if balance is None:
                    raise Unauthenticated
                context.forget_loaded()
                yield Balance.of(balance)
