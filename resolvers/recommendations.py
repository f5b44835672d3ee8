"""Root field of recommendations."""

import strawberry

from resolvers.access import Audience, field_for
from schema.context import Info
from schema.recommendations import Recommendation
from services.errors import Unauthenticated
from services.paging import require_page_size
from services.recommendations.offers import Budget
from services.recommendations.recommend import recommend


@strawberry.type
class RecommendationsQuery:
    """What the viewer may want."""

    @field_for(Audience.MEMBER)
    async def recommendations(self, info: Info, limit: int = 5) -> list[Recommendation]:
        """A few items that the viewer is likely to want and can take now, the best first."""
        context = info.context
        size = require_page_size(limit, "limit")
        balance = await context.loaders.balance.load(context.require_viewer().user_id)
        if balance is None:
            raise Unauthenticated
        budget = Budget(balance.user_id, balance.available, context.now(), context.mall.zone)
        async with context.read() as session:
            found = await recommend(session, budget, size)
        return [Recommendation.of(each, context.locale) for each in found]
