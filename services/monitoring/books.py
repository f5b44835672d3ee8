"""Keeping an eye on the books: a slice of the members every minute, everything every night.

The sweep compares each balance with its lots and with the last row of the log, member by member:
whoever changes one of them behind the mall's back is found within a round. All rules together
(`services.points.verify`) need a look at whole tables, which is for the night.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import orjson
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from models.monitoring import LedgerCheckScope
from services.points.verify import Violation

MEMBERS_A_SLICE = 20_000
"""A round over a million members takes 50 minutes, a slice about a quarter of a second."""
_MOST_NAMED = 20

_BEGIN = text("INSERT INTO ledger_checks (scope) VALUES ('sweep') ON CONFLICT DO NOTHING")
_LOCK_SWEEP = text(
    "SELECT next_user_id, found, details FROM ledger_checks WHERE scope = 'sweep' FOR UPDATE"
)
# One statement sees one moment. What it joins, each member has one or a few of, in an index.
_SWEEP = text(
    """
    WITH slice AS (
        SELECT id, points, audit_sequence FROM users WHERE id > :after ORDER BY id LIMIT :size
    ), compared AS (
        SELECT slice.id,
               slice.points <> coalesce(lots.points, 0)
               OR slice.points <> coalesce(last.points_after, 0)
               OR slice.audit_sequence <> coalesce(last.sequence, 0) AS is_wrong
        FROM slice
        LEFT JOIN LATERAL (SELECT sum(points) AS points FROM points_records
                           WHERE user_id = slice.id AND status = 'active') lots ON true
        LEFT JOIN LATERAL (SELECT points_after, sequence FROM points_audit_log
                           WHERE user_id = slice.id ORDER BY sequence DESC LIMIT 1) last ON true
    )
    SELECT count(*) AS members, max(id) AS last_id,
           coalesce(array_agg(id ORDER BY id) FILTER (WHERE is_wrong), '{}') AS wrong
    FROM compared
    """
)
_KEEP_SWEEP = text(
    """
    UPDATE ledger_checks
    SET next_user_id = :next_user_id, found = :found, details = CAST(:details AS jsonb),
        violations = CASE WHEN :is_complete THEN :found_in_round ELSE violations END,
        completed_at = CASE WHEN :is_complete THEN CAST(:now AS timestamptz)
                            ELSE completed_at END
    WHERE scope = 'sweep'
    """
)
_KEEP_FULL = text(
    """
    INSERT INTO ledger_checks (scope, violations, details, completed_at)
    VALUES (:scope, :violations, jsonb_build_object('rules', CAST(:rules AS text[])), :now)
    ON CONFLICT (scope) DO UPDATE SET violations = excluded.violations,
        details = excluded.details, completed_at = excluded.completed_at
    """
)


async def sweep_books(session: AsyncSession, now: datetime, size: int = MEMBERS_A_SLICE) -> None:
    """Look at the next members, up to `size` of them, and keep what was found.

    A wrong balance counts from when it is seen until a whole round has not seen it.
    """
    await session.execute(_BEGIN)
    sweep = (await session.execute(_LOCK_SWEEP)).one()
    parameters = {"after": sweep.next_user_id, "size": size}
    seen: Any = (await session.execute(_SWEEP, parameters)).one()
    is_complete = seen.members < size
    found = sweep.found + len(seen.wrong)
    named = [*sweep.details.get("user_ids", ()), *seen.wrong] if sweep.found else seen.wrong
    kept = {
        "next_user_id": 0 if is_complete else seen.last_id,
        "found": 0 if is_complete else found,
        "found_in_round": found,
        "is_complete": is_complete,
        "now": now,
        "details": orjson.dumps({"user_ids": named[:_MOST_NAMED]}).decode(),
    }
    await session.execute(_KEEP_SWEEP, kept)


async def note_full_check(
    session: AsyncSession, violations: Sequence[Violation], now: datetime
) -> None:
    """Keep what `verify_ledger` found: it stands until the next full check."""
    parameters = {
        "scope": LedgerCheckScope.FULL,
        "violations": sum(len(violation.rows) for violation in violations),
        "rules": [violation.rule for violation in violations],
        "now": now,
    }
    await session.execute(_KEEP_FULL, parameters)
