"""A shop honours a coupon: it is used once, and cannot be given back any more."""

from datetime import timedelta
from typing import Any

import pytest

from schema.ids import encode_id
from services.mall import Mall
from tests.client import Client
from tests.clock import MovableClock
from tests.factories import add_item, add_user, execute, fingerprint_of_database, give_points
from tests.journeys.money import ask
from tests.journeys.operator_steps import actions, add_operator, item_id_of, operate
from tests.journeys.steps import exchange

_REDEEM = """
mutation ($input: RedeemCouponInput!) { redeemCoupon(input: $input) {
  __typename
  ... on Problem { code message }
  ... on NotFound { id } ... on InvalidInput { field } ... on InvalidState { state }
  ... on RedeemCouponSuccess {
    replayed coupon { id code status expiresAt }
    item { id name }
  }
} }
"""


async def redeem(
    client: Client,
    code: str,
    reference: str = "order 1",
    role: str = "service",
    who: str | None = None,
    **more: Any,
) -> Any:
    """What the till, an operator, or who else asks is answered."""
    who = who or ("olga" if role == "operator" else "till")
    asked = {"code": code, "reference": reference, **more}
    answer = await client.post(_REDEEM, {"input": asked}, client.token(who, role))
    assert "errors" not in answer, answer["errors"]
    return answer["data"]["redeemCoupon"]


@pytest.fixture
async def item(mall: Mall) -> int:
    """A coupon that the mall generates; Alice with 1,000 points, an operator and a till."""
    noted = mall.clock() + timedelta(days=365)  # no login of theirs changes anything
    await give_points(mall, await add_user(mall, "alice", last_login_at=noted), 1000)
    await add_operator(mall)
    await add_user(mall, "till", last_login_at=noted)
    return await add_item(mall, type="coupon", config={"generate": True})


async def take(client: Client, item_id: int, key: str = "key") -> tuple[str, str]:
    """Alice takes one; returns the id of the exchange and the code."""
    taken = (await exchange(client, "alice", item_id, key))["exchange"]
    return taken["id"], taken["reward"]["code"]


async def refused(mall: Mall, client: Client, *given: str, **more: Any) -> dict[str, Any]:
    """The refusal, after which the database is as it was."""
    before = await fingerprint_of_database(mall)
    answer = await redeem(client, *given, **more)
    assert answer["message"], answer
    assert await fingerprint_of_database(mall) == before
    return answer


async def test_a_used_coupon_cannot_be_given_back(mall: Mall, client: Client, item: int) -> None:
    """The story this is for: used in the shop, cancelled in the app, points kept by the mall."""
    exchange_id, code = await take(client, item)
    done = await redeem(client, code, itemId=item_id_of(item))
    assert not done["replayed"]
    assert (done["coupon"]["code"], done["coupon"]["status"]) == (code, "USED")
    assert done["item"]["id"] == item_id_of(item)
    before = await fingerprint_of_database(mall)
    answer = await ask(client, "cancelExchange", "alice", "member", exchangeId=exchange_id)
    assert (answer["code"], answer["state"]) == ("INVALID_STATE", "COMPLETED")
    answer = await ask(
        client,
        "updateExchange",
        "olga",
        "operator",
        exchangeId=exchange_id,
        status="CANCELLED",
    )
    assert answer["code"] == "INVALID_STATE"
    assert await fingerprint_of_database(mall) == before


async def test_a_coupon_is_used_for_one_reference(
    mall: Mall, client: Client, clock: MovableClock, item: int
) -> None:
    """The same again is the first answer, even after its end; another is told that it is used."""
    _, code = await take(client, item)
    first = await redeem(client, code)
    clock.advance(days=40)
    before = await fingerprint_of_database(mall)
    assert await redeem(client, code) == {**first, "replayed": True}
    assert await fingerprint_of_database(mall) == before
    assert (await refused(mall, client, code, "order 2"))["state"] == "USED"
    rows = await execute(
        mall,
        "SELECT used_at, used_reference, external_id FROM user_coupons JOIN users ON used_by ="
        " users.id",
    )
    assert rows == [(clock() - timedelta(days=40), "order 1", "till")]


async def test_two_shops_number_their_orders_alike(mall: Mall, client: Client, item: int) -> None:
    """The other one is told that the coupon is used, whatever it calls its order."""
    noted = mall.clock() + timedelta(days=365)
    await add_user(mall, "other shop", last_login_at=noted)
    _, code = await take(client, item)
    first = await redeem(client, code)
    other = await refused(mall, client, code, who="other shop")
    assert (other["code"], other["state"]) == ("INVALID_STATE", "USED")
    assert (await refused(mall, client, code, role="operator"))["state"] == "USED"
    assert await redeem(client, code) == {**first, "replayed": True}


