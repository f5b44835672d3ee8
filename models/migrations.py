"""Bringing a database to the newest schema, and telling whether it is there."""

import asyncio
from functools import cache
from pathlib import Path

from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, AsyncSession

from alembic import command

_ROOT = Path(__file__).parent.parent
_MIGRATION_LOCK = 0x6D69677261  # "migra": no other lock's (tests/architecture/test_locks.py)
_TRY_LOCK = text("SELECT pg_try_advisory_lock(:key)")
_ASKED_AGAIN_S = 0.2


def alembic_config() -> Config:
    """Alembic's configuration, found beside the source wherever the command was started."""
    return Config(_ROOT / "alembic.ini")


def _upgrade(connection: Connection, revision: str) -> None:
    config = alembic_config()
    config.attributes["connection"] = connection
    command.upgrade(config, revision)


async def migrate(engine: AsyncEngine, revision: str = "head") -> None:
    """Bring the database up to `revision`, one revision a transaction.

    When one fails, those before it stay, and the next run goes on with it.
    """
    async with engine.connect() as connection:
        try:
            await _wait_for_turn(connection)
            await connection.run_sync(_upgrade, revision)
        finally:
            # The lock outlives transactions: it ends with the connection, which no pool may keep.
            await connection.invalidate()


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
    if (await session.execute(text("SELECT to_regclass('alembic_version')"))).scalar() is None:
        return False
    applied = (await session.execute(text("SELECT version_num FROM alembic_version"))).scalar()
    newest, known = _known_revisions()
    return applied is not None and (applied == newest or applied not in known)
