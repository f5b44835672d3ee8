"""The few things that a member is most likely to want, and can take now (`domain.md`).

Hybrid first: what the member's own history speaks for. Where that leaves places open, the ladder
of the cold start fills them.
"""

from dataclasses import dataclass

from sqlalchemy.ext.asyncio import AsyncSession

from services.calendar import local_day
from services.catalogue.items import Item
from services.recommendations.affinity import Liked, affinities, liked, loudest
from services.recommendations.ladder import Known, Rung, Step, climb
from services.recommendations.offers import Budget, offered_among
from services.recommendations.reasons import RecommendationReason
from services.recommendations.taste import Taste, read_neighbours, read_taste

MOST_LOOKED_AT = 1_000
"""Of the items that a history speaks for, so many are looked up: most will not fit the balance."""
_REASONS = {
    Rung.INTERESTS: RecommendationReason.MATCHES_INTERESTS,
    Rung.PEERS: RecommendationReason.POPULAR_WITH_PEERS,
    Rung.POPULAR: RecommendationReason.POPULAR,
    Rung.LIKE_POPULAR: RecommendationReason.FITS_BALANCE,
    Rung.FITS_BALANCE: RecommendationReason.FITS_BALANCE,
}


@dataclass(frozen=True, slots=True)
class Recommended:
    """An item, how strongly it is recommended (0 to 1), and the truth about why."""

    item: Item
    score: float
    reason: RecommendationReason


async def recommend(session: AsyncSession, budget: Budget, limit: int) -> list[Recommended]:
    """At most `limit` items, the best first; none for who may not exchange at all.

    Three to five statements, however large the mall is.
    """
    year = local_day(budget.now, budget.zone).year
    taste = await read_taste(session, budget.user_id, budget.now, year)
    if taste.is_suspended or budget.available < 1:
        return []
    chosen = await _by_history(session, budget, taste, limit)
    steps: list[Step] = []
    if len(chosen) < limit:
        known = Known(taste.run_id, taste.leaning.interests, taste.peers)
        taken = [choice.item.id for choice in chosen]
        steps = await climb(session, budget, known, limit - len(chosen), taken)
    return ranked(chosen, steps)


async def _by_history(
    session: AsyncSession, budget: Budget, taste: Taste, limit: int
) -> list[Liked]:
    if not taste.history:
        return []
    neighbours = (
        [] if taste.run_id is None else await read_neighbours(session, taste.run_id, taste.history)
    )
    found = affinities(taste.history, neighbours)
    offered = await offered_among(session, budget, loudest(found, MOST_LOOKED_AT))
    return liked(found, offered, taste.leaning)[:limit]


def ranked(chosen: list[Liked], steps: list[Step]) -> list[Recommended]:
    """One list with falling scores: what a history speaks for in the upper half, then the rungs.

    A score orders and compares a member's own recommendations; it is no probability.
    """
    by_history = [Recommended(c.item, (1 + min(c.score, 1.0)) / 2, c.reason) for c in chosen]
    share = 1 / (2 * (len(steps) + 1))
    climbed = [
        Recommended(step.item, (len(steps) - place) * share, _REASONS[step.rung])
        for place, step in enumerate(steps)
    ]
    return by_history + climbed
