"""Bringing a database to the newest schema, and telling whether it is there."""

import asyncio
from collections import Counter
from functools import cache
from pathlib import Path

import asyncpg
import structlog
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, AsyncSession

from alembic import command

_ROOT = Path(__file__).parent.parent
_MIGRATION_LOCK = 0x6D69677261  # "migra": no other lock's (tests/architecture/test_locks.py)
_TRY_LOCK = text("SELECT pg_try_advisory_lock(:key)")
_ASKED_AGAIN_S = 0.2
_MOST_ATTEMPTS = 60
_PAUSE_S = 5.0
_LOCK_WAIT_MS, _LONG_LOCK_WAIT_MS = 500, 2_000
_LONG_WAIT_EVERY = 4
_SET_LOCK_WAIT = text("SELECT set_config('lock_timeout', :limit, false)")
_OLDEST = text(
    """
    SELECT pid, application_name AS name,
           extract(epoch FROM clock_timestamp() - xact_start)::int AS age_s
    FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid() AND xact_start IS NOT NULL
    ORDER BY xact_start LIMIT 3
    """
)

_log = structlog.get_logger(__name__)


class MigrationBlockedError(Exception):
    """A table was in use all the time; the next run goes on with the same revision."""


def alembic_config() -> Config:
    """Alembic's configuration, found beside the source wherever the command was started."""
    return Config(_ROOT / "alembic.ini")


def _upgrade(connection: Connection, revision: str) -> None:
    config = alembic_config()
    config.attributes["connection"] = connection
    command.upgrade(config, revision)


async def migrate(
    engine: AsyncEngine,
    revision: str = "head",
    *,
    attempts: int = _MOST_ATTEMPTS,
    pause_s: float = _PAUSE_S,
) -> None:
    """Bring the database up to `revision`, one revision a transaction.

    When one fails, those before it stay, and the next run goes on with it. Whoever wants a table
    that a revision waits for waits behind it: so none waits for long, but again after `pause_s`.

    Raises MigrationBlockedError when a revision could not be applied in so many attempts.
    """
    async with engine.connect() as connection:
        try:
            await _wait_for_turn(connection)
            await _upgrade_politely(connection, revision, attempts, pause_s)
        finally:
            # The lock outlives transactions: it ends with the connection, which no pool may keep.
            await connection.invalidate()


async def _upgrade_politely(
    connection: AsyncConnection, revision: str, attempts: int, pause_s: float
) -> None:
    failures = Counter[str | None]()
    applied = await _applied(connection)
    while True:
        await _limit_waiting(connection, failures[applied])
        try:
            return await connection.run_sync(_upgrade, revision)
        except DBAPIError as error:
            await connection.rollback()
            if not _is_blocked(error):
                raise
            applied = await _applied(connection)
            failures[applied] += 1
            blockers = await _oldest_transactions(connection)
            if failures[applied] >= attempts:
                raise MigrationBlockedError(_blocked(applied, attempts, blockers)) from error
        _log.warning("migration_waits", after=applied, oldest=blockers, again_in_s=pause_s)
        await asyncio.sleep(pause_s)


async def _limit_waiting(connection: AsyncConnection, failures: int) -> None:
    """Limit every wait for a lock, to less than the mall's own (MALL_DATABASE_LOCK_TIMEOUT_S).

    So members who wait behind it are not refused. Now and then it is longer, though: a vacuum that
    runs by itself makes way only for who has waited for a second (deadlock_timeout).
    """
    is_long = failures % _LONG_WAIT_EVERY == _LONG_WAIT_EVERY - 1
    limit_ms = _LONG_LOCK_WAIT_MS if is_long else _LOCK_WAIT_MS
    await connection.execute(_SET_LOCK_WAIT, {"limit": f"{limit_ms}ms"})
    await connection.commit()


def _is_blocked(error: DBAPIError) -> bool:
    return isinstance(error.orig and error.orig.__cause__, asyncpg.LockNotAvailableError)


async def _oldest_transactions(connection: AsyncConnection) -> list[str]:
    """Those that most likely hold what is waited for, as far as this role may see them."""
    rows = (await connection.execute(_OLDEST)).all()
    await connection.commit()
    return [f"{row.name or 'unnamed'} (pid {row.pid}) for {row.age_s} s" for row in rows]


def _blocked(applied: str | None, attempts: int, blockers: list[str]) -> str:
    return (
        f"the revision after {applied} could not be applied in {attempts} attempts: others use a"
        f" table that it changes (open transactions: {', '.join(blockers) or 'none now'})."
        " Run `migrate` again when they have ended"
    )


async def _wait_for_turn(connection: AsyncConnection) -> None:
    """Several processes may start at once; the second waits and finds nothing to do.

    By asking again: one that waits inside a statement holds a snapshot, for whose end an index that
    is built concurrently waits in turn.
    """
    while not (await connection.execute(_TRY_LOCK, {"key": _MIGRATION_LOCK})).scalar_one():
        await connection.rollback()
        await asyncio.sleep(_ASKED_AGAIN_S)
    await connection.commit()


@cache
def _known_revisions() -> tuple[str | None, frozenset[str]]:
    scripts = ScriptDirectory.from_config(alembic_config())
    return scripts.get_current_head(), frozenset(s.revision for s in scripts.walk_revisions())


async def is_current(session: AsyncSession | AsyncConnection) -> bool:
    """Whether the database has every migration that this code brings.

    A revision that this code does not know is a newer one: whoever deploys migrates first.
    """
    applied = await _applied(session)
    newest, known = _known_revisions()
    return applied is not None and (applied == newest or applied not in known)


async def _applied(session: AsyncSession | AsyncConnection) -> str | None:
    """The newest revision that the database has; None before the first."""
    if (await session.execute(text("SELECT to_regclass('alembic_version')"))).scalar() is None:
        return None
    return (await session.execute(text("SELECT version_num FROM alembic_version"))).scalar()
