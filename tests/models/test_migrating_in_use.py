"""Migrations beside members who go on (docs/running.md, Upgrading: nothing has to be stopped)."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import asyncpg
import pytest
from sqlalchemy import make_url
from sqlalchemy.ext.asyncio import AsyncEngine

from models.migrations import MigrationBlockedError, is_current, migrate
from models.stores import create_engine
from settings import StoreSettings
from tests.jobs.asking import until

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


@pytest.fixture
def dsn(empty_database_url: str) -> str:
    """That database, for a driver without the mall around it."""
    url = make_url(empty_database_url).set(drivername="postgresql")
    return url.render_as_string(hide_password=False)


async def _move_until(
    stopped: asyncio.Event, dsn: str, user_id: int, moved: Counter[int], lock_timeout: str = "10s"
) -> None:
    """Count the movements that a member makes, none of which waits longer for a lock."""
    connection = await asyncpg.connect(dsn, server_settings={"lock_timeout": lock_timeout})
    try:
        while not stopped.is_set():
            async with connection.transaction():
                for statement in _MOVE:
                    await connection.fetch(statement, user_id)
            moved[user_id] += 1
    finally:
        await connection.close()


async def test_members_go_on_while_it_is_migrated(engine: AsyncEngine, dsn: str) -> None:
    """Neither the migration nor a movement is refused, and none of the movements is lost."""
    connection = await asyncpg.connect(dsn)
    await connection.execute(_FILL)
    stopped, moved = asyncio.Event(), Counter[int]()
    async with asyncio.TaskGroup() as tasks:
        for user_id in range(1, _MEMBERS + 1):
            tasks.create_task(_move_until(stopped, dsn, user_id, moved))
        await asyncio.sleep(0.2)
        await migrate(engine)
        stopped.set()
    rows = await connection.fetch("SELECT id, audit_sequence FROM users")
    assert {row["id"]: row["audit_sequence"] for row in rows} == moved
    assert len(moved) == _MEMBERS
    async with engine.connect() as session:
        assert await is_current(session)
    await connection.close()


async def test_two_migrate_at_once(engine: AsyncEngine) -> None:
    """The second waits for the first, which does not wait for it, and finds nothing to do."""
    async with asyncio.timeout(60):
        await asyncio.gather(migrate(engine), migrate(engine))
    async with engine.connect() as session:
        assert await is_current(session)


async def test_a_migration_that_was_broken_off_goes_on(engine: AsyncEngine, dsn: str) -> None:
    """What it had left behind outside of transactions is in nobody's way."""
    connection = await asyncpg.connect(dsn)
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


_WAITING = "SELECT pid FROM pg_locks WHERE NOT granted AND mode = 'AccessExclusiveLock'"
_IS_BUILT = "SELECT indisvalid FROM pg_index WHERE indexrelid = to_regclass($1)"


@asynccontextmanager
async def _long_reader(dsn: str) -> AsyncIterator[Any]:
    """A report, a dump: it has read a table that is to be changed, and goes on for long."""
    reader = await asyncpg.connect(dsn, server_settings={"application_name": "a report"})
    try:
        async with reader.transaction(isolation="repeatable_read"):
            await reader.fetch("SELECT count(*) FROM points_records")
            yield reader
    finally:
        await reader.close()


async def _until_waiting(connection: Any, there: bool) -> None:
    """Until a table is waited for, so that others wait behind it; or none is."""

    async def is_so() -> bool:
        return bool(await connection.fetch(_WAITING)) is there

    await until(is_so)


async def _all_moved(moved: Counter[int], before: Counter[int]) -> bool:
    return all(moved[user] > before[user] for user in range(1, _MEMBERS + 1))


async def test_members_go_on_while_a_migration_waits(engine: AsyncEngine, dsn: str) -> None:
    """Behind a long reader it gives way again and again, and is done when the reader is."""
    await migrate(engine, "0028")
    connection = await asyncpg.connect(dsn)
    await connection.execute(_FILL)
    stopped, moved = asyncio.Event(), Counter[int]()
    async with asyncio.TaskGroup() as tasks:
        async with _long_reader(dsn):
            for user_id in range(1, _MEMBERS + 1):
                tasks.create_task(_move_until(stopped, dsn, user_id, moved, lock_timeout="4s"))
            migration = tasks.create_task(migrate(engine, pause_s=0.5))
            for _ in range(4):  # the last waits for longer
                await _until_waiting(connection, there=True)
                before = moved.copy()
                await _until_waiting(connection, there=False)
                await until(partial(_all_moved, moved, before))
            assert not migration.done()
        await migration
        stopped.set()
    rows = await connection.fetch("SELECT id, audit_sequence FROM users")
    assert {row["id"]: row["audit_sequence"] for row in rows} == moved
    async with engine.connect() as session:
        assert await is_current(session)
    await connection.close()


async def test_a_reader_who_never_ends(engine: AsyncEngine, dsn: str) -> None:
    """It says in the end who is in the way; the next run goes on with the same revision."""
    await migrate(engine, "0028")
    async with _long_reader(dsn) as reader:
        with pytest.raises(MigrationBlockedError, match=r"after 0028 .* 2 attempts.* a report"):
            await migrate(engine, attempts=2, pause_s=0)
        assert await reader.fetchval("SELECT version_num FROM alembic_version") == "0028"
        with pytest.raises(MigrationBlockedError):
            await migrate(engine, attempts=1)
    await migrate(engine, attempts=1)
    async with engine.connect() as session:
        assert await is_current(session)


async def test_an_index_waits_as_long_as_it_takes(engine: AsyncEngine, dsn: str) -> None:
    """At the first attempt, for nobody waits behind it; what a build left behind is replaced."""
    name = "ix_user_tasks_completed_at"
    connection = await asyncpg.connect(dsn)
    building = (
        "SELECT FROM pg_stat_progress_create_index WHERE phase LIKE 'waiting for old snapshots'"
    )
    async with _long_reader(dsn) as reader:
        await connection.execute("SET lock_timeout = '100ms'")
        with pytest.raises(asyncpg.LockNotAvailableError):
            await connection.execute(
                f"CREATE INDEX CONCURRENTLY {name} ON user_tasks (points_earned)"
            )
        assert await connection.fetchval(_IS_BUILT, name) is False
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(migrate(engine, attempts=1))
            await until(lambda: connection.fetch(building))
            await asyncio.sleep(1)  # longer than it waits for a table
            await reader.execute("COMMIT")
            await reader.execute("BEGIN")
    assert await connection.fetchval(_IS_BUILT, name) is True
    (columns,) = await connection.fetch("SELECT pg_get_indexdef(to_regclass($1)) AS is", name)
    assert "(completed_at, user_id)" in columns["is"]
    async with engine.connect() as session:
        assert await is_current(session)
    await connection.close()


async def test_an_index_that_is_whole_is_not_built_again(engine: AsyncEngine, dsn: str) -> None:
    """A revision that begins again goes on where it was."""
    name, which = "ix_exchanges_taken", "SELECT $1::text::regclass::oid"
    connection = await asyncpg.connect(dsn)
    await connection.execute("CREATE TABLE member_days ()")  # comes after all indexes
    with pytest.raises(Exception, match="member_days"):
        await migrate(engine)
    built = await connection.fetchval(which, name)
    await connection.execute("DROP TABLE member_days")
    await migrate(engine)
    assert await connection.fetchval(which, name) == built
    await connection.close()
