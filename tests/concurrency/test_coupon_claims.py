"""A pool of imported codes, claimed by more than it holds through two server processes."""

from collections import Counter

from schema.ids import encode_id
from tests.concurrency.conftest import Town
from tests.concurrency.operations import add_members, all_at_once, only_field, outcomes
from tests.factories import add_item, execute, points_of

_IMPORT = """
mutation ($item: ID!, $codes: [String!]!) {
  importCoupons(input: {itemId: $item, codes: $codes}) {
    __typename ... on ImportCouponsSuccess { imported item { stock } }
  }
}
"""
_CODES, _CALLS, _MEMBERS, _PRICE, _RICHES = 1_000, 2_000, 100, 10, 1_000


async def test_a_pool_of_1000_codes_serves_1000_of_2000_claims(town: Town) -> None:
    """Each code to one claim, OutOfStock to the others, who paid nothing."""
    names = [f"claimant-{number}" for number in range(_MEMBERS)]
    user_ids = await add_members(town.mall, names, _RICHES)
    item_id = await add_item(town.mall, points=_PRICE, stock=0, type="coupon", config={})
    item = encode_id("ExchangeItem", item_id)
    codes = [f"CODE-{number:04d}" for number in range(_CODES)]
    imported = await town.members.ask("olga", _IMPORT, "operator", item=item, codes=codes)
    assert only_field(imported)["item"]["stock"] == _CODES
    answers = await all_at_once(
        town.members.exchange(names[number % _MEMBERS], item_id, f"key-{number}", through=number)
        for number in range(_CALLS)
    )
    assert outcomes(answers) == {
        "OneClickExchangeSuccess": _CODES,
        "OUT_OF_STOCK": _CALLS - _CODES,
    }
    given = [answer["exchange"]["reward"]["code"] for answer in answers if "exchange" in answer]
    assert sorted(given) == codes
    await _assert_each_code_is_paid_for(town, item_id, user_ids)


async def _assert_each_code_is_paid_for(town: Town, item_id: int, user_ids: list[int]) -> None:
    """By the member who holds it; nobody paid for more than they hold, and none is left."""
    held = await execute(
        town.mall,
        "SELECT user_id, code FROM user_coupons JOIN coupon_codes USING (exchange_id, code)"
        " WHERE item_id = :item AND coupon_codes.status = 'issued'",
        item=item_id,
    )
    assert len({row.code for row in held}) == len(held) == _CODES
    counts = Counter(row.user_id for row in held)
    paid = {each: _RICHES - await points_of(town.mall, each) for each in user_ids}
    assert paid == {user_id: counts[user_id] * _PRICE for user_id in user_ids}
    left = "SELECT stock, total_stock FROM exchange_items WHERE id = :item"
    assert await execute(town.mall, left, item=item_id) == [(0, _CODES)]
    unused = "SELECT count(*) FROM coupon_codes WHERE item_id = :item AND status = 'unused'"
    assert await execute(town.mall, unused, item=item_id) == [(0,)]
