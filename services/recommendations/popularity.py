"""What everybody, and what members of each gender and age band, took of late.

By how many members took an item, not how often it was taken: one who takes a hundred is one.
"""

from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy.ext.asyncio import AsyncSession

from services.patient_driver import patient_driver
from services.recommendations.audiences import (
    AGE_BANDS,
    FEWEST_MEMBERS,
    FEWEST_PEERS,
    PEER_DAYS,
    TELLING_GENDERS,
    Window,
)

PLACES = 1_000
"""Of an audience: enough for some that a member can pay for."""
LONGEST_COUNT_S = 300

_TAKEN = """
    SELECT DISTINCT user_id, item_id FROM exchanges
    JOIN exchange_items item ON item.id = item_id AND item.is_active
    WHERE status <> 'cancelled' AND exchanges.created_at > $2
"""
_KEEP = f"""
    INSERT INTO popular_items (run_id, audience, rank, item_id, members)
    SELECT $1, audience, rank, item_id, members FROM (
        SELECT *, row_number() OVER (
            PARTITION BY audience ORDER BY members DESC, item_id) AS rank
        FROM counted
    ) ranked WHERE rank <= {PLACES}
"""
_WINDOW = f"""
    WITH taken AS ({_TAKEN}), counted AS (
        SELECT CAST($3 AS text) AS audience, item_id, count(*) AS members
        FROM taken
        WHERE NOT EXISTS (SELECT FROM users WHERE users.id = user_id AND erased_at IS NOT NULL)
        GROUP BY item_id HAVING count(*) >= {FEWEST_MEMBERS}
    ) {_KEEP}
"""
# Who was erased has neither gender nor year of birth any more.
_PEERS = f"""
    WITH taken AS ({_TAKEN}), known AS (
        SELECT item_id, CASE WHEN gender = ANY(CAST($3 AS text[])) THEN gender END AS gender,
               CASE WHEN birth_year IS NOT NULL THEN (CAST($4 AS int[]))[width_bucket(
                   greatest(CAST($5 AS int) - birth_year, 0), CAST($4 AS int[]))] END AS band
        FROM taken JOIN users ON users.id = user_id
        WHERE gender IS NOT NULL OR birth_year IS NOT NULL
    ), counted AS (
        SELECT concat_ws(':', 'peers', coalesce(gender, 'any'), coalesce(CAST(band AS text), 'any'))
                   AS audience,
               item_id, count(*) AS members
        FROM known
        GROUP BY GROUPING SETS ((gender, band, item_id), (gender, item_id), (band, item_id))
        HAVING count(*) >= {FEWEST_PEERS}
           AND (grouping(gender) = 1 OR gender IS NOT NULL)
           AND (grouping(band) = 1 OR band IS NOT NULL)
    ) {_KEEP}
"""


async def keep_popular(session: AsyncSession, run_id: int, window: Window, now: datetime) -> None:
    """Rank the active items for everybody, over the days of the window."""
    since = now - timedelta(days=window.days)
    await _keep(session, _WINDOW, run_id, since, window.audience)


async def keep_peers(session: AsyncSession, run_id: int, now: datetime, zone: ZoneInfo) -> None:
    """Rank the active items for each gender and age band, for each gender, for each age band."""
    since = now - timedelta(days=PEER_DAYS)
    genders = [str(gender) for gender in TELLING_GENDERS]
    year = now.astimezone(zone).year
    await _keep(session, _PEERS, run_id, since, genders, list(AGE_BANDS), year)


async def _keep(session: AsyncSession, statement: str, *facts: Any) -> None:
    driver = await patient_driver(session, LONGEST_COUNT_S)
    await driver.execute(statement, *facts, timeout=LONGEST_COUNT_S)
