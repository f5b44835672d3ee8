"""What to recommend to whom the mall knows little of (`domain.md`, Recommendations, Cold start).

A ladder of rungs, each for what the ones before leave open: the interests that the member chose,
what people of the same gender and age took, what was popular in the last days, what is like all
that, what was popular before, and at last whatever fits the balance best. One statement walks the
upper rungs; another, only where they leave places open, the lower ones. Before the first training
the latest exchanges say what is popular.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import timedelta
from enum import IntEnum
from math import ceil
from typing import Any

from sqlalchemy import TextClause, text
from sqlalchemy.ext.asyncio import AsyncSession

from services.catalogue.items import Item, item_from_row
from services.catalogue.popularity import POPULARITY_DAYS
from services.exchange.quick_options import BEST_SHARE
from services.recommendations.audiences import FEWEST_MEMBERS, LAST_7_DAYS, LAST_30_DAYS
from services.recommendations.offers import OFFERED, OFFERED_COLUMNS, Budget

_SEEDS = 10
"""How many popular items, and how many that fit the interests, lead to others like them."""
_LATEST_EXCHANGES = 2_000
"""Of the whole mall: so many tell what is popular before the first training, whatever it sold."""


class Rung(IntEnum):
    """Where an item was found, the best first."""

    INTERESTS = 0
    PEERS = 1
    POPULAR = 2
    LIKE_THESE = 3
    POPULAR_BEFORE = 4
    FITS_BALANCE = 5


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


_STILL_OFFERED = f"item.id <> ALL(CAST(:excluded_ids AS bigint[])) AND {OFFERED}"


def _rung(rung: Rung, found: str, key: str) -> str:
    """The items of a source that are offered and not excluded, the least `key` first."""
    return f"""(
        SELECT {rung} AS rung, CAST({key} AS double precision) AS key, item.id AS tie,
               {OFFERED_COLUMNS}
        FROM {found}
        WHERE {_STILL_OFFERED}
        ORDER BY key, tie LIMIT :most
    )"""


def _popular(rung: Rung, audiences: str) -> str:
    """What audiences took, one after the other: each is walked until enough of it is offered."""
    return f"""(
        SELECT {rung} AS rung, audience.position * 1e9 + item.rank AS key, item.id AS tie,
               {OFFERED_COLUMNS}
        FROM {audiences} WITH ORDINALITY AS audience(name, position)
        CROSS JOIN LATERAL (
            SELECT item.*, popular.rank
            FROM popular_items popular JOIN exchange_items item ON item.id = popular.item_id
            WHERE popular.run_id = :run_id AND popular.audience = audience.name
              AND {_STILL_OFFERED}
            ORDER BY popular.rank LIMIT :most
        ) item
    )"""


def _walk(condition: str, key: str, tie: str, order: str) -> str:
    """What is nearest to the best price on one side, read by the index as far as is needed."""
    return f"""(
        SELECT {Rung.FITS_BALANCE} AS rung, CAST({key} AS double precision) AS key, {tie} AS tie,
               {OFFERED_COLUMNS}
        FROM exchange_items item
        WHERE {condition} AND {_STILL_OFFERED}
        ORDER BY {order} LIMIT :most
    )"""


_FITTING = """
    SELECT fitting.item_id, sum(fitting.weight) AS weight
    FROM interest_items
    CROSS JOIN LATERAL unnest(item_ids, weights) AS fitting(item_id, weight)
    WHERE run_id = :run_id AND interest = ANY(CAST(:interests AS text[]))
    GROUP BY fitting.item_id
"""
# What the night knew of items: their weight for the interests, and places among the popular.
_KNOWN = f"""
    UNION ALL SELECT item_id, false, weight, NULL FROM ({_FITTING}) fitting
    UNION ALL SELECT item_id, false, 0, rank FROM popular_items
    WHERE run_id = :run_id AND audience = '{LAST_7_DAYS.audience}'
