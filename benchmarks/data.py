"""A mall of any size, made by the database itself: members with lots, items with stock."""

import json
from pathlib import Path

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from services.catalogue.search import search_document

LOTS_A_USER = 8
LOT_POINTS = 450
ITEM_POINTS = 100
"""Four exchanges in five draw from one lot, the fifth from two or empties one."""

_STATEMENTS = (
    """
    INSERT INTO exchange_items (name, points, stock, total_stock, type, config, category, search)
    SELECT 'item ' || n, {item_points}, 1000000000, 1000000000, 'virtual',
           jsonb_build_object('note', 'bench'),
           'category ' || n % 12,
           setweight(to_tsvector('simple', 'item ' || n), 'A')
    FROM generate_series(1, {items}) n
    """,
    """
    INSERT INTO users (external_id, username, locale, timezone, points, lifetime_earned,
                       audit_sequence, ranked_points, ranked_at)
    SELECT 'bench-' || n, 'bench ' || n, 'zh-CN', 'Asia/Shanghai', {lots} * {lot_points},
           {lots} * {lot_points}, {lots}, {lots} * {lot_points}, now()
    FROM generate_series(1, {users}) n
    """,
    """
    INSERT INTO points_records (id, user_id, points, original_points, source, status, expires_at,
                                created_at)
    SELECT uuidv7(), n, {lot_points}, {lot_points}, 'bench', 'active',
           now() + make_interval(days => 30 * lot), now()
    FROM generate_series(1, {users}) n, generate_series(1, {lots}) lot
    """,
    """
    INSERT INTO points_audit_log (user_id, sequence, action, amount, points_before, points_after,
                                  source, details, created_at, created_by)
    SELECT n, lot, 'earn', {lot_points}, (lot - 1) * {lot_points}, lot * {lot_points}, 'bench',
           '{}', now(), 'bench'
    FROM generate_series(1, {users}) n, generate_series(1, {lots}) lot
    """,
    """
    INSERT INTO daily_earnings (user_id, day, points, last_at)
    SELECT n, CAST(now() AT TIME ZONE 'Asia/Shanghai' AS date), {lots} * {lot_points}, now()
    FROM generate_series(1, {users}) n
    """,
    """
    INSERT INTO tasks (name, points_reward, frequency, config)
    SELECT 'task ' || n, 10, (ARRAY['daily', 'weekly', 'once'])[n % 3 + 1], '{}'
    FROM generate_series(1, 12) n
    """,
)

_DEMO_ITEMS = Path(__file__).parents[1] / "dev" / "demo" / "items.json"
_BATCH = 10_000
"""Items an INSERT, which stays far below the time that a statement may take."""

_SEARCHABLE = text(
    """
    INSERT INTO exchange_items (name, description, category, tags, points, stock, total_stock, type,
                                config, created_at, search)
    SELECT entry ->> 'name' || ' ' || n, entry ->> 'description', entry ->> 'category',
           ARRAY(SELECT jsonb_array_elements_text(entry -> 'tags')), 1 + n % 5000, 10, 10,
           'virtual', '{}', now() - n * interval '1 minute',
           CAST(entry ->> 'search' AS tsvector)
               || setweight(to_tsvector('simple', CAST(n AS text)), 'A')
    FROM generate_series(CAST(:first AS integer), CAST(:last AS integer)) n
    JOIN jsonb_array_elements(CAST(:entries AS jsonb)) WITH ORDINALITY AS demo(entry, place)
      ON place = 1 + n % :length
    """
)

# Only these: a table vacuumed while empty is planned for as empty until it is analysed again.
_FILLED = (
    "exchange_items",
    "users",
    "points_records",
    "points_audit_log",
    "daily_earnings",
    "tasks",
)


async def fill(engine: AsyncEngine, *, users: int, items: int) -> None:
    """Fill an empty, migrated database; user n has the external id `bench-n`."""
    numbers = {
        "users": users,
        "items": items,
        "lots": LOTS_A_USER,
        "lot_points": LOT_POINTS,
        "item_points": ITEM_POINTS,
    }
    async with engine.begin() as connection:
        await connection.execute(text("SET LOCAL statement_timeout = 0"))
        for statement in _STATEMENTS:
            await connection.execute(text(statement.replace("'{}'", "'{{}}'").format(**numbers)))
    async with engine.connect() as connection:
        await connection.execution_options(isolation_level="AUTOCOMMIT")
        await connection.execute(text(f"VACUUM ANALYZE {', '.join(_FILLED)}"))


async def fill_searchable(engine: AsyncEngine, *, items: int) -> None:
    """Add items with the texts of the demo mall's, each with a number that no other has."""
    entries = json.loads(_DEMO_ITEMS.read_text())
    for entry in entries:
        entry["search"] = search_document(
            entry["name"], entry["description"], entry["category"], entry["tags"]
        )
    same = {"entries": json.dumps(entries), "length": len(entries)}
    async with engine.begin() as connection:
        for first in range(1, items + 1, _BATCH):
            last = min(first + _BATCH - 1, items)
            await connection.execute(_SEARCHABLE, {"first": first, "last": last, **same})
    async with engine.connect() as connection:
        await connection.execution_options(isolation_level="AUTOCOMMIT")
        await connection.execute(text("VACUUM ANALYZE exchange_items"))
