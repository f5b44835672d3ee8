"""Subscriptions: the newest state at once, then whenever it changed."""

from collections.abc import AsyncGenerator
from contextlib import aclosing

import strawberry

from resolvers.access import Audience, subscription_for
from schema.context import Info
from schema.points import Balance
from services.errors import Unauthenticated


@strawberry.type
class LiveSubscription:
    """What can be watched. No session is held and nothing loaded is kept between two events."""

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
