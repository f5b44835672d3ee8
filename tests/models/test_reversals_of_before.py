"""Migration 0021: grants that were taken back before leave the boards as they do from now on."""

from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from sqlalchemy import Connection, text
from sqlalchemy.ext.asyncio import AsyncEngine

from alembic import command
from models.migrations import alembic_config, migrate
from models.stores import create_engine
from settings import StoreSettings
from tests.models.test_migrations import run

_MEMBERS = """
    INSERT INTO users (external_id, username, locale, timezone)
    SELECT name, name, 'en', 'UTC'
    FROM unnest(ARRAY['alice', 'bob', 'carol', 'dave', 'erin', 'frank', 'gina']) name
"""
# (user, source, reference, points, reversed, lapsed, withheld): points_grants and their lots.
_GRANTS = (
    (1, "shop", "spent", 1000, 1000, 0, 0),
    (2, "shop", "parts", 100, 60, 0, 0),
    (3, "shop", "lapsed", 50, 50, 50, 0),
    (4, "shop", "held", 80, 30, 0, 30),
    (4, "shop", "activated", 40, 30, 0, 10),
    (5, "opening_balance", "5", 500, 500, 0, 0),
    (6, "shop", "forgiven", 100, 100, 50, 0),
    (7, "shop", "kept", 70, 0, 0, 0),
)
# (user, action, amount, source, reference, when): the audit log, in its order.
_LOG = (
    (1, "earn", 1000, "shop", "spent", "2026-11-18T04:00Z"),
    (1, "redeem", -1000, "exchange", "x", "2026-11-18T05:00Z"),
    (1, "earn", 300, "task", "t", "2026-11-19T04:00Z"),
    (1, "reverse", -300, "reversal", None, "2026-11-19T04:00Z"),
    (2, "earn", 100, "shop", "parts", "2026-11-17T04:00Z"),
    (2, "reverse", -20, "shop", "parts", "2026-11-18T04:00Z"),
    (2, "reverse", -35, "shop", "parts", "2026-11-19T15:59:59Z"),
    (3, "earn", 5, "task", "t", "2026-11-17T04:00Z"),
    (3, "earn", 50, "shop", "lapsed", "2026-11-18T04:00Z"),
    (3, "expire", -50, "expiry", None, "2026-11-19T04:00Z"),
    (4, "earn", 30, "shop", "activated", "2026-11-18T04:00Z"),
    (4, "reverse", -20, "shop", "activated", "2026-11-19T16:00Z"),
    (5, "earn", 500, "opening_balance", "5", "2026-11-17T04:00Z"),
    (5, "redeem", -500, "exchange", "y", "2026-11-18T04:00Z"),
    (5, "earn", 200, "task", "t", "2026-11-19T04:00Z"),
    (5, "reverse", -200, "reversal", None, "2026-11-19T04:00Z"),
    (6, "earn", 100, "shop", "forgiven", "2026-11-18T04:00Z"),
    (6, "earn", 100, "task", "t", "2026-11-18T05:00Z"),
    (6, "reverse", -100, "shop", "forgiven", "2026-11-19T04:00Z"),
    (7, "earn", 70, "shop", "kept", "2026-11-18T04:00Z"),
)
_REVERSALS = """
    SELECT reference, user_id, points, withheld_points, lapsed_points, owed_points,
           to_char(created_at AT TIME ZONE 'UTC', 'MM-DD HH24:MI')
    FROM points_reversals ORDER BY user_id, reference
"""
_DAYS = """
    SELECT user_id, to_char(day, 'MM-DD'), points FROM daily_earnings ORDER BY user_id, day
"""
_TOTALS = """
    SELECT id, ranked_points, to_char(ranked_at AT TIME ZONE 'UTC', 'MM-DD HH24:MI')
    FROM users ORDER BY id
"""
_JOBS = "SELECT job FROM outbox WHERE job = 'rebuild_leaderboard'"


@pytest.fixture
async def engine(empty_database_url: str) -> AsyncIterator[AsyncEngine]:
    """A database of before there were reversals, with grants that were taken back in every way."""
    engine = create_engine(StoreSettings(database_url=empty_database_url))
    await migrate(engine, "0017")
    await run(engine, _fill)
    await migrate(engine, "0020")
    yield engine
    await engine.dispose()


def _fill(connection: Connection) -> None:
    connection.execute(text(_MEMBERS))
    for statement, rows in ((_ADD_LOT, _lots()), (_ADD_GRANT, _lots()), (_ADD_ROW, _rows())):
        connection.execute(text(statement), list(rows))


def _lots() -> Iterator[dict[str, Any]]:
    names = ("user", "source", "reference", "points", "reversed", "lapsed", "withheld")
    for number, values in enumerate(_GRANTS):
        lot = f"00000000-0000-7000-8000-{number:012}"
        yield {**dict(zip(names, values, strict=True)), "lot": lot}


