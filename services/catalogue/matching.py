"""The items that a search finds, as SQL: always through the index, whatever the order."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import (
    CTE,
    BigInteger,
    ColumnElement,
    Subquery,
    and_,
    cast,
    exists,
    func,
    literal,
    null,
    select,
    true,
    union_all,
)
from sqlalchemy.dialects.postgresql import ARRAY, REAL, TSQUERY

from models.catalogue import ExchangeItem
from services.catalogue.search import SearchQuery

_ITEMS = ExchangeItem.__table__.c
_DESCRIPTION, _MISTYPED, _TAGS, _NAME = 0.1, 0.05, 0.4, 1.0
_WEIGHTS = cast([_DESCRIPTION, _MISTYPED, _TAGS, _NAME], ARRAY(REAL))
_SCALE = 1_000_000_000


def relevance(query: SearchQuery) -> ColumnElement[int]:
    """How well an item answers, in billionths: a whole number, so that a cursor holds it exactly.

    It depends on the item and the query alone, so it is the same on every page.
    """
    rank = func.ts_rank(_WEIGHTS, _ITEMS.search, _tsquery(query.ranking))
    return cast(rank * _SCALE, BigInteger)


def matches(
    query: SearchQuery,
    listed: Sequence[ColumnElement[bool]],
    wanted: Sequence[ColumnElement[bool]],
    order_key: ColumnElement[Any] | None,
) -> Subquery:
    """A subquery (id, order_key, is_wanted) over the listed items that the search finds.

    The first stage that finds any listed item counts, whether it is wanted or not: a filter narrows
    what is found and never brings in what was not.
    """
    key = null() if order_key is None else order_key
    columns = (_ITEMS.id, key.label("order_key"), and_(true(), *wanted).label("is_wanted"))
    if not query.stages:
        return select(*columns).where(literal(value=False)).subquery("matches")
    stages: list[CTE] = []
    for number, condition in enumerate(query.stages):
        statement = select(*columns).where(*listed, _ITEMS.search.op("@@")(_tsquery(condition)))
        # Uncorrelated, so decided once: a stage is not run at all when one before it found items.
        statement = statement.where(*(~exists(select(stage.c.id)) for stage in stages))
        stages.append(_fenced(statement, f"stage_{number}"))
    return union_all(*(select(*stage.c) for stage in stages)).subquery("matches")


def _fenced(statement: Any, name: str) -> CTE:
    """Planned by itself.

    Plans are made without looking at the search, which is guessed to find one item in two hundred.
    With an order and a limit in sight the planner may rather walk the index of that order until it
    has met enough: all of it, when few items are found (69 ms against 0.03, 100,000 items).
    """
    return statement.cte(name).prefix_with("MATERIALIZED")


def _tsquery(text: str) -> ColumnElement[Any]:
    return cast(literal(text), TSQUERY)
