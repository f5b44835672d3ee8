"""What members and other systems do in these stories: one call each, and the whole answer."""

from datetime import datetime
from typing import Any

from schema.ids import encode_id
from tests.client import Client

PROBLEM = """
  ... on Problem { code message }
  ... on NotFound { id }
  ... on LimitReached { limit period availableAgainAt }
  ... on VerificationRequired { provider siteKey }
  ... on MemberSuspended { until }
"""
TASK = "id name status progress { current target } availableAgainAt"
EXCHANGE = """
  id points status createdAt updatedAt item { id stock exchangeCount }
  paidFrom { pointsRecordId points expiresAt }
  reward {
    __typename
    ... on Coupon { id code status expiresAt }
    ... on VipMembership { level expiresAt }
    ... on Shipment { recipient phone address carrier trackingNumber }
    ... on ManualDelivery { note }
  }
"""
_COMPLETE = f"""
mutation ($input: CompleteTaskInput!) {{ completeTask(input: $input) {{
  __typename {PROBLEM}
  ... on TaskNotCompletable {{ reason availableAgainAt }}
  ... on CompleteTaskSuccess {{
    pointsEarned task {{ {TASK} }} balance {{ available }}
    pointsRecord {{ id points originalPoints source sourceReference status expiresAt createdAt }}
  }}
}} }}
"""
_CHECK_IN = """
mutation ($input: CheckInInput!) { checkIn(input: $input) {
  __typename
  ... on Problem { code message }
  ... on TaskNotCompletable { reason availableAgainAt }
  ... on VerificationRequired { provider siteKey }
  ... on MemberSuspended { until }
  ... on CheckInSuccess {
    streak pointsEarned bonusPoints nextBonus { streak points } balance { available }
  }
} }
"""
_EXCHANGE = f"""
mutation ($input: OneClickExchangeInput!) {{ oneClickExchange(input: $input) {{
  __typename {PROBLEM}
  ... on InvalidInput {{ field }}
  ... on InsufficientPoints {{ required available }}
  ... on OutOfStock {{ item {{ id }} }}
  ... on ItemUnavailable {{ item {{ id }} }}
  ... on IdempotencyConflict {{ idempotencyKey }}
  ... on OneClickExchangeSuccess {{
    pointsUsed remainingPoints replayed exchange {{ {EXCHANGE} }}
  }}
}} }}
"""
_RECORD = """
mutation ($input: RecordEventsInput!) { recordEvents(input: $input) {
  __typename
  ... on Problem { code message }
  ... on InvalidInput { field }
  ... on RecordEventsSuccess {
    recorded duplicates tasksCompleted pointsEarned rejected { eventId message }
  }
} }
"""

_ACHIEVEMENTS = """{ achievements {
  id key name description badgeUrl measure isActive pointsReward pointsGranted unlockedAt
  progress { current target }
} }"""


async def complete(client: Client, name: str, task_id: int, **more: Any) -> dict[str, Any]:
    """Claim a task."""
    asked = {"taskId": encode_id("Task", task_id), **more}
    return (await client.data(_COMPLETE, {"input": asked}, as_=name))["completeTask"]


async def check_in(client: Client, name: str, **more: Any) -> dict[str, Any]:
    """Sign in for today."""
    return (await client.data(_CHECK_IN, {"input": more}, as_=name))["checkIn"]


async def exchange(
    client: Client, name: str, item_id: int, key: str = "key", **more: Any
) -> dict[str, Any]:
    """Take an item with one click."""
    asked = {"itemId": encode_id("ExchangeItem", item_id), "idempotencyKey": key, **more}
    return (await client.data(_EXCHANGE, {"input": asked}, as_=name))["oneClickExchange"]


def event(user_id: int, event_id: str, at: datetime, type_: str = "read", **more: Any) -> Any:
    """An event as another system reports it."""
    who = encode_id("User", user_id)
    return {
        "eventId": event_id,
        "userId": who,
        "type": type_,
        "occurredAt": at.isoformat().replace("+00:00", "Z"),
        **more,
    }


async def record(client: Client, *events: Any) -> dict[str, Any]:
    """Report events as the service that may."""
    answer = await client.post(
        _RECORD, {"input": {"events": events}}, client.token("till", "service")
    )
    assert "errors" not in answer, answer["errors"]
    return answer["data"]["recordEvents"]


async def tasks(client: Client, name: str, arguments: str = "") -> list[dict[str, Any]]:
    """The member's tasks; `arguments` in GraphQL, with their brackets."""
    return (await client.data(f"{{ tasks{arguments} {{ {TASK} }} }}", as_=name))["tasks"]


async def achievements_of(client: Client, name: str) -> dict[str, dict[str, Any]]:
    """The member's achievements by key."""
    found = (await client.data(_ACHIEVEMENTS, as_=name))["achievements"]
    return {achievement["key"]: achievement for achievement in found}


async def unlocked_by(client: Client, name: str) -> set[str]:
    """The keys of what the member has unlocked."""
    found = await achievements_of(client, name)
    return {key for key, achievement in found.items() if achievement["unlockedAt"]}


async def available(client: Client, name: str) -> int:
    """What the member can spend."""
    return (await client.data("{ balance { available } }", as_=name))["balance"]["available"]
