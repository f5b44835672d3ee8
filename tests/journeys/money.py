"""Mutations that move points around an exchange, as tests ask for them."""

from typing import Any

from schema.ids import encode_id
from tests.client import Client

_BALANCE = "balance { available pending lifetimeEarned lifetimeRedeemed }"
_LOT = (
    "id points originalPoints source sourceReference status expiresAt"
    " extensionOffer { fee expiresAt }"
)
_ASKED = {
    "cancelExchange": f"exchange {{ id status }} refundedPoints expiredPoints {_BALANCE}",
    "updateExchange": "exchange { id status updatedAt reward { __typename ... on Shipment"
    " { carrier trackingNumber } ... on Coupon { status } ... on VipMembership { expiresAt } } }",
    "grantPoints": f"pointsRecord {{ {_LOT} }} {_BALANCE} replayed",
    "reverseGrant": f"reversedPoints owedPoints {_BALANCE} replayed",
    "adjustPoints": "change { action amount pointsBefore pointsAfter source createdBy }"
    f" {_BALANCE} replayed",
    "extendPoints": f"pointsRecord {{ {_LOT} }} previousExpiresAt fee {_BALANCE} replayed",
}


async def ask(client: Client, field: str, who: str, role: str, **values: Any) -> dict[str, Any]:
    """The answer of one mutation to somebody in a role."""
    kind = field[0].upper() + field[1:]
    query = (
        f"mutation($input: {kind}Input!) {{ answer: {field}(input: $input) {{ __typename"
        f" ... on {kind}Success {{ {_ASKED[field]} }} {_problems(kind)} }} }}"
    )
    answer = await client.post(query, {"input": values}, client.token(who, role))
    assert "errors" not in answer, answer["errors"]
    return answer["data"]["answer"]


_PROBLEMS = {
    "CancelExchange": ("InvalidState", "NotFound"),
    "UpdateExchange": ("InvalidState", "NotFound"),
    "GrantPoints": ("NotFound", "InvalidInput", "IdempotencyConflict"),
    "ReverseGrant": ("NotFound", "InvalidInput", "IdempotencyConflict"),
    "AdjustPoints": ("NotFound", "InvalidInput", "InsufficientPoints", "IdempotencyConflict"),
    "ExtendPoints": ("NotFound", "InvalidState", "InsufficientPoints", "IdempotencyConflict"),
}
_FACTS = {
    "InvalidState": "state",
    "NotFound": "id",
    "InvalidInput": "field",
    "IdempotencyConflict": "idempotencyKey",
    "InsufficientPoints": "required available",
}


def _problems(kind: str) -> str:
    facts = " ".join(f"... on {name} {{ {_FACTS[name]} }}" for name in _PROBLEMS[kind])
    return f"... on Problem {{ code message }} {facts}"


async def grant(client: Client, user_id: int, points: int, key: str, **more: Any) -> dict[str, Any]:
    """A grant by a shop to a user."""
    values = {"source": "campaign", **more}
    who = encode_id("User", user_id)
    return await ask(
        client,
        "grantPoints",
        "shop",
        "service",
        userId=who,
        points=points,
        idempotencyKey=key,
        **values,
    )


async def reverse(client: Client, reference: str, key: str, points: int | None = None) -> Any:
    """A reversal by the shop."""
    return await ask(
        client,
        "reverseGrant",
        "shop",
        "service",
        source="campaign",
        reference=reference,
        points=points,
        idempotencyKey=key,
    )
