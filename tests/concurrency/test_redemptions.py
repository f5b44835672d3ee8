"""Coupons used and given back at the same time, through two server processes."""

from collections import Counter
from typing import Any

from schema.ids import encode_id
from tests.concurrency.conftest import Town
from tests.concurrency.operations import (
    Answer,
    add_members,
    all_at_once,
    only_field,
    outcomes,
    some_at_once,
)
from tests.concurrency.test_returns import CANCEL
from tests.factories import add_item, execute, points_of

REDEEM = """
mutation ($code: String!, $reference: String!) {
  redeemCoupon(input: {code: $code, reference: $reference}) {
    __typename ... on RedeemCouponSuccess { replayed } ... on Problem { code message }
  }
}
"""
PAIRS, MEMBERS, PRICE = 400, 20, 10


async def _take(town: Town, names: list[str], count: int) -> list[Any]:
    item_id = await add_item(
        town.mall, points=PRICE, stock=count, type="coupon", config={"generate": True}
    )
    await some_at_once(
        (
            town.members.exchange(names[number % len(names)], item_id, f"{item_id}-{number}")
            for number in range(count)
        ),
        limit=64,
    )
    return await execute(
        town.mall,
        "SELECT external_id, exchange_id, code FROM user_coupons JOIN users ON users.id = user_id"
        " JOIN exchanges ON exchanges.id = exchange_id WHERE item_id = :item",
        item=item_id,
    )


async def _ask(town: Town, who: str, query: str, *roles: str, **variables: Any) -> Answer:
    return only_field(await town.members.ask(who, query, *roles, **variables))


async def test_a_coupon_is_used_or_given_back(town: Town) -> None:
    """400 pairs at once: of each exactly one goes through, and the points say which."""
    names = [f"undecided-{number}" for number in range(MEMBERS)]
    user_ids = await add_members(town.mall, names, 1_000)
    await add_members(town.mall, ["till"])
    taken = await _take(town, names, PAIRS)
    assert len(taken) == PAIRS

    async def pair(row: Any, number: int) -> tuple[Answer, Answer]:
        cancelling = _ask(town, row.external_id, CANCEL, id=encode_id("Exchange", row.exchange_id))
        using = _ask(town, "till", REDEEM, "service", code=row.code, reference=f"order {number}")
        if number % 2:
            cancelled, used = await all_at_once([cancelling, using])
        else:
            used, cancelled = await all_at_once([using, cancelling])
        return cancelled, used

    answers = await some_at_once((pair(row, number) for number, row in enumerate(taken)), limit=32)
    won = Counter(
        (cancelled.get("code", "cancelled"), used.get("code", "used"))
        for cancelled, used in answers
    )
    assert set(won) <= {("cancelled", "INVALID_STATE"), ("INVALID_STATE", "used")}, won
    used = won["INVALID_STATE", "used"]
    assert 0 < used < PAIRS
    balances = [await points_of(town.mall, user_id) for user_id in user_ids]
    assert sum(balances) == MEMBERS * 1_000 - used * PRICE
    held = await execute(town.mall, "SELECT status, count(*) FROM user_coupons GROUP BY status")
    assert dict(held) == {"used": used, "revoked": PAIRS - used}


async def test_a_coupon_is_used_by_one_of_many(town: Town) -> None:
    """20 coupons, each by four orders at once, ten times each: one order has it, and knows it."""
    await add_members(town.mall, ["lucky"], 1_000)
    await add_members(town.mall, ["kiosk"])
    taken = await _take(town, ["lucky"], 20)
    asked = [(row.code, f"order {number % 4}") for number in range(40) for row in taken]
    answers = await some_at_once(
        (
            _ask(town, "kiosk", REDEEM, "service", code=code, reference=reference)
            for code, reference in asked
        ),
        limit=64,
    )
    assert outcomes(answers) == {"RedeemCouponSuccess": 200, "INVALID_STATE": 600}
    winners = {given for given, answer in zip(asked, answers, strict=True) if "replayed" in answer}
    assert len(winners) == 20
    first = [answer for answer in answers if answer.get("replayed") is False]
    assert len(first) == 20
