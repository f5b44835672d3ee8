"""Why an item is recommended, in words that are true of it (`domain.md`, Recommendations)."""

from enum import StrEnum

from services.messages import message


class RecommendationReason(StrEnum):
    """Why an item is there (`contract.graphql`, RecommendationReason)."""

    SAME_CATEGORY = "same_category"
    FITS_BALANCE = "fits_balance"
    SIMILAR_USERS = "similar_users"
    MATCHES_INTERESTS = "matches_interests"
    POPULAR_WITH_PEERS = "popular_with_peers"
    POPULAR = "popular"


def reason_message(
    reason: RecommendationReason, locale: str, *, points: int, category: str | None
) -> str:
    """The reason as the member reads it, for an item of that price and category."""
    match reason:
        case RecommendationReason.SAME_CATEGORY:
            return message(
                locale, "More of {category}, like your last exchange.", category=category
            )
        case RecommendationReason.FITS_BALANCE:
            return message(locale, "Your points are enough for it: {points}.", points=points)
        case RecommendationReason.SIMILAR_USERS:
            return message(locale, "Members with a taste like yours are interested in it.")
        case RecommendationReason.MATCHES_INTERESTS:
            return message(locale, "It matches the interests you chose.")
        case RecommendationReason.POPULAR_WITH_PEERS:
            return message(locale, "Popular with members like you.")
        case RecommendationReason.POPULAR:
            return message(locale, "Popular with members of late.")
