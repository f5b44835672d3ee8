"""What a training found, as tests want it: rows of a run that is ready."""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import insert

from models.recommendations import (
    InterestItems,
    ItemNeighbours,
    NeighbourKind,
    PopularItem,
    RecommendationRun,
)
from services.mall import Mall
from services.recommendations.audiences import LAST_7_DAYS
from services.transaction import transaction

Weights = Mapping[int, float]
"""By item."""


async def add_run(
    mall: Mall,
    *,
    collaborative: Mapping[int, Weights] | None = None,
    content: Mapping[int, Weights] | None = None,
    interests: Mapping[str, Weights] | None = None,
    popular: Sequence[int] = (),
    peers: Mapping[str, Sequence[int]] | None = None,
) -> int:
    """A finished training; what it found is what the newest of them says. Returns its id."""
    kinds = {NeighbourKind.COLLABORATIVE: collaborative, NeighbourKind.CONTENT: content}
    neighbours = [
        {"item_id": item_id, "kind": kind, **_listed("neighbour_ids", weights)}
        for kind, found in kinds.items()
        for item_id, weights in (found or {}).items()
    ]
    fitting = [
        {"interest": interest, **_listed("item_ids", weights)}
        for interest, weights in (interests or {}).items()
    ]
    audiences = {LAST_7_DAYS.audience: popular, **(peers or {})}
    places = [
        {"audience": name, "rank": rank, "item_id": item_id, "members": 1_000 - rank}
        for name, item_ids in audiences.items()
        for rank, item_id in enumerate(item_ids, 1)
    ]
    async with transaction(mall.stores.write) as session:
        now = mall.clock()
        run = {"state": "ready", "started_at": now, "finished_at": now}
        statement = insert(RecommendationRun).values(run).returning(RecommendationRun.id)
        run_id = (await session.execute(statement)).scalar_one()
        tables = ((ItemNeighbours, neighbours), (InterestItems, fitting), (PopularItem, places))
        for table, rows in tables:
            if rows:
                await session.execute(insert(table), [{"run_id": run_id, **row} for row in rows])
        return run_id


def _listed(ids: str, weights: Weights) -> dict[str, Any]:
    return {ids: list(weights), "weights": list(weights.values())}
