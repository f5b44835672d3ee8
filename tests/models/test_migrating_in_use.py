"""Migrations beside members who go on (docs/running.md, Upgrading: nothing has to be stopped)."""

import asyncio
from collections.abc import AsyncIterator

import asyncpg
import pytest
from sqlalchemy import make_url
from sqlalchemy.ext.asyncio import AsyncEngine

from models.migrations import is_current, migrate
from models.stores import create_engine
from settings import StoreSettings

_BEFORE = "0026"
_MEMBERS = 8
_LOTS = 2_000
_FILL = f"""
    INSERT INTO users (external_id, username, locale, timezone)
    SELECT 'u' || n, 'u' || n, 'en', 'UTC' FROM generate_series(1, {_MEMBERS}) n;
    INSERT INTO points_audit_log (user_id, sequence, action, amount, points_before, points_after,
                                  details, created_at, created_by)
    SELECT u, s, 'earn', 1, s - 1, s, '{{}}', now(), 'test'
    FROM generate_series(1, {_MEMBERS}) u, generate_series(1, {_LOTS}) s;
    INSERT INTO points_records (id, user_id, points, original_points, source, status, created_at)
    SELECT uuidv7(), u, 1, 1, 'test', 'active', now()
    FROM generate_series(1, {_MEMBERS}) u, generate_series(1, {_LOTS}) s
"""
_MOVE = (
    "SELECT points FROM users WHERE id = $1 FOR NO KEY UPDATE",
    "SELECT id FROM points_records WHERE user_id = $1 AND status = 'active' LIMIT 3",
    """
    INSERT INTO points_records (id, user_id, points, original_points, source, status, created_at)
    VALUES (uuidv7(), $1, 1, 1, 'test', 'active', now())
    """,
    f"""
    INSERT INTO points_audit_log (user_id, sequence, action, amount, points_before, points_after,
                                  details, created_at, created_by)
    SELECT id, audit_sequence + {_LOTS + 1}, 'earn', 1, 1, 2, '{{}}', now(), 'test'
    FROM users WHERE id = $1
    """,
    "UPDATE users SET audit_sequence = audit_sequence + 1 WHERE id = $1",
)


@pytest.fixture
async def engine(empty_database_url: str) -> AsyncIterator[AsyncEngine]:
    """A database as the revision before knows it, with lots and a log."""
    settings = StoreSettings(database_url=empty_database_url)
    engine = create_engine(settings.unhurried())
    await migrate(engine, _BEFORE)
    yield engine
    await engine.dispose()


async def _move_until(stopped: asyncio.Event, dsn: str, user_id: int) -> int:
    """How many movements a member made: each waits no longer for a lock than those of the mall."""
    connection = await asyncpg.connect(dsn, server_settings={"lock_timeout": "10s"})
    moved = 0
    try:
        while not stopped.is_set():
            async with connection.transaction():
                for statement in _MOVE:
                    await connection.fetch(statement, user_id)
            moved += 1
    finally:
        await connection.close()
    return moved


async def test_members_go_on_while_it_is_migrated(
    engine: AsyncEngine, empty_database_url: str
) -> None:
    """Neither the migration nor a movement is refused, and none of the movements is lost."""
    url = make_url(empty_database_url).set(drivername="postgresql")
    dsn = url.render_as_string(hide_password=False)
    connection = await asyncpg.connect(dsn)
    await connection.execute(_FILL)
    stopped = asyncio.Event()
    async with asyncio.TaskGroup() as tasks:
        movers = [
            tasks.create_task(_move_until(stopped, dsn, user_id))
            for user_id in range(1, _MEMBERS + 1)
        ]
        await asyncio.sleep(0.2)
        await migrate(engine)
        stopped.set()
    moved = await connection.fetch("SELECT audit_sequence FROM users ORDER BY id")
    assert [row["audit_sequence"] for row in moved] == [mover.result() for mover in movers]
    assert min(mover.result() for mover in movers) > 0
    async with engine.connect() as session:
        assert await is_current(session)
    await connection.close()


async def test_two_migrate_at_once(engine: AsyncEngine) -> None:
    """The second waits for the first, which does not wait for it, and finds nothing to do."""
    async with asyncio.timeout(60):
        await asyncio.gather(migrate(engine), migrate(engine))
    async with engine.connect() as session:
        assert await is_current(session)


async def test_a_migration_that_was_broken_off_goes_on(
    engine: AsyncEngine, empty_database_url: str
) -> None:
    """What it had left behind outside of transactions is in nobody's way."""
    url = make_url(empty_database_url).set(drivername="postgresql")
    connection = await asyncpg.connect(url.render_as_string(hide_password=False))
    for before, blocker in (("0027", "cohort_months"), ("0028", "device_users")):
        await connection.execute(f"CREATE TABLE {blocker} ()")
        with pytest.raises(Exception, match=blocker):
            await migrate(engine)
        assert await connection.fetchval("SELECT version_num FROM alembic_version") == before
        await connection.execute(f"DROP TABLE {blocker}")
    await migrate(engine)
    async with engine.connect() as session:
        assert await is_current(session)
    await connection.close()