async def test_whoever_honours_a_coupon_learns_nothing_of_the_member(client: Client) -> None:
    """Neither through the coupon nor through the item: no exchange, lot, balance or user."""
    told, seen = ["RedeemCouponSuccess"], set[str]()
    while told:
        seen.add(name := told.pop())
        told += [field for field in await fields_of(client, name) if field not in seen]
    assert {"Coupon", "ExchangeItem"} < seen
    assert seen.isdisjoint({"Exchange", "User", "Balance", "PointsRecord", "LotDraw", "Shipment"})


async def fields_of(client: Client, name: str) -> list[str]:
    """The names of the types of the fields of a type."""
    kind = "name ofType { name ofType { name ofType { name } } }"
    query = f'{{ __type(name: "{name}") {{ fields {{ type {{ {kind} }} }} }} }}'
    found = (await client.data(query))["__type"]["fields"] or []
    types = []
    for field in found:
        kind = field["type"]
        while kind["name"] is None:
            kind = kind["ofType"]
        types.append(kind["name"])
    return types


async def test_an_order_may_use_several_coupons(mall: Mall, client: Client, item: int) -> None:
    """Of whichever items."""
    pool = await add_item(mall, type="coupon", config={}, stock=0)
    await operate(client, "importCoupons", itemId=item_id_of(pool), codes=["A券码", "unsold"])
    codes = [(await take(client, each, str(each)))[1] for each in (item, pool)]
    assert codes[1] == "A券码"
    for code in codes:
        assert (await redeem(client, code))["coupon"]["status"] == "USED"
    unsold = await refused(mall, client, "unsold")
    assert (unsold["code"], unsold["id"]) == ("NOT_FOUND", encode_id("Coupon", "unsold"))


async def test_what_an_operator_uses_is_noted(mall: Mall, client: Client, item: int) -> None:
    """Once, without the reference; what a service does is not an operator's."""
    _, code = await take(client, item)
    for _ in range(2):
        done = await redeem(client, code, role="operator")
    [(olga,)] = await execute(mall, "SELECT id FROM users WHERE external_id = 'olga'")
    coupon = (await execute(mall, "SELECT id FROM user_coupons"))[0].id
    assert done["replayed"]
    assert await actions(mall) == [
        (olga, "redeem_coupon", "Coupon", str(coupon), {"status": "used"})
    ]
    _, other = await take(client, item, "other")
    await redeem(client, other)
    assert len(await actions(mall)) == 1


async def test_what_cannot_be_used(
    mall: Mall, client: Client, clock: MovableClock, item: int
) -> None:
    """Revoked, of another item, unknown, and in the end expired."""
    cancelled, revoked = await take(client, item, "revoked")
    await ask(client, "cancelExchange", "alice", "member", exchangeId=cancelled)
    assert (await refused(mall, client, revoked))["state"] == "REVOKED"
    _, code = await take(client, item)
    other = item_id_of(await add_item(mall, type="coupon", config={"generate": True}))
    assert (await refused(mall, client, code, itemId=other))["code"] == "NOT_FOUND"
    assert (await refused(mall, client, "nobody's"))["code"] == "NOT_FOUND"
    clock.advance(days=30)
    assert (await refused(mall, client, code))["state"] == "EXPIRED"
    await execute(mall, "UPDATE user_coupons SET status = 'expired' WHERE code = :c", c=code)
    assert (await refused(mall, client, code))["state"] == "EXPIRED"


async def test_what_is_no_code_and_no_reference(mall: Mall, client: Client, item: int) -> None:
    """Named by the field; an id of something else is an error."""
    _, code = await take(client, item)
    for wrong in ("", " A", "A\x00", "c" * 201):
        assert (await refused(mall, client, wrong))["field"] == ["code"]
    for wrong in ("", "  ", "A\x00", "r" * 201):
        assert (await refused(mall, client, code, wrong))["field"] == ["reference"]
    asked = {"input": {"code": code, "reference": "r", "itemId": encode_id("Task", 1)}}
    answer = await client.post(_REDEEM, asked, client.token("till", "service"))
    assert answer["errors"][0]["extensions"]["code"] == "BAD_USER_INPUT"
    assert (await redeem(client, code, "r" * 200))["coupon"]["status"] == "USED"
