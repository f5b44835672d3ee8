"""What the mall thinks a member will like, and why it says so."""

import strawberry

from schema.catalogue import ExchangeItem
from services.recommendations.reasons import RecommendationReason, reason_message
from services.recommendations.recommend import Recommended

strawberry.enum(RecommendationReason)


@strawberry.type
class Recommendation:
    """An item that the viewer can take now, and is likely to want."""

    item: ExchangeItem
    score: float = strawberry.field(description="Between 0 and 1; higher first.")
    reason: RecommendationReason
    message: str = strawberry.field(description="The reason in the member's language.")

    @classmethod
    def of(cls, recommended: Recommended, locale: str) -> "Recommendation":
        """The contract's view of a recommendation, in the member's language."""
        item = recommended.item
        return cls(
            item=ExchangeItem.of(item),
            score=recommended.score,
            reason=recommended.reason,
            message=reason_message(
                recommended.reason, locale, points=item.points, category=item.category
            ),
        )
