"""What to recommend to whom the mall knows little of (`domain.md`, Recommendations, Cold start).

A ladder of rungs, each for what the ones before leave open: the interests that the member chose,
what people of the same gender and age took, what was popular in the last days, what is like that,
and at last whatever fits the balance best. One statement walks all of them; before the first
training it looks at tags and at the counts of the days instead.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from services.catalogue.items import Item, item_from_row
from services.catalogue.popularity import first_day
from services.exchange.quick_options import BEST_SHARE
from services.recommendations.audiences import LAST_7_DAYS
from services.recommendations.offers import OFFERED, OFFERED_COLUMNS, Budget

_SEEDS = 10
"""How many popular items lead to others that are like them."""


class Rung(IntEnum):
    """Where an item was found, the best first."""

    INTERESTS = 0
    PEERS = 1
    POPULAR = 2
    LIKE_POPULAR = 3
    FITS_BALANCE = 4


@dataclass(frozen=True, slots=True)
class Step:
    """An item on a rung."""

    rung: Rung
    item: Item


@dataclass(frozen=True, slots=True)
class Known:
    """What leads a member up the ladder: folded `interests`, and audiences, the narrowest first.

    `run_id` is the training to go by; None before the first.
    """

    run_id: int | None
    interests: Collection[str] = ()
    peers: Sequence[str] = ()


def _rung(rung: Rung, found: str, key: str) -> str:
    """The items of a source that are offered and not excluded, the least `key` first."""
    return f"""(
        SELECT {rung} AS rung, CAST({key} AS double precision) AS key, {OFFERED_COLUMNS}
        FROM {found}
        WHERE item.id <> ALL(CAST(:excluded_ids AS bigint[])) AND {OFFERED}
        ORDER BY key, item.id LIMIT :most
    )"""


def _popular(rung: Rung, audiences: str) -> str:
    """What audiences took, one after the other: each is walked until enough of it is offered."""
    return f"""(
        SELECT {rung} AS rung, audience.position * 1e9 + item.rank AS key, {OFFERED_COLUMNS}
        FROM {audiences} WITH ORDINALITY AS audience(name, position)
        CROSS JOIN LATERAL (
            SELECT item.*, popular.rank
            FROM popular_items popular JOIN exchange_items item ON item.id = popular.item_id
            WHERE popular.run_id = :run_id AND popular.audience = audience.name
              AND item.id <> ALL(CAST(:excluded_ids AS bigint[])) AND {OFFERED}
            ORDER BY popular.rank LIMIT :most
        ) item
    )"""


_INTERESTS = _rung(
    Rung.INTERESTS,
    """(
        SELECT fitting.item_id, sum(fitting.weight) AS weight
        FROM interest_items
        CROSS JOIN LATERAL unnest(item_ids, weights) AS fitting(item_id, weight)
        WHERE run_id = :run_id AND interest = ANY(CAST(:interests AS text[]))
        GROUP BY fitting.item_id
    ) fit JOIN exchange_items item ON item.id = fit.item_id""",
    "-fit.weight",
)
_PEERS = _popular(Rung.PEERS, "unnest(CAST(:peers AS text[]))")
_POPULAR = _popular(Rung.POPULAR, f"unnest(ARRAY['{LAST_7_DAYS.audience}'])")
_LIKE_POPULAR = _rung(
    Rung.LIKE_POPULAR,
    f"""(
        SELECT alike.item_id, max(alike.weight) AS weight
        FROM (
            SELECT item_id FROM popular_items
            WHERE run_id = :run_id AND audience = '{LAST_7_DAYS.audience}'
            ORDER BY rank LIMIT {_SEEDS}
        ) seed
        JOIN item_neighbours ON run_id = :run_id AND kind = 'content'
                            AND item_neighbours.item_id = seed.item_id
        CROSS JOIN LATERAL unnest(neighbour_ids, weights) AS alike(item_id, weight)
        GROUP BY alike.item_id
    ) alike JOIN exchange_items item ON item.id = alike.item_id""",
    "-alike.weight",
)
_FITS_BALANCE = _rung(
    Rung.FITS_BALANCE, "exchange_items item", "abs(item.points - CAST(:best_points AS float8))"
)
# Before the first training. Folded as `fold_interest` does, but for blanks.
_TAGGED = _rung(
    Rung.INTERESTS,
    """(
        SELECT tagged.id, count(DISTINCT tag) AS tags
        FROM exchange_items tagged CROSS JOIN LATERAL unnest(tagged.tags) tag
        WHERE casefold(normalize(tag, NFKC) COLLATE pg_unicode_fast)
              = ANY(CAST(:interests AS text[]))
        GROUP BY tagged.id
    ) fit JOIN exchange_items item ON item.id = fit.id""",
    "-fit.tags",
)
_EXCHANGED_LATELY = _rung(
    Rung.POPULAR,
    """(
        SELECT item_id, sum(exchanges) AS exchanges FROM item_daily_exchanges
        WHERE day >= CAST(:first_day AS date) GROUP BY item_id HAVING sum(exchanges) > 0
    ) popular JOIN exchange_items item ON item.id = popular.item_id""",
    "-popular.exchanges",
)
_TRAINED = text(" UNION ALL ".join((_INTERESTS, _PEERS, _POPULAR, _LIKE_POPULAR, _FITS_BALANCE)))
_UNTRAINED = text(" UNION ALL ".join((_TAGGED, _EXCHANGED_LATELY, _FITS_BALANCE)))


async def climb(
    session: AsyncSession, budget: Budget, known: Known, most: int, excluded_ids: Collection[int]
) -> list[Step]:
    """At most `most` offered items that are not excluded, from the best rungs, each once."""
    asked: dict[str, Any] = {
        **budget.parameters(),
        "interests": list(known.interests),
        "excluded_ids": list(excluded_ids),
        "most": most,
        "best_points": BEST_SHARE * budget.available,
    }
    if known.run_id is None:
        asked["first_day"] = first_day(budget.now, budget.zone)
        rows = await session.execute(_UNTRAINED, asked)
    else:
        asked |= {"run_id": known.run_id, "peers": list(known.peers)}
        rows = await session.execute(_TRAINED, asked)
    steps: dict[int, Step] = {}
    for row in sorted(rows, key=lambda row: (row.rung, row.key, row.id)):
        steps.setdefault(row.id, Step(Rung(row.rung), item_from_row(row)))
    return list(steps.values())[:most]
