"""What operators told many, newest first, and how far each campaign has come."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncSession

from models.notifications import Campaign as CampaignRow
from services.bulk import among
from services.notifications.audience import Audience
from services.paging import Page, decode_cursor, encode_cursor, page_of

_ORDER = "campaigns"
_COLUMNS = (
    CampaignRow.id,
    CampaignRow.operator_id,
    CampaignRow.title,
    CampaignRow.body,
    CampaignRow.payload,
    CampaignRow.audience,
    CampaignRow.recipients,
    CampaignRow.planned,
    CampaignRow.created_at,
    CampaignRow.planned_at,
)
_PROGRESS = text(
    """
    SELECT campaign_id,
           sum(pushes) FILTER (WHERE status = 'queued') AS queued,
           sum(pushes) FILTER (WHERE status = 'sent') AS sent,
           sum(pushes) FILTER (WHERE status = 'failed') AS failed,
           sum(pushes) FILTER (WHERE status = 'suppressed') AS suppressed,
           sum(opened) AS opened
    FROM (
        SELECT campaign_id, status, count(*) AS pushes, count(opened_at) AS opened
        FROM push_records WHERE campaign_id = ANY(CAST(:ids AS uuid[]))
        GROUP BY campaign_id, status
    ) AS of_status
    GROUP BY campaign_id
    """
)


@dataclass(frozen=True, slots=True)
class Campaign:
    """A push to many. `recipients` fitted when it was asked for; `planned` have a push by now."""

    id: UUID
    operator_id: int
    title: str
    body: str
    payload: dict[str, Any]
    audience: Audience
    recipients: int
    planned: int
    created_at: datetime
    planned_at: datetime | None


@dataclass(frozen=True, slots=True)
class Progress:
    """How many of the planned pushes stand where; those that were opened are among the others."""

    queued: int = 0
    sent: int = 0
    failed: int = 0
    suppressed: int = 0
    opened: int = 0


async def campaigns_page(session: AsyncSession, *, size: int, after: str | None) -> Page[Campaign]:
    """All campaigns, newest first. Raises BadInput for a bad cursor."""
    statement = select(*_COLUMNS)
    if after is not None:
        (before,) = decode_cursor(after, _ORDER, UUID)
        statement = statement.where(CampaignRow.id < before)
    # The ids are made by the time (UUIDv7): the order of the ids is that of the campaigns.
    found = await session.execute(statement.order_by(CampaignRow.id.desc()).limit(size + 1))
    rows = [_campaign(row) for row in found.mappings()]
    return page_of(rows, size, _cursor_of, has_previous=after is not None)


def _cursor_of(campaign: Campaign) -> str:
    return encode_cursor(_ORDER, campaign.id)


async def campaigns_by_id(session: AsyncSession, ids: Iterable[UUID]) -> dict[UUID, Campaign]:
    """Those of `ids` that exist."""
    found = await session.execute(select(*_COLUMNS).where(among(CampaignRow.id, ids)))
    return {row["id"]: _campaign(row) for row in found.mappings()}


async def progress_by_campaign(session: AsyncSession, ids: Iterable[UUID]) -> dict[UUID, Progress]:
    """How far campaigns have come, by id; who has no push yet is missing."""
    found = await session.execute(_PROGRESS, {"ids": list(ids)})
    return {key: Progress(*(int(count or 0) for count in counts)) for key, *counts in found}


def _campaign(row: Any) -> Campaign:
    return Campaign(**dict[str, Any](row, audience=Audience.read(row["audience"])))
