"""Migrations: up from nothing, equal to the models, down and up again; and what they forbid."""

from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, inspect, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine

from alembic import command
from models import Base
from models.migrations import alembic_config, is_current, migrate
from models.stores import create_engine
from services.mall import Mall
from settings import StoreSettings
from tests.client import Client
from tests.factories import add_item, add_user, execute, give_points
from tests.journeys.steps import exchange

_MEMBERS_OF_BEFORE = """
    INSERT INTO users (id, external_id, username, locale, timezone) OVERRIDING SYSTEM VALUE
    VALUES (1, 'a', 'a', 'en', 'UTC'), (2, 'b', 'b', 'en', 'UTC')
"""
_LOG_OF_BEFORE = """
    INSERT INTO points_audit_log (user_id, sequence, action, amount, points_before, points_after,
                                  source, details, created_at, created_by)
    VALUES (1, 1, 'earn', 50, 0, 50, 'opening_balance', '{}', '2026-11-19T15:00Z', 'import'),
           (1, 2, 'earn', 10, 50, 60, 'task', '{}', '2026-11-19T15:59:59Z', 'user:1'),
           (1, 3, 'earn', 7, 60, 67, 'task', '{}', '2026-11-19T16:00Z', 'user:1'),
           (1, 4, 'redeem', -9, 67, 58, 'exchange', '{}', '2026-11-19T17:00Z', 'user:1'),
           (1, 5, 'reverse', -3, 58, 55, 'shop', '{}', '2026-11-19T18:00Z', 'service:2')
"""


@pytest.fixture
async def engine(empty_database_url: str) -> AsyncIterator[AsyncEngine]:
    """A database without any table."""
    engine = create_engine(StoreSettings(database_url=empty_database_url))
    yield engine
    await engine.dispose()


async def run(engine: AsyncEngine, act: Callable[[Connection], Any]) -> Any:
    """Do something on a connection, in a transaction."""
    async with engine.begin() as connection:
        return await connection.run_sync(act)


def tables(connection: Connection) -> set[str]:
    """The tables there are."""
    return set(inspect(connection).get_table_names())


def differences(connection: Connection) -> list[Any]:
    """What would have to be done to make the database what the models say."""
    options = {"compare_type": True, "compare_server_default": True}
    context = MigrationContext.configure(connection, opts=options)
    return compare_metadata(context, Base.metadata)


def constraints(connection: Connection) -> set[tuple[str, str, str]]:
    """Every constraint, as PostgreSQL understands it: a comparison by Alembic leaves CHECKs out."""
    rows = connection.execute(
        text(
            "SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid)"
            " FROM pg_constraint WHERE connamespace = 'public'::regnamespace"
            " AND conrelid <> 'alembic_version'::regclass"
        )
    )
    return {(row[0], row[1], row[2]) for row in rows}


def indexes(connection: Connection) -> set[tuple[str, str]]:
    """Every index, with its condition."""
    rows = connection.execute(
        text(
            "SELECT indexname, indexdef FROM pg_indexes"
            " WHERE schemaname = 'public' AND tablename <> 'alembic_version'"
        )
    )
    return {(row[0], row[1]) for row in rows}


def downgrade(connection: Connection) -> None:
    """Back to nothing."""
    config = alembic_config()
    config.attributes["connection"] = connection
    command.downgrade(config, "base")


async def _is_current(engine: AsyncEngine) -> bool:
    async with engine.connect() as connection:
        return await is_current(connection)


async def test_migrations_make_what_the_models_say(engine: AsyncEngine) -> None:
    """From an empty database; no difference is left."""
    assert await run(engine, tables) == set()
    assert not await _is_current(engine)
    await migrate(engine)
    assert await _is_current(engine)
    assert await run(engine, differences) == []
    assert await run(engine, tables) == {*Base.metadata.tables, "alembic_version"}


