"""Who wishes for an item is told whenever a change brings it back, and of nothing else."""

from typing import Any

import pytest

from services.mall import Mall
from tests.client import Client
from tests.clock import MovableClock
from tests.factories import add_item, add_user, execute, give_points
from tests.journeys.money import ask
from tests.journeys.operator_steps import add_operator, asked_for, item_id_of, operate, wish
from tests.journeys.steps import exchange

ON_SALE: dict[str, Any] = {"name": "马克杯", "points": 500, "stock": 5, "type": "VIRTUAL"}
_PAST, _FUTURE = "2026-11-01T00:00:00Z", "2026-12-01T00:00:00Z"
OFF_SALE: list[dict[str, Any]] = [
    {"stock": 0},
    {"isActive": False},
    {"availableUntil": _PAST},
    {"availableFrom": _FUTURE},
    {"isActive": False, "stock": 0, "availableFrom": _FUTURE},
]


@pytest.fixture
async def olga(mall: Mall) -> int:
    """An operator."""
    return await add_operator(mall)


@pytest.mark.usefixtures("olga")
@pytest.mark.parametrize("off_sale", OFF_SALE)
async def test_wishers_hear_of_whatever_brings_an_item_back(
    mall: Mall, client: Client, off_sale: dict[str, Any]
) -> None:
    """Stock, window or switch: once when it can be had again, whatever else is changed then."""
    item_id = await add_item(mall)
    await wish(mall, item_id)
    known = {"id": item_id_of(item_id)}
    for change, times in ((off_sale, 0), ({}, 1), ({"name": "neu"}, 1), (off_sale, 1), ({}, 2)):
        await operate(client, "saveItem", **(ON_SALE | change | known))
        assert await asked_for(mall, "back_in_stock") == [{"item_id": item_id}] * times


@pytest.mark.usefixtures("olga")
async def test_wishers_hear_nothing_of_what_cannot_be_had(mall: Mall, client: Client) -> None:
    """Stock for an item that is switched off, a switch for one without stock, a later window."""
    item_id = await add_item(mall, stock=0, is_active=False)
    await wish(mall, item_id)
    known = {"id": item_id_of(item_id)}
    for change in (
        {"isActive": False},
        {"isActive": True, "stock": 0},
        {"isActive": False, "stock": 9},
        {"availableFrom": _FUTURE},
        {"availableFrom": _PAST, "availableUntil": "2026-11-02T00:00:00Z"},
    ):
        await operate(client, "saveItem", **(ON_SALE | change | known))
    assert await asked_for(mall, "back_in_stock") == []


@pytest.mark.usefixtures("olga")
@pytest.mark.parametrize("is_active", [True, False])
async def test_a_cancelled_exchange_brings_back_what_is_on_sale(
    mall: Mall, client: Client, is_active: bool
) -> None:
    """The last unit that comes back is told of; not while the item is switched off."""
    alice = await add_user(mall, "alice")
    await give_points(mall, alice, 200)
    item_id = await add_item(mall, stock=1, type="coupon", config={"generate": True})
    await wish(mall, item_id)
    placed = await exchange(client, "alice", item_id)
    switch = "UPDATE exchange_items SET is_active = :active WHERE id = :id"
    await execute(mall, switch, active=is_active, id=item_id)
    exchange_id = placed["exchange"]["id"]
    await ask(client, "cancelExchange", "alice", "member", exchangeId=exchange_id)
    assert await asked_for(mall, "back_in_stock") == [{"item_id": item_id}] * is_active
    terms = ON_SALE | {"type": "COUPON", "stock": 1, "id": item_id_of(item_id)}
    await operate(client, "saveItem", **terms)
    assert await asked_for(mall, "back_in_stock") == [{"item_id": item_id}]


@pytest.mark.usefixtures("olga")
async def test_a_pool_whose_codes_have_ended_is_not_back(
    mall: Mall, client: Client, clock: MovableClock
) -> None:
    """Switched on with a code that nobody can have any more; with one that is good it is."""
    item_id = await add_item(mall, type="coupon", config={}, stock=0, is_active=False)
    await wish(mall, item_id)
    codes = {"itemId": item_id_of(item_id), "codes": ["ENDS"], "expiresAt": _FUTURE}
    await operate(client, "importCoupons", **codes)
    clock.advance(days=30)
    terms = {"name": "券", "points": 5, "type": "COUPON", "id": item_id_of(item_id)}
    saved = await operate(client, "saveItem", **terms)
    assert (saved["item"]["isActive"], saved["item"]["stock"]) == (True, 0)
    assert await asked_for(mall, "back_in_stock") == []
    await operate(client, "saveItem", **terms, isActive=False)
    await operate(client, "importCoupons", itemId=item_id_of(item_id), codes=["STAYS"])
    assert await asked_for(mall, "back_in_stock") == []
    await operate(client, "saveItem", **terms)
    assert await asked_for(mall, "back_in_stock") == [{"item_id": item_id}]
