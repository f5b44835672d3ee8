"""What is known of a member's taste as of now: a member's own exchange counts at once."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from models.recommendations import NeighbourKind
from services.recommendations.affinity import Leaning, Neighbours, Shown
from services.recommendations.audiences import peer_audiences
from services.recommendations.interactions import (
    HALF_LIFE_DAYS,
    MOST_STRENGTH,
    STRENGTHS,
    Signal,
    decay,
)
from services.recommendations.interests import fold_interest
from services.recommendations.runs import CURRENT_RUN

NEWEST_OF_A_SIGNAL = 30
"""Items that a member exchanged, wished for or viewed last are looked at, so many of each: what is
older hardly counts."""
_LATEST_OF_A_SIGNAL = 200
"""Times that may have been: who looks at one thing again and again is known by others, too."""

_SOURCES = (
    (Signal.EXCHANGE, "exchanges", "item_id", "created_at", "status <> 'cancelled'"),
    (Signal.WISH, "wishes", "item_id", "created_at", "true"),
    (Signal.VIEW, "events", "viewed_item_id", "occurred_at", "viewed_item_id IS NOT NULL"),
)


def _latest(signal: Signal, table: str, item_id: str, at: str, condition: str) -> str:
    """The items of which a member did that last, and when it was done."""
    return f"""(
        SELECT '{signal}' AS signal, item_id, array_agg(at) AS moments
        FROM (SELECT {item_id} AS item_id, {at} AS at FROM {table}
              WHERE user_id = users.id AND {condition}
              ORDER BY {at} DESC LIMIT {_LATEST_OF_A_SIGNAL}) latest
        GROUP BY item_id ORDER BY max(at) DESC, item_id DESC LIMIT {NEWEST_OF_A_SIGNAL}
    )"""


# One row for each item and what the member did with it, each with what is known of the member; one
# at least.
_TASTE = text(
    f"""
    SELECT users.gender, users.birth_year, users.interests,
           coalesce(users.suspended_until > :now, false) AS is_suspended,
           ({CURRENT_RUN}) AS run_id,
           done.signal, done.item_id, done.moments, item.category
    FROM users
    LEFT JOIN LATERAL (
        {" UNION ALL ".join(_latest(*source) for source in _SOURCES)}
    ) done ON true
    LEFT JOIN exchange_items item ON item.id = done.item_id
    WHERE users.id = :user_id
    """
)
_NEIGHBOURS = text(
    """
    SELECT item_id, kind, neighbour_ids, weights FROM item_neighbours
    WHERE run_id = :run_id AND item_id = ANY(CAST(:item_ids AS bigint[]))
    """
)


@dataclass(frozen=True, slots=True)
class Taste:
    """A member as recommendations see one; `run_id` is None before the first training."""

    run_id: int | None
    history: Sequence[Shown]
    leaning: Leaning
    peers: Sequence[str]
    is_suspended: bool


async def read_taste(session: AsyncSession, user_id: int, now: datetime, year: int) -> Taste:
    """A member's taste; `year` is the running one, for the age. One statement."""
    rows = (await session.execute(_TASTE, {"user_id": user_id, "now": now})).all()
    member = rows[0]
    done = [row for row in rows if row.signal is not None]
    exchanges = [row for row in done if row.signal == Signal.EXCHANGE]
    last = max(exchanges, key=lambda row: max(row.moments), default=None)
    return Taste(
        run_id=member.run_id,
        history=_history(done, now),
        leaning=Leaning(
            None if last is None else last.category,
            frozenset(map(fold_interest, member.interests)),
        ),
        peers=peer_audiences(member.gender, member.birth_year, year),
        is_suspended=member.is_suspended,
    )


def _history(done: Sequence[Any], now: datetime) -> list[Shown]:
    """By item what was shown for it, decayed and bounded as in training."""
    strengths: dict[int, float] = {}
    taken: set[int] = set()
    for row in done:
        ages_s = np.array([(now - at).total_seconds() for at in row.moments])
        left = float(decay(ages_s, HALF_LIFE_DAYS).sum())
        strength = STRENGTHS[Signal(row.signal)] * left
        strengths[row.item_id] = strengths.get(row.item_id, 0.0) + strength
        if row.signal == Signal.EXCHANGE:
            taken.add(row.item_id)
    return [
        Shown(item_id, min(strength, MOST_STRENGTH), item_id in taken)
        for item_id, strength in strengths.items()
    ]


async def read_neighbours(
    session: AsyncSession, run_id: int, history: Iterable[Shown]
) -> list[Neighbours]:
    """What the items of a history speak for, by a training. One statement."""
    asked = {"run_id": run_id, "item_ids": [shown.item_id for shown in history]}
    return [
        Neighbours(row.item_id, NeighbourKind(row.kind), row.neighbour_ids, row.weights)
        for row in await session.execute(_NEIGHBOURS, asked)
    ]
