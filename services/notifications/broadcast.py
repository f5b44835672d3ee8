"""Campaigns: one push to many, planned page by page (`domain.md`, Notifications, Broadcast).

What an operator asks for is a row; a job plans it, a page of members in each transaction, and asks
for the next page in the same. However often it dies, every member is planned once.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from models.notifications import Campaign, DevicePlatform, PushType
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
from services.input_rules import require_between, require_object, require_text
from services.notifications.decide import Draft
from services.notifications.plan import plan_pushes
from services.operators import note_action
from services.outbox import enqueue
from services.points.accounts import lock_accounts

PLAN_JOB = "plan_campaign"
OPERATION = "broadcast"
MEMBERS_A_PAGE = 1_000
LONGEST_TITLE, LONGEST_BODY = 100, 500
LARGEST_PAYLOAD_BYTES = 2_048
MOST_USER_IDS = 10_000
MOST_INACTIVE_DAYS = 3_650
# FCM keeps these names for itself and refuses a message that uses them; APNs has `aps`.
_RESERVED_NAMES = frozenset({"from", "message_type", "aps", "pushId", "type"})
_RESERVED_BEGINNINGS = ("google", "gcm")

# A member whose lots have ended is not asked for by what the sum still says.
_AUDIENCE = """
    FROM users
    WHERE erased_at IS NULL
      AND (CAST(:user_ids AS bigint[]) IS NULL OR id = ANY(CAST(:user_ids AS bigint[])))
      AND (CAST(:locale AS text) IS NULL OR lower(locale) = :locale
           OR starts_with(lower(locale), :locale || '-'))
      AND (CAST(:inactive_since AS timestamptz) IS NULL
           OR coalesce(last_login_at, created_at) < :inactive_since)
      AND (CAST(:platform AS text) IS NULL OR EXISTS (
            SELECT FROM devices WHERE user_id = users.id AND platform = :platform))
      AND (CAST(:min_points AS bigint) IS NULL OR points >= :min_points AND (
            SELECT coalesce(sum(lot.points), 0) FROM points_records AS lot
            WHERE user_id = users.id AND status = 'active'
              AND (expires_at IS NULL OR expires_at > :now)) >= :min_points)
