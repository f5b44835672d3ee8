"""What operators wrote of a member: kept where it can be forgotten, apart from what is for ever.

The logs refuse changes, so their details hold a reason by its id only; whoever reads them is shown
the text, or nothing where the member was erased since.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from models.operators import Reason
from services.bulk import Writes, among

REASON_ID = "reason_id"

_COLUMNS = ("id", "user_id", "text", "created_at")


def keep_reason(writes: Writes, reason_id: UUID, user_id: int, text: str, now: datetime) -> None:
    """Add the reason for what is done to a user to what is written."""
    keep_reasons(writes, {user_id: reason_id}, text, now)


def keep_reasons(writes: Writes, reason_ids: Mapping[int, UUID], text: str, now: datetime) -> None:
    """One reason for what is done to several users: each has it by an id of their own.

    So that it goes with each of them who is erased.
    """
    rows = [(reason_id, user_id, text, now) for user_id, reason_id in reason_ids.items()]
    writes.insert(Reason, _COLUMNS, rows)


def reason_details(reason_id: UUID) -> dict[str, str]:
    """What the details of a log say of a reason."""
    return {REASON_ID: str(reason_id)}


async def with_reasons(
    session: AsyncSession, details: Sequence[dict[str, Any]]
) -> list[dict[str, Any]]:
    """Details as they are shown, in their order: the text, or None, in place of each id."""
    reason_ids = [UUID(each[REASON_ID]) for each in details if REASON_ID in each]
    if not reason_ids:
        return list(details)
    found = await session.execute(
        select(Reason.id, Reason.text).where(among(Reason.id, reason_ids))
    )
    texts = {str(row.id): row.text for row in found}
    return [_shown(each, texts) for each in details]


def _shown(details: Mapping[str, Any], texts: Mapping[str, str]) -> dict[str, Any]:
    shown = dict(details)
    if REASON_ID in shown:
        shown["reason"] = texts.get(shown.pop(REASON_ID))
    return shown
