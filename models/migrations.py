"""Bringing a database to the newest schema, and telling whether it is there."""

from pathlib import Path

from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text
from sqlalchemy.ext.asyncio import AsyncEngine

from alembic import command

_ROOT = Path(__file__).parent.parent
_MIGRATION_LOCK = 0x706F696E7473  # "points": any number that nothing else locks


def alembic_config() -> Config:
    """Alembic's configuration, found beside the source wherever the command was started."""
    return Config(_ROOT / "alembic.ini")


def _upgrade(connection: Connection, revision: str) -> None:
    # Several processes may start at once; the second waits and finds nothing to do.
    connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _MIGRATION_LOCK})
    config = alembic_config()
    config.attributes["connection"] = connection
    command.upgrade(config, revision)


async def migrate(engine: AsyncEngine, revision: str = "head") -> None:
    """Bring the database up to `revision`; all of it or nothing."""
    async with engine.begin() as connection:
        await connection.run_sync(_upgrade, revision)


async def is_current(engine: AsyncEngine) -> bool:
    """Whether the database has every migration that this code brings."""
    newest = ScriptDirectory.from_config(alembic_config()).get_current_head()
    async with engine.connect() as connection:
        applied = await connection.run_sync(
            lambda sync: MigrationContext.configure(sync).get_current_revision()
        )
    return applied == newest