"""
_COUNT = text(f"SELECT count(*) {_AUDIENCE}")
_PAGE = text(f"SELECT id {_AUDIENCE} AND id > :after ORDER BY id LIMIT :limit")
_LOCK = text(
    """
    SELECT id, title, body, payload, audience, planned_to, created_at FROM campaigns
    WHERE id = :campaign_id AND planned_at IS NULL FOR UPDATE
    """
)
_ADVANCE = text(
    """
    UPDATE campaigns
    SET planned_to = :planned_to, planned = planned + :planned,
        planned_at = CASE WHEN :is_last THEN CAST(:now AS timestamptz) END
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
class Audience:
    """Who is meant: all who fit every condition that is set; everybody when none is."""

    user_ids: tuple[int, ...] | None = None
    min_available_points: int | None = None
    inactive_days: int | None = None
    platform: DevicePlatform | None = None
    locale: str | None = None


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
        audience = {**asdict(self.audience), "user_ids": self.audience.user_ids}
        return fingerprint(
            title=self.title, body=self.body, payload=self.payload, audience=audience
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
    await lock_accounts(session, [asked.operator_id])  # one at a time of each one's keys
    owner = (asked.operator_id, asked.key)
    settled = (await find_keys(session, OPERATION, [owner])).settled.get(owner)
    if settled is not None:
        answer = replay(settled, asked.key, asked.fingerprint())
        return BroadcastBegun(UUID(answer["campaign"]), answer["recipients"], replayed=True)
    conditions = _conditions(_stored(asked.audience), now)
    recipients = (await session.execute(_COUNT, conditions)).scalar_one()
    begun = BroadcastBegun(new_id(), recipients, replayed=False)
    await _save(session, asked, payload, begun, now)
    return begun


async def _save(
    session: AsyncSession,
    asked: Broadcast,
    payload: dict[str, Any],
    begun: BroadcastBegun,
    now: datetime,
) -> None:
    writes, key = Writes(), begun.campaign_id
    texts = (asked.title, asked.body, payload, _stored(asked.audience))
    row = (key, asked.operator_id, *texts, begun.recipients, now)
    writes.insert(Campaign, _COLUMNS, [row])
    answer = {"campaign": str(key), "recipients": begun.recipients}
    owner = (asked.operator_id, asked.key)
    store_settled(writes, OPERATION, {owner: Settled(asked.fingerprint(), answer)}, now)
    details = {"title": asked.title, "recipients": begun.recipients}
    note_action(writes, asked.operator_id, "broadcast_push", ("Campaign", key), details, now)
    enqueue(writes, PLAN_JOB, [{"campaign_id": str(key)}], now)
    await writes.flush(session)


async def plan_page(session: AsyncSession, campaign_id: str, now: datetime) -> None:
    """Plan the next members of a campaign, and ask for those after them; nothing when it is done.

    Who fits is asked anew for each page: a member who has spent the points meanwhile gets none.
    """
    row = (await session.execute(_LOCK, {"campaign_id": UUID(campaign_id)})).one_or_none()
    if row is None:
        return
    conditions = _conditions(row.audience, now)
    page = {**conditions, "after": row.planned_to, "limit": MEMBERS_A_PAGE}
    user_ids = (await session.execute(_PAGE, page)).scalars().all()
    words = (row.title, row.body)
    drafts = [
        Draft(user_id, PushType.CAMPAIGN, campaign_id, lambda _: words, row.payload)
        for user_id in user_ids
    ]
    writes = Writes()
    await plan_pushes(session, writes, drafts, now, campaign_id=row.id)
    is_last = len(user_ids) < MEMBERS_A_PAGE
    if not is_last:
        enqueue(writes, PLAN_JOB, [{"campaign_id": campaign_id}], now)
    await _advance(session, row.id, row.planned_to, user_ids, now)
    await writes.flush(session)


async def _advance(
    session: AsyncSession, key: UUID, planned_to: int, user_ids: Sequence[int], now: datetime
) -> None:
    parameters = {
        "campaign_id": key,
        "planned_to": user_ids[-1] if user_ids else planned_to,
        "planned": len(user_ids),
        "is_last": len(user_ids) < MEMBERS_A_PAGE,
        "now": now,
    }
    await session.execute(_ADVANCE, parameters)


def _stored(audience: Audience) -> dict[str, Any]:
    """The audience as the campaign keeps it."""
    return {name: value for name, value in asdict(audience).items() if value is not None}


def _conditions(audience: dict[str, Any], now: datetime) -> dict[str, Any]:
    """The audience as parameters of the queries."""
    days, locale = audience.get("inactive_days"), audience.get("locale")
    user_ids = audience.get("user_ids")
    return {
        "user_ids": None if user_ids is None else list(user_ids),
        "min_points": audience.get("min_available_points"),
        "inactive_since": None if days is None else now - timedelta(days=days),
        "platform": audience.get("platform"),
        "locale": None if locale is None else locale.lower(),
        "now": now,
    }


def _sound_payload(asked: Broadcast) -> dict[str, Any]:
    """The payload as it is stored; raises InvalidInput for what no push could carry."""
    require_text(("title",), asked.title, LONGEST_TITLE)
    require_text(("body",), asked.body, LONGEST_BODY)
    _require_audience(asked.audience)
    payload = require_object(("payload",), {} if asked.payload is None else asked.payload)
    if len(str(payload).encode()) > LARGEST_PAYLOAD_BYTES:
        raise InvalidInput(("payload",), f"at most {LARGEST_PAYLOAD_BYTES} bytes")
    for name in payload:
        if name in _RESERVED_NAMES or name.startswith(_RESERVED_BEGINNINGS):
            raise InvalidInput(("payload",), f"{name} is a name that the providers keep")
    return payload


def _require_audience(audience: Audience) -> None:
    user_ids, days, locale = audience.user_ids, audience.inactive_days, audience.locale
    if user_ids is not None and not 1 <= len(user_ids) <= MOST_USER_IDS:
        raise InvalidInput(("audience", "userIds"), f"1 to {MOST_USER_IDS} ids")
    if audience.min_available_points is not None and audience.min_available_points < 0:
        raise InvalidInput(("audience", "minAvailablePoints"), "0 or more")
    if days is not None:
        require_between(("audience", "inactiveDays"), days, 1, MOST_INACTIVE_DAYS)
    if locale is not None:
        require_text(("audience", "locale"), locale, 35)
