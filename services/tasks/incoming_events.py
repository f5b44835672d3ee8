"""Events as other systems tell them, and which of them can be recorded at all."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from services.identifiers import read_global_id, read_number
from services.input_rules import is_storable_json
from services.points.account import Account

PURCHASE = "purchase"
VIEW = "view"
"""Of an item, where the attributes say of which (`services.recommendations`)."""
LARGEST_AMOUNT = Decimal(1_000_000_000)
LONGEST_EVENT_ID, LONGEST_TYPE = 128, 64
CLOCKS_MAY_DIFFER = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class IncomingEvent:
    """Something a user did; `user_id` is None when the id given names no user at all."""

    event_id: str
    user_id: int | None
    type: str
    amount: Decimal | None
    occurred_at: datetime
    attributes: dict[str, Any]

    @property
    def viewed_item_id(self) -> int | None:
        """The item of which this is a view; None for anything else."""
        said = self.attributes.get("itemId") if self.type == VIEW else None
        kind, key = (isinstance(said, str) and read_global_id(said)) or ("", "")
        return read_number(key) if kind == "ExchangeItem" else None


@dataclass(frozen=True, slots=True)
class RejectedEvent:
    """An event that was not recorded, and why, for the developer of the other system."""

    event_id: str
    message: str


@dataclass(slots=True)
class RecordedEvents:
    """What a call changed. Events seen before, or twice in the call, are duplicates."""

    recorded: int = 0
    duplicates: int = 0
    tasks_completed: int = 0
    points_earned: int = 0
    rejected: list[RejectedEvent] = field(default_factory=list[RejectedEvent])


def sift(
    events: Iterable[IncomingEvent],
    accounts: dict[int, Account],
    now: datetime,
    result: RecordedEvents,
) -> list[IncomingEvent]:
    """Keep the acceptable events, once each; note the others on `result`."""
    kept: dict[str, IncomingEvent] = {}
    for event in events:
        problem = _problem(event, accounts, now)
        if problem is not None:
            result.rejected.append(RejectedEvent(event.event_id, problem))
        elif event.event_id in kept:
            result.duplicates += 1
        else:
            kept[event.event_id] = event
    return list(kept.values())


def _problem(event: IncomingEvent, accounts: dict[int, Account], now: datetime) -> str | None:
    account = None if event.user_id is None else accounts.get(event.user_id)
    if account is None or account.is_erased:
        return "userId names no user"
    if not 1 <= len(event.event_id) <= LONGEST_EVENT_ID:
        return f"eventId needs 1 to {LONGEST_EVENT_ID} characters"
    if not 1 <= len(event.type) <= LONGEST_TYPE:
        return f"type needs 1 to {LONGEST_TYPE} characters"
    if event.occurred_at > now + CLOCKS_MAY_DIFFER:
        return "occurredAt lies in the future"
    if event.type == PURCHASE and event.amount is None:
        return "a purchase needs an amount"
    if event.amount is not None and not 0 <= event.amount <= LARGEST_AMOUNT:
        return f"amount lies outside 0 to {LARGEST_AMOUNT}"
    if event.type == VIEW and "itemId" in event.attributes and event.viewed_item_id is None:
        return "attributes.itemId names no item"
    if not _can_be_stored(event):
        return "attributes hold numbers, depths or characters that cannot be stored"
    return None


def _can_be_stored(event: IncomingEvent) -> bool:
    return "\x00" not in event.event_id + event.type and is_storable_json(event.attributes)
