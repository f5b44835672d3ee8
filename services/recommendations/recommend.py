"""The few things that a member is most likely to want, and can take now (`domain.md`).

Hybrid first: what the member's own history speaks for. Where that leaves places open, the ladder
of the cold start fills them.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy.ext.asyncio import AsyncSession

from services.calendar import local_day
from services.catalogue.items import Item
from services.recommendations.affinity import reason_for, wanted
from services.recommendations.ladder import Known, Rung, Step, climb
from services.recommendations.offers import Budget, first_offered
from services.recommendations.reasons import RecommendationReason
from services.recommendations.taste import Taste, read_neighbours, read_taste

MOST_LOOKED_AT = 1_000
"""Of the items that a history speaks for, so many are looked up: most will not fit the balance."""
_REASONS = {
    Rung.INTERESTS: RecommendationReason.MATCHES_INTERESTS,
    Rung.PEERS: RecommendationReason.POPULAR_WITH_PEERS,
    Rung.POPULAR: RecommendationReason.POPULAR,
    Rung.LIKE_THESE: RecommendationReason.FITS_BALANCE,
    Rung.POPULAR_BEFORE: RecommendationReason.POPULAR,
    Rung.FITS_BALANCE: RecommendationReason.FITS_BALANCE,
}


@dataclass(frozen=True, slots=True)
class Recommended:
    """An item, how strongly it is recommended (0 to 1), and the truth about why.

    A score orders and compares one member's recommendations; it is no probability.
    """

    item: Item
    score: float
    reason: RecommendationReason


async def recommend(session: AsyncSession, budget: Budget, limit: int) -> list[Recommended]:
    """At most `limit` items, the best first; none for who may not exchange at all.

    Two to five statements, however large the mall is.
    """
    year = local_day(budget.now, budget.zone).year
    taste = await read_taste(session, budget.user_id, budget.now, year)
    if taste.is_suspended or budget.available < 1:
        return []
    chosen = await _by_history(session, budget, taste, limit)
    if len(chosen) == limit:
        return chosen
    known = Known(taste.run_id, taste.leaning.interests, taste.peers)
    steps = await climb(
        session, budget, known, limit - len(chosen), [each.item.id for each in chosen]
    )
    return chosen + climbed(steps)


async def _by_history(
    session: AsyncSession, budget: Budget, taste: Taste, limit: int
) -> list[Recommended]:
    if not taste.history:
        return []
    neighbours = (
        [] if taste.run_id is None else await read_neighbours(session, taste.run_id, taste.history)
    )
    found = {each.item_id: each for each in wanted(taste.history, neighbours, MOST_LOOKED_AT)}
    items = await first_offered(session, budget, list(found), limit)
    return [
        Recommended(
            item, _upper_half(found[item.id].score), reason_for(item, found[item.id], taste.leaning)
        )
        for item in items
    ]


def _upper_half(score: float) -> float:
    """A score of 0 to 1 among those above 0.5: whatever a history speaks for comes first."""
    return (1 + min(score, 1.0)) / 2


def climbed(steps: Sequence[Step]) -> list[Recommended]:
    """What the ladder adds, with scores that fall from below 0.5."""
    share = 1 / (2 * (len(steps) + 1))
    return [
        Recommended(step.item, (len(steps) - place) * share, _REASONS[step.rung])
        for place, step in enumerate(steps)
    ]
