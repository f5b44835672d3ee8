"""Campaigns: one push to many, planned page by page (`domain.md`, Notifications, Broadcast).

What an operator asks for is a row; a job plans it, a page of members in each transaction, and asks
for the next page in the same. However often it dies, every member is planned once.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import orjson
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from models.notifications import Campaign, PushType
from services.bulk import Writes
from services.errors import InvalidInput
from services.idempotency import (
    Settled,
    find_keys,
    fingerprint,
    replay,
    require_key,
    store_settled,
)
from services.identifiers import new_id
from services.input_rules import require_object, require_text
from services.notifications.audience import (
    MEMBERS_LOOKED_AT,
    Audience,
    count_audience,
    fitting_after,
    require_audience,
)
from services.notifications.decide import Draft
from services.notifications.plan import plan_pushes
from services.notifications.settle import texts_of
from services.operators import note_action
from services.outbox import enqueue
from services.points.accounts import lock_accounts

PLAN_JOB = "plan_campaign"
OPERATION = "broadcastPush"
MEMBERS_A_PAGE = 1_000
LONGEST_TITLE, LONGEST_BODY = 100, 500
LARGEST_PUSH_BYTES = 3_700
"""Title, body and payload. FCM and APNs carry 4,096 bytes, with what we and they put around it."""
# What we send ourselves; what FCM keeps for itself, and refuses; and the one name that APNs has.
_RESERVED_NAMES = frozenset({"pushId", "type", "from", "message_type", "collapse_key", "aps"})
_RESERVED_BEGINNINGS = ("google", "gcm")

_LOCK = text(
    """
    SELECT id, title, body, payload, audience, planned_to FROM campaigns
    WHERE id = :campaign_id AND planned_at IS NULL FOR NO KEY UPDATE
    """
)
_ADVANCE = text(
    """
    UPDATE campaigns
    SET planned = planned + :planned,
        planned_to = coalesce(CAST(:planned_to AS bigint), planned_to),
        planned_at = CASE WHEN CAST(:planned_to AS bigint) IS NULL
                          THEN CAST(:now AS timestamptz) END
    WHERE id = :campaign_id
    """
)
_COLUMNS = (
    "id",
    "operator_id",
    "title",
    "body",
    "payload",
    "audience",
    "recipients",
    "created_at",
)


@dataclass(frozen=True, slots=True)
class Broadcast:
    """An operator's wish to tell many members something."""

    operator_id: int
    title: str
    body: str
    payload: Any
    audience: Audience
    key: str

    def fingerprint(self) -> bytes:
        """A digest of what was asked."""
        return fingerprint(
            title=self.title,
            body=self.body,
            payload=self.payload or {},
            audience=self.audience.stored,
        )


@dataclass(frozen=True, slots=True)
class BroadcastBegun:
    """A campaign on its way: how many members fitted when it was asked for."""

    campaign_id: UUID
    recipients: int
    replayed: bool


async def broadcast(session: AsyncSession, asked: Broadcast, now: datetime) -> BroadcastBegun:
    """Begin a campaign, once a key. Raises InvalidInput, KeyInvalid, IdempotencyConflict."""
    require_key(asked.key)
    payload = _sound_payload(asked)
    before = await _begun_before(session, asked)
    if before is not None:
        return before
    # Before the lock: counting many takes longer than others would wait for the operator's row.
    recipients = await count_audience(session, asked.audience, now)
    await lock_accounts(session, [asked.operator_id])
    before = await _begun_before(session, asked)
    if before is not None:
        return before
    begun = BroadcastBegun(new_id(), recipients, replayed=False)
    await _save(session, asked, payload, begun, now)
    return begun


async def _begun_before(session: AsyncSession, asked: Broadcast) -> BroadcastBegun | None:
    """What the key has begun already, if anything."""
    owner = (asked.operator_id, asked.key)
    settled = (await find_keys(session, OPERATION, [owner])).settled.get(owner)
    if settled is None:
        return None
    answer = replay(settled, asked.key, asked.fingerprint())
    return BroadcastBegun(UUID(answer["campaign"]), answer["recipients"], replayed=True)


async def _save(
    session: AsyncSession,
    asked: Broadcast,
    payload: dict[str, Any],
    begun: BroadcastBegun,
    now: datetime,
) -> None:
    writes, key = Writes(), begun.campaign_id
    what = (asked.title, asked.body, payload, asked.audience.stored)
    row = (key, asked.operator_id, *what, begun.recipients, now)
    writes.insert(Campaign, _COLUMNS, [row])
    answer = {"campaign": str(key), "recipients": begun.recipients}
    owner = (asked.operator_id, asked.key)
    store_settled(writes, OPERATION, {owner: Settled(asked.fingerprint(), answer)}, now)
    details = {"title": asked.title, "recipients": begun.recipients}
    note_action(writes, asked.operator_id, "broadcast_push", ("Campaign", key), details, now)
    enqueue(writes, PLAN_JOB, [{"campaign_id": str(key)}], now)
    await writes.flush(session)


async def plan_page(
    session: AsyncSession,
    campaign_id: UUID,
    now: datetime,
    *,
    most: int = MEMBERS_A_PAGE,
    looked_at: int = MEMBERS_LOOKED_AT,
) -> None:
    """Plan up to `most` of the next members of a campaign, and ask for those after them, if any.

    Who fits is asked anew for each page: a member who has spent the points meanwhile gets none, and
    one who came meanwhile may get one. Does nothing when all is planned.
    """
    row = (await session.execute(_LOCK, {"campaign_id": campaign_id})).one_or_none()
    if row is None:
        return
    audience = Audience.read(row.audience)
    fitting = await fitting_after(
        session, audience, row.planned_to, now, most=most, looked_at=looked_at
    )
    writes, planned = Writes(), 0
    if fitting.user_ids:
        drafts = _drafts(row, fitting.user_ids)
        planned = len(await plan_pushes(session, writes, drafts, now, campaign_id=row.id))
    if fitting.looked_to is not None:
        enqueue(writes, PLAN_JOB, [{"campaign_id": str(campaign_id)}], now)
    await writes.flush(session)
    progress = {"planned": planned, "planned_to": fitting.looked_to, "now": now}
    await session.execute(_ADVANCE, {"campaign_id": campaign_id, **progress})


def _drafts(campaign: Any, user_ids: list[int]) -> list[Draft]:
    words = (campaign.title, campaign.body)
    reference = str(campaign.id)
    return [
        Draft(user_id, PushType.CAMPAIGN, reference, lambda _: words, campaign.payload)
        for user_id in user_ids
    ]


def _sound_payload(asked: Broadcast) -> dict[str, Any]:
    """The payload as it is stored; raises InvalidInput for what no push could carry."""
    require_text(("title",), asked.title, LONGEST_TITLE)
    require_text(("body",), asked.body, LONGEST_BODY)
    require_audience(asked.audience)
    payload = require_object(("payload",), {} if asked.payload is None else asked.payload)
    for name in payload:
        if name in _RESERVED_NAMES or name.startswith(_RESERVED_BEGINNINGS):
            reserved = ", ".join(sorted(_RESERVED_NAMES))
            raise InvalidInput(
                ("payload",), f"reserved names: {reserved}, and all that begin with google or gcm"
            )
    if len(orjson.dumps([asked.title, asked.body, texts_of(payload)])) > LARGEST_PUSH_BYTES:
        raise InvalidInput(
            ("payload",), f"at most {LARGEST_PUSH_BYTES:,} bytes with the title and the body"
        )
    return payload