async def test_constraints_and_indexes_are_those_of_the_models(engine: AsyncEngine) -> None:
    """CHECKs and conditions of indexes too, compared with tables made from the models."""
    await migrate(engine)
    migrated = await run(engine, constraints), await run(engine, indexes)
    async with engine.begin() as connection:
        for table in reversed(Base.metadata.sorted_tables):
            await connection.execute(text(f"DROP TABLE {table.name} CASCADE"))
        await connection.run_sync(Base.metadata.create_all)
    assert await run(engine, constraints) == migrated[0]
    assert await run(engine, indexes) == migrated[1]


async def test_migrations_go_down_and_up_again(engine: AsyncEngine) -> None:
    """Nothing is left behind that would stand in the way: no table, function or type."""
    await migrate(engine)
    await run(engine, downgrade)
    assert await run(engine, tables) == {"alembic_version"}
    left = text("SELECT proname FROM pg_proc WHERE pronamespace = 'public'::regnamespace")
    assert await run(engine, lambda connection: connection.execute(left).all()) == []
    assert not await _is_current(engine)
    await migrate(engine)
    assert await run(engine, differences) == []


async def test_each_migration_goes_down_alone(engine: AsyncEngine) -> None:
    """Step by step, from the newest to the first and back."""
    revisions = list(ScriptDirectory.from_config(alembic_config()).walk_revisions())
    for revision in reversed(revisions):
        await migrate(engine, revision.revision)

        def down_and_up(connection: Connection, target: str = revision.revision) -> None:
            config = alembic_config()
            config.attributes["connection"] = connection
            command.downgrade(config, "-1")
            connection.commit()
            command.upgrade(config, target)

        async with engine.connect() as connection:
            await connection.run_sync(down_and_up)
    assert await _is_current(engine)


async def test_items_of_before_can_be_searched(engine: AsyncEngine) -> None:
    """More than one batch of them, with texts and without; what they are found by is the same."""
    await migrate(engine, "0003")
    insert_items = text(
        """
        INSERT INTO exchange_items
            (name, description, category, tags, points, stock, total_stock, type)
        SELECT '绿茶 ' || n, CASE WHEN n % 2 = 0 THEN E'Kindle''s \\\\ ' END,
               CASE WHEN n % 3 = 0 THEN '美食' END,
               CASE WHEN n % 5 = 0 THEN ARRAY['茶叶', '送礼'] ELSE '{}' END, 1, 1, 1, 'virtual'
        FROM generate_series(1, 2500) n
        """
    )
    await run(engine, lambda connection: connection.execute(insert_items))
    await migrate(engine)
    alike = text(
        """
        SELECT count(*) FROM exchange_items
        WHERE search @@ '绿茶' AND search @@ CAST(id AS text)::tsquery
          AND (search @@ 'kindle') = (id % 2 = 0) AND (search @@ '美食') = (id % 3 = 0)
          AND (search @@ '茶叶 & 送礼') = (id % 5 = 0)
        """
    )
    assert await run(engine, lambda connection: connection.execute(alike).scalar_one()) == 2500


async def test_points_of_before_stand_on_boards(engine: AsyncEngine) -> None:
    """By the mall's days; what was not earned here, spent or lost does not count."""
    await migrate(engine, "0016")
    for statement in (_MEMBERS_OF_BEFORE, _LOG_OF_BEFORE):
        await run(engine, lambda connection, sql=statement: connection.execute(text(sql)))
    await migrate(engine)
    days = text("SELECT user_id, CAST(day AS text), points FROM daily_earnings ORDER BY day")
    totals = text("SELECT ranked_points, CAST(ranked_at AS text) FROM users ORDER BY id")
    assert await run(engine, lambda connection: connection.execute(days).all()) == [
        (1, "2026-11-19", 10),
        (1, "2026-11-20", 4),
    ]
    assert await run(engine, lambda connection: connection.execute(totals).all()) == [
        (14, "2026-11-19 18:00:00+00"),
        (0, None),
    ]


