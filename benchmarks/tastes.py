"""Interactions of many members, made by the database itself: what there is to recommend by.

Members and items are of tastes; of ten interactions seven are within one's own, and in each taste
some items are far more popular than others. Exchanges are there for what they say of tastes only:
no points paid for them.
"""

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

TASTES = 50
_SHARES = {"exchanges": 0.3, "wishes": 0.2, "events": 0.5}

# The k-th item of a taste is (k * tastes + taste); squaring a chance makes small k likely.
_CHOSEN = """
    SELECT n, 1 + (n * 7919) % {users} AS user_id,
           1 + LEAST({items} - 1, {tastes} * floor(power(random(), 2) * {items} / {tastes})::bigint
               + CASE WHEN random() < 0.7 THEN (1 + (n * 7919) % {users}) % {tastes}
                      ELSE floor(random() * {tastes})::bigint END) AS item_id,
           now() - random() * interval '180 days' AS at
    FROM generate_series(CAST(1 AS bigint), {rows}) n
"""
_STATEMENTS = {
    "exchanges": """
        INSERT INTO exchanges (id, user_id, item_id, audit_sequence, points, status, created_at,
                               updated_at)
        SELECT uuidv7(), user_id, item_id, n, 1, 'completed', at, at FROM ({chosen}) chosen
    """,
    "wishes": """
        INSERT INTO wishes (user_id, item_id, created_at)
        SELECT user_id, item_id, at FROM ({chosen}) chosen ON CONFLICT DO NOTHING
    """,
    "events": """
        INSERT INTO events (event_id, user_id, type, occurred_at, attributes, viewed_item_id,
                            recorded_at)
        SELECT 'bench-' || n, user_id, 'view', at, '{{}}', item_id, at FROM ({chosen}) chosen
    """,
}


async def fill_tastes(engine: AsyncEngine, *, users: int, items: int, interactions: int) -> None:
    """Let the first `users` members of a filled mall show interest in its first `items`."""
    async with engine.begin() as connection:
        await connection.execute(text("SET LOCAL statement_timeout = 0"))
        # No audit row pays for these exchanges: nothing but their tastes is looked at.
        await connection.execute(text("SET LOCAL session_replication_role = replica"))
        await connection.execute(text("SELECT setseed(0.5)"))
        for table, share in _SHARES.items():
            rows = int(interactions * share)
            chosen = _CHOSEN.format(users=users, items=items, tastes=TASTES, rows=rows)
            await connection.execute(text(_STATEMENTS[table].format(chosen=chosen)))
    async with engine.connect() as connection:
        await connection.execution_options(isolation_level="AUTOCOMMIT")
        await connection.execute(text(f"VACUUM ANALYZE {', '.join(_SHARES)}"))
