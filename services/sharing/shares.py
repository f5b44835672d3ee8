"""Links as their owners see them."""

from collections.abc import Iterable
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from models.sharing import ShareKind

MOST_LISTED = 100
"""Links. The contract has no pages for them, and older ones are of no interest."""


@dataclass(frozen=True, slots=True)
class Share:
    """A link of a member's, and what it brought: visitors, members, and points for its owner."""

    id: UUID
    user_id: int
    kind: ShareKind
    target: int | None
    code: str
    visits: int
    conversions: int
    points_earned: int
    created_at: datetime


SHARE_COLUMNS = ", ".join(f"shares.{field.name}" for field in fields(Share))
_OWN = text(
    f"""
    SELECT {SHARE_COLUMNS} FROM shares WHERE user_id = :user_id
    ORDER BY created_at DESC, id DESC LIMIT {MOST_LISTED}
    """
)
_BY_ID = text(f"SELECT {SHARE_COLUMNS} FROM shares WHERE id = ANY(CAST(:ids AS uuid[]))")


def share_from_row(row: Any) -> Share:
    """Read a row that begins with SHARE_COLUMNS."""
    values: dict[str, Any] = {field.name: getattr(row, field.name) for field in fields(Share)}
    values["kind"] = ShareKind(row.kind)
    return Share(**values)


async def own_shares(session: AsyncSession, user_id: int) -> list[Share]:
    """The 100 newest links of a member, newest first."""
    rows = await session.execute(_OWN, {"user_id": user_id})
    return [share_from_row(row) for row in rows]


async def shares_by_id(session: AsyncSession, ids: Iterable[UUID]) -> dict[UUID, Share]:
    """Those of `ids` that exist, whoever's they are."""
    rows = await session.execute(_BY_ID, {"ids": sorted(set(ids))})
    return {row.id: share_from_row(row) for row in rows}