_MEMBER_OF_BEFORE = """
    INSERT INTO users (external_id, username, locale, timezone, points, lifetime_earned,
                       lifetime_redeemed, audit_sequence)
    VALUES ('alice', 'alice', 'en', 'UTC', 70, 100, 30, 2);
    INSERT INTO points_records (id, user_id, points, original_points, source, status, created_at)
    VALUES ('00000000-0000-7000-8000-000000000001', 1, 70, 100, 'opening_balance', 'active', now());
    INSERT INTO points_audit_log (user_id, sequence, action, amount, points_before, points_after,
                                  source, details, created_at, created_by)
    VALUES (1, 1, 'earn', 100, 0, 100, 'opening_balance', '{}', now(), 'import'),
           (1, 2, 'redeem', -30, 100, 70, 'exchange', '{}', now(), 'user:1');
    INSERT INTO exchange_items (name, points, stock, total_stock, type, search)
    VALUES ('tea', 10, 1, 1, 'virtual', '');
    INSERT INTO exchanges (id, user_id, item_id, audit_sequence, points, status, created_at,
                           updated_at, cancelled_at, refunded_points, lapsed_points)
    VALUES (uuidv7(), 1, 1, 1, 10, 'cancelled', now(), now(), now(), 10, 0),
           (uuidv7(), 1, 1, 2, 10, 'completed', now(), now(), NULL, NULL, NULL);
    INSERT INTO tasks (name, points_reward, frequency) VALUES ('read', 1, 'daily');
    INSERT INTO user_tasks (user_id, task_id, period_start, progress) VALUES (1, 1, now(), 1);
    INSERT INTO check_ins
    VALUES (1, '2026-11-20', 4, 5, 0, '00000000-0000-7000-8000-000000000001', now())
"""


async def test_members_of_before_are_counted_and_looked_for(engine: AsyncEngine) -> None:
    """By what they did, but for what was cancelled or is open; a job gives them what it reaches."""
    await migrate(engine, "0016")
    for statement in _MEMBER_OF_BEFORE.split(";"):
        await run(engine, lambda connection, sql=statement: connection.execute(text(sql)))
    await migrate(engine)
    counts = text(
        "SELECT exchanges_made, tasks_completed, best_streak, achievements_version FROM users"
    )
    assert await run(engine, lambda connection: connection.execute(counts).all()) == [(1, 0, 4, 0)]
    asked = text("SELECT job, payload FROM outbox")
    assert await run(engine, lambda connection: connection.execute(asked).all()) == [
        ("unlock_reached", {}),
        ("roll_up_kpis", {}),
    ]


async def test_a_new_mall_has_nobody_to_look_for(engine: AsyncEngine) -> None:
    """The outbox of a database that was just made is empty."""
    await migrate(engine)
    asked = text("SELECT job, payload FROM outbox")
    assert await run(engine, lambda connection: connection.execute(asked).all()) == []


async def test_migrating_twice_changes_nothing(engine: AsyncEngine) -> None:
    """The second run finds nothing to do."""
    await migrate(engine)
    await migrate(engine)
    assert await run(engine, differences) == []


def test_there_is_one_newest_migration() -> None:
    """The history has no fork."""
    assert len(ScriptDirectory.from_config(alembic_config()).get_heads()) == 1


@pytest.mark.parametrize("table", ["points_audit_log", "lot_draws"])
async def test_the_books_are_never_rewritten(mall: Mall, client: Client, table: str) -> None:
    """The database refuses UPDATE, DELETE and TRUNCATE, whoever asks, for any rows or none."""
    await give_points(mall, await add_user(mall), 100)
    await exchange(client, "alice", await add_item(mall))
    before = await execute(mall, f"SELECT * FROM {table}")
    assert before
    for statement in (
        f"UPDATE {table} SET user_id = user_id",
        f"UPDATE {table} SET user_id = 1 WHERE false",
        f"DELETE FROM {table}",
        f"TRUNCATE {table} CASCADE",
        "TRUNCATE users CASCADE",
    ):
        with pytest.raises(DBAPIError, match="never updated or deleted"):
            await execute(mall, statement)
    assert await execute(mall, f"SELECT * FROM {table}") == before


async def test_a_newer_database_is_current(database_url: str) -> None:
    """Whoever deploys migrates first; the processes of before go on."""
    engine = create_engine(StoreSettings(database_url=database_url))
    async with engine.begin() as connection:
        await connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    assert await _is_current(engine)
    await engine.dispose()