"""


def _interests(known: str) -> str:
    """What bears an interest now, in the order of what is `known`.

    OFFSET 0 keeps the steps apart, whatever the planner thinks of an interest that it does not
    know yet: what bears it is found by its index, then ordered, then looked up in that order until
    enough of it is offered.
    """
    return f"""(
        SELECT {Rung.INTERESTS} AS rung, fit.place AS key, item.id AS tie, {OFFERED_COLUMNS}
        FROM (
            SELECT item_id, row_number() OVER (
                ORDER BY sum(weight) DESC, min(rank), item_id) AS place
            FROM (
                (SELECT id AS item_id, true AS is_borne, CAST(0 AS real) AS weight,
                        CAST(NULL AS integer) AS rank
                 FROM (SELECT id, points FROM exchange_items
                       WHERE is_active AND folded_interests(tags, category)
                             && CAST(:interests AS text[])
                       OFFSET 0) bearing
                 WHERE points BETWEEN CAST(:least_points AS bigint)
                                  AND CAST(:most_points AS bigint))
                {known}
            ) told
            GROUP BY item_id HAVING bool_or(is_borne)
            ORDER BY place OFFSET 0
        ) fit
        CROSS JOIN LATERAL (SELECT * FROM exchange_items WHERE id = fit.item_id OFFSET 0) item
        WHERE {_STILL_OFFERED}
        ORDER BY fit.place LIMIT :most
    )"""


_INTERESTS = _interests(_KNOWN)
_PEERS = _popular(Rung.PEERS, "unnest(CAST(:peers AS text[]))")
_POPULAR = _popular(Rung.POPULAR, f"unnest(ARRAY['{LAST_7_DAYS.audience}'])")
_POPULAR_BEFORE = _popular(Rung.POPULAR_BEFORE, f"unnest(ARRAY['{LAST_30_DAYS.audience}'])")
_LIKE_THESE = _rung(
    Rung.LIKE_THESE,
    f"""(
        SELECT alike.item_id, max(alike.weight) AS weight
        FROM (
            (SELECT item_id FROM popular_items
             WHERE run_id = :run_id AND audience = '{LAST_7_DAYS.audience}'
             ORDER BY rank LIMIT {_SEEDS})
            UNION
            (SELECT item_id FROM ({_FITTING}) fit ORDER BY weight DESC, item_id LIMIT {_SEEDS})
        ) seed
        JOIN item_neighbours ON run_id = :run_id AND kind = 'content'
                            AND item_neighbours.item_id = seed.item_id
        CROSS JOIN LATERAL unnest(neighbour_ids, weights) AS alike(item_id, weight)
        GROUP BY alike.item_id
    ) alike JOIN exchange_items item ON item.id = alike.item_id""",
    "-alike.weight",
)
_BEST = "CAST(:best_points AS bigint)"
_DEARER = _walk(
    f"item.points >= {_BEST}", f"item.points - {_BEST}", "item.id", "item.points, item.id"
)
_CHEAPER = _walk(
    f"item.points < {_BEST}",
    f"{_BEST} - item.points",
    "-item.id",
    "item.points DESC, item.id DESC",
)
# Before the first training.
_ONLY_TAGGED = _interests("")
# Ids of exchanges rise with time.
_EXCHANGED_LATELY = _rung(
    Rung.POPULAR,
    f"""(
        SELECT item_id, count(DISTINCT user_id) AS members
        FROM (SELECT * FROM exchanges ORDER BY id DESC LIMIT {_LATEST_EXCHANGES}) latest
        WHERE status <> 'cancelled' AND created_at > CAST(:since AS timestamptz)
        GROUP BY item_id HAVING count(DISTINCT user_id) >= {FEWEST_MEMBERS}
    ) popular JOIN exchange_items item ON item.id = popular.item_id""",
    "-popular.members",
)


def _ladder(*rungs: str) -> TextClause:
    return text(" UNION ALL ".join(rungs))


_TRAINED = (
    _ladder(_INTERESTS, _PEERS, _POPULAR),
    _ladder(_LIKE_THESE, _POPULAR_BEFORE, _DEARER, _CHEAPER),
)
_UNTRAINED = (_ladder(_ONLY_TAGGED, _EXCHANGED_LATELY), _ladder(_DEARER, _CHEAPER))


async def climb(
    session: AsyncSession, budget: Budget, known: Known, most: int, excluded_ids: Collection[int]
) -> list[Step]:
    """At most `most` offered items that are not excluded, from the best rungs, each once.

    One statement, or two where the upper rungs leave places open.
    """
    asked: dict[str, Any] = {
        **budget.parameters(),
        "interests": list(known.interests),
        "excluded_ids": list(excluded_ids),
        "most": most,
        "best_points": ceil(BEST_SHARE * budget.available),
    }
    if known.run_id is None:
        asked["since"] = budget.now - timedelta(days=POPULARITY_DAYS)
    else:
        asked |= {"run_id": known.run_id, "peers": list(known.peers)}
    steps: dict[int, Step] = {}
    for rungs in _UNTRAINED if known.run_id is None else _TRAINED:
        if len(steps) < most:
            rows = await session.execute(rungs, asked)
            for row in sorted(rows, key=lambda row: (row.rung, row.key, row.tie)):
                steps.setdefault(row.id, Step(Rung(row.rung), item_from_row(row)))
    return list(steps.values())[:most]
