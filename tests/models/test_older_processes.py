"""Processes of earlier versions go on beside a newer database (docs/running.md, Upgrading)."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from models.migrations import migrate
from models.stores import create_engine
from settings import StoreSettings
from tests.models.test_migrations import run

_OLDEST = "0017"
_COLUMNS = text(
    """
    SELECT table_name, column_name,
           is_nullable = 'YES' OR column_default IS NOT NULL OR is_identity = 'YES' AS fills_itself
    FROM information_schema.columns WHERE table_schema = 'public'
    """
)


@pytest.fixture
async def engine(empty_database_url: str) -> AsyncIterator[AsyncEngine]:
    """A database as the oldest of them knows it."""
    engine = create_engine(StoreSettings(database_url=empty_database_url))
    await migrate(engine, _OLDEST)
    yield engine
    await engine.dispose()


async def _columns(engine: AsyncEngine) -> dict[tuple[str, str], bool]:
    """By table and name, whether a row can be inserted without it."""
    rows: Any = await run(engine, lambda connection: connection.execute(_COLUMNS).all())
    return {(row.table_name, row.column_name): row.fills_itself for row in rows}


async def test_they_find_what_they_know_and_need_not_know_more(engine: AsyncEngine) -> None:
    """Every column of theirs is there; one that came later fills itself."""
    known = await _columns(engine)
    await migrate(engine)
    found = await _columns(engine)
    assert known.keys() <= found.keys()
    tables = {table for table, _ in known}
    later = {place: fills for place, fills in found.items() if place not in known}
    of_theirs = {place: fills for place, fills in later.items() if place[0] in tables}
    assert ("users", "ranking_changes") in of_theirs
    assert [place for place, fills_itself in of_theirs.items() if not fills_itself] == []