def _rows() -> Iterator[dict[str, Any]]:
    names = ("user", "action", "amount", "source", "reference", "at")
    for number, values in enumerate(_LOG):
        yield {**dict(zip(names, values, strict=True)), "sequence": number + 1}


_ADD_LOT = """
    INSERT INTO points_records (id, user_id, points, original_points, withheld_points, source,
                                source_reference, status, created_at)
    VALUES (CAST(CAST(:lot AS text) AS uuid), :user, 0, :points, :withheld, :source, :reference,
            'reversed', '2026-11-16T04:00Z')
"""
_ADD_GRANT = """
    INSERT INTO points_grants (source, reference, user_id, points_record_id, points,
                               reversed_points, lapsed_points)
    VALUES (:source, :reference, :user, CAST(CAST(:lot AS text) AS uuid), :points, :reversed,
            :lapsed)
"""
_ADD_ROW = """
    INSERT INTO points_audit_log (user_id, sequence, action, amount, points_before, points_after,
                                  source, reference, details, created_at, created_by)
    VALUES (:user, :sequence, :action, CAST(:amount AS bigint), 10000,
            10000 + CAST(:amount AS bigint), :source, :reference, '{}',
            CAST(CAST(:at AS text) AS timestamptz), 'test')
"""


async def _all(engine: AsyncEngine, sql: str) -> list[tuple[Any, ...]]:
    rows = await run(engine, lambda connection: connection.execute(text(sql)).all())
    return [tuple(row) for row in rows]


async def test_each_grant_has_a_reversal_of_its_parts(engine: AsyncEngine) -> None:
    """When points were last taken for it, else when it counted, else when its lot was made."""
    await migrate(engine)
    assert await _all(engine, _REVERSALS) == [
        ("spent", 1, 1000, 0, 0, 1000, "11-18 04:00"),
        ("parts", 2, 60, 0, 0, 5, "11-19 15:59"),
        ("lapsed", 3, 50, 0, 50, 0, "11-18 04:00"),
        ("activated", 4, 30, 10, 0, 0, "11-19 16:00"),
        ("held", 4, 30, 30, 0, 0, "11-16 04:00"),
        ("5", 5, 500, 0, 0, 500, "11-17 04:00"),
        ("forgiven", 6, 100, 0, 0, 0, "11-19 04:00"),
    ]


async def test_boards_are_those_of_the_new_rule(engine: AsyncEngine) -> None:
    """By the mall's days; who never had anything taken back stays as they were."""
    assert (1, 1000, "11-19 04:00") in await _all(engine, _TOTALS)
    assert await _all(engine, _JOBS) == []
    await migrate(engine)
    assert await _all(engine, _DAYS) == [
        (1, "11-18", 0),
        (1, "11-19", 300),
        (2, "11-17", 100),
        (2, "11-19", -60),
        (3, "11-17", 5),
        (3, "11-18", 0),
        (4, "11-18", 30),
        (4, "11-20", -20),
        (5, "11-19", 200),
        (6, "11-18", 200),
        (6, "11-19", -100),
        (7, "11-18", 70),
    ]
    assert await _all(engine, _TOTALS) == [
        (1, 300, "11-19 04:00"),
        (2, 40, "11-19 15:59"),
        (3, 5, "11-18 04:00"),
        (4, 10, "11-19 16:00"),
        (5, 200, "11-19 04:00"),
        (6, 100, "11-19 04:00"),
        (7, 70, "11-18 04:00"),
    ]
    assert await _all(engine, _JOBS) == [("rebuild_leaderboard",)]


async def test_going_back_ranks_as_before(engine: AsyncEngine) -> None:
    """To the day and the point; the boards have to be built anew then, too."""
    before = [await _all(engine, _DAYS), await _all(engine, _TOTALS)]
    await migrate(engine)
    assert [await _all(engine, _DAYS), await _all(engine, _TOTALS)] != before

    def back(connection: Connection) -> None:
        config = alembic_config()
        config.attributes["connection"] = connection
        command.downgrade(config, "0020")

    await run(engine, back)
    assert [await _all(engine, _DAYS), await _all(engine, _TOTALS)] == before
    assert len(await _all(engine, _JOBS)) == 2
    await migrate(engine)
    assert (await _all(engine, _TOTALS))[1] == (2, 40, "11-19 15:59")


async def test_what_was_taken_back_is_never_rewritten(engine: AsyncEngine) -> None:
    """By nobody: the database refuses UPDATE, DELETE and TRUNCATE."""
    await migrate(engine)
    before = await _all(engine, _REVERSALS)
    for statement in (
        "UPDATE points_reversals SET points = points + 1",
        "DELETE FROM points_reversals WHERE false",
        "TRUNCATE points_reversals",
    ):
        with pytest.raises(Exception, match="never updated or deleted"):
            await run(engine, lambda connection, sql=statement: connection.execute(text(sql)))
    assert await _all(engine, _REVERSALS) == before
