"""Imported codes: brought in by operators, given to members, gone when they expire."""

from datetime import datetime, timedelta
from typing import Any

import pytest

from schema.ids import encode_id
from services.catalogue.coupon_codes import expire_codes
from services.mall import Mall
from services.transaction import transaction
from tests.client import Client
from tests.clock import MovableClock
from tests.factories import (
    add_item,
    add_user,
    execute,
    fingerprint_of_database,
    give_points,
)
from tests.journeys.operator_steps import (
    actions,
    add_operator,
    all_refused,
    asked_for,
    item_id_of,
    operate,
    operate_in_vain,
    refused,
    stock_of,
    wish,
)
from tests.journeys.steps import exchange


@pytest.fixture
async def pool(mall: Mall) -> int:
    """A coupon whose codes are imported, an operator, and Alice with 1,000 points."""
    await add_operator(mall)
    noted = mall.clock() + timedelta(days=365)  # no login of hers changes anything
    await give_points(mall, await add_user(mall, "alice", last_login_at=noted), 1000)
    return await add_item(mall, type="coupon", config={}, stock=0)


async def import_codes(client: Client, item_id: int, *codes: str, **more: Any) -> Any:
    """Import codes as the operator."""
    asked = {"itemId": item_id_of(item_id), "codes": list(codes), **more}
    return await operate(client, "importCoupons", **asked)


async def codes_of(mall: Mall, status: str) -> list[str]:
    """Codes of all pools that stand so, in the order in which they are given."""
    sql = "SELECT code FROM coupon_codes WHERE status = :status ORDER BY id"
    return [row.code for row in await execute(mall, sql, status=status)]


def written(instant: datetime) -> str:
    """An instant as the contract writes it."""
    return instant.isoformat().replace("+00:00", "Z")


async def test_imported_codes_are_the_stock(mall: Mall, client: Client, pool: int) -> None:
    """Twice in the call, in any pool, or with a member: counted, not imported."""
    other = await add_item(mall, type="coupon", config={}, stock=0)
    generated = await add_item(mall, type="coupon", config={"generate": True})
    held = (await exchange(client, "alice", generated))["exchange"]["reward"]["code"]
    first = await import_codes(client, pool, "B", "A", "B", "券码", "c" * 200)
    assert (first["imported"], first["duplicates"], first["item"]["stock"]) == (4, 1, 4)
    second = await import_codes(client, other, "A", held, "new")
    assert (second["imported"], second["duplicates"], second["item"]["stock"]) == (1, 2, 1)
    again = await import_codes(client, pool, "A", "B")
    assert (again["imported"], again["duplicates"], again["item"]["stock"]) == (0, 2, 4)
    assert await stock_of(mall, pool) == (4, 4)
    noted = await actions(mall)
    assert [action[1:4] for action in noted] == [
        ("import_codes", "ExchangeItem", str(item_id)) for item_id in (pool, other, pool)
    ]
    assert noted[0][4] == {
        "imported": 4,
        "duplicates": 1,
        "expires_at": None,
        "expired": 0,
        "before": {"stock": 0},
        "after": {"stock": 4},
    }


async def test_members_get_codes_of_the_pool(mall: Mall, client: Client, pool: int) -> None:
    """Each code once, then none; a coupon ends with its code, else after the item's days."""
    now = mall.clock()
    ends = now + timedelta(days=3)
    await import_codes(client, pool, "ENDS", expiresAt=written(ends))
    await import_codes(client, pool, "STAYS")
    rewards = [
        (await exchange(client, "alice", pool, f"key-{number}"))["exchange"]["reward"]
        for number in range(2)
    ]
    assert [(reward["code"], reward["expiresAt"]) for reward in rewards] == [
        ("ENDS", written(ends)),
        ("STAYS", written(now + timedelta(days=30))),
    ]
    before = await fingerprint_of_database(mall)
    answer = await exchange(client, "alice", pool, "one too many")
    assert answer["code"] == "OUT_OF_STOCK"
    assert await fingerprint_of_database(mall) == before
    assert await stock_of(mall, pool) == (0, 2)
    sql = "SELECT count(*) FROM coupon_codes JOIN user_coupons USING (exchange_id, code)"
    assert await execute(mall, sql) == [(2,)]


async def test_an_item_says_how_long_its_codes_are_good(mall: Mall, client: Client) -> None:
    """`valid_days`, where the code has no end of its own."""
    await add_operator(mall)
    await give_points(mall, await add_user(mall, "alice"), 100)
    pool = await add_item(mall, type="coupon", config={"valid_days": 7}, stock=0)
    await import_codes(client, pool, "A")
    reward = (await exchange(client, "alice", pool))["exchange"]["reward"]
    assert reward["expiresAt"] == written(mall.clock() + timedelta(days=7))


async def test_the_same_key_gets_the_same_code(mall: Mall, client: Client, pool: int) -> None:
    """And the others stay unused."""
    await import_codes(client, pool, "A", "B")
    first = await exchange(client, "alice", pool)
    again = await exchange(client, "alice", pool)
    assert again["exchange"]["reward"] == first["exchange"]["reward"]
    assert again["replayed"]
    assert await codes_of(mall, "unused") == ["B"]


async def test_who_cannot_pay_gets_no_code(mall: Mall, client: Client, pool: int) -> None:
    """What was read for a refused exchange stays unused."""
    await add_user(mall, "bob", last_login_at=mall.clock())
    await import_codes(client, pool, "A")
    assert (await exchange(client, "bob", pool))["code"] == "INSUFFICIENT_POINTS"
    assert await codes_of(mall, "unused") == ["A"]
    assert (await exchange(client, "alice", pool))["exchange"]["reward"]["code"] == "A"


async def test_expired_codes_are_never_given(
    mall: Mall, client: Client, clock: MovableClock, pool: int
) -> None:
    """Though stock still counts them: sold out, until somebody imports others."""
    await import_codes(client, pool, "A", "B", expiresAt=written(clock.now + timedelta(days=1)))
    await wish(mall, pool)
    clock.advance(days=1)
    before = await fingerprint_of_database(mall)
    answer = await exchange(client, "alice", pool)
    assert answer["code"] == "OUT_OF_STOCK"
    assert await fingerprint_of_database(mall) == before
    answer = await import_codes(client, pool, "C")
    assert (answer["imported"], answer["item"]["stock"]) == (1, 1)
    assert await asked_for(mall, "back_in_stock") == [{"item_id": pool}]
    assert await stock_of(mall, pool) == (1, 1)
    assert (await exchange(client, "alice", pool))["exchange"]["reward"]["code"] == "C"
    assert await codes_of(mall, "expired") == ["A", "B"]


async def test_a_good_code_is_found_behind_expired_ones(
    mall: Mall, client: Client, clock: MovableClock, pool: int
) -> None:
    """Imported earlier, expired sooner: passed over."""
    await import_codes(client, pool, "A", expiresAt=written(clock.now + timedelta(days=1)))
    await import_codes(client, pool, "B")
    clock.advance(days=2)
    assert (await exchange(client, "alice", pool, "1"))["exchange"]["reward"]["code"] == "B"
    assert (await exchange(client, "alice", pool, "2"))["code"] == "OUT_OF_STOCK"


async def test_codes_expire_in_batches(
    mall: Mall, client: Client, clock: MovableClock, pool: int
) -> None:
    """Out of the pools and the stocks of all items; what is issued or good stays."""
    other = await add_item(mall, type="coupon", config={}, stock=0)
    ends = written(clock.now + timedelta(days=1))
    await import_codes(client, pool, "A", "B", "C", "D", expiresAt=ends)
    await import_codes(client, other, "E", "F", expiresAt=ends)
    await import_codes(client, other, "G")
    await exchange(client, "alice", pool)
    expired: list[int | None] = []
    clock.advance(days=1)
    while not expired or expired[-1] is not None:
        async with transaction(mall.stores.bulk) as session:
            expired.append(await expire_codes(session, clock, codes=2))
    assert expired == [2, 2, 1, None]
    assert await codes_of(mall, "unused") == ["G"]
    assert (await stock_of(mall, pool), await stock_of(mall, other)) == ((0, 1), (1, 1))


async def test_what_cannot_be_imported(mall: Mall, client: Client, pool: int) -> None:
    """Codes that cannot be, too many, an end that is past, an item that has no pool."""
    virtual = item_id_of(await add_item(mall))
    generated = item_id_of(await add_item(mall, type="coupon", config={"generate": True}))
    good = {"itemId": item_id_of(pool), "codes": ["A", "B"]}
    cases: list[tuple[dict[str, Any], list[str]]] = [
        ({"codes": ["A", ""]}, ["codes", "1"]),
        ({"codes": ["c" * 201]}, ["codes", "0"]),
        *(({"codes": [f"A{wrong}"]}, ["codes", "0"]) for wrong in "\x00\n\t\x1b\x7f\x85"),
        ({"codes": ["c"] * 10_001}, ["codes"]),
        ({"expiresAt": written(mall.clock())}, ["expiresAt"]),
        ({"itemId": virtual}, ["itemId"]),
        ({"itemId": generated}, ["itemId"]),
    ]
    await all_refused(
        mall, client, "importCoupons", [(good | wrong, field) for wrong, field in cases]
    )
    answer = await refused(mall, client, "importCoupons", **good | {"itemId": item_id_of(4711)})
    assert (answer["code"], answer["id"]) == ("NOT_FOUND", item_id_of(4711))
    wrong_id = good | {"itemId": encode_id("Task", 1)}
    assert await operate_in_vain(client, "importCoupons", **wrong_id) == "BAD_USER_INPUT"


async def test_ten_thousand_codes_fit_one_call(mall: Mall, client: Client, pool: int) -> None:
    """Of the longest length, and none is lost; sent again, they change nothing but the notes."""
    codes = [f"{number:0200d}" for number in range(10_000)]
    assert (await import_codes(client, pool, *codes))["imported"] == 10_000
    assert (await import_codes(client, pool, *codes))["duplicates"] == 10_000
    assert await stock_of(mall, pool) == (10_000, 10_000)


async def test_the_stock_of_a_pool_is_its_codes(mall: Mall, client: Client, pool: int) -> None:
    """Saving the item cannot set it, nor take the pool away from under its codes."""
    await import_codes(client, pool, "A", "B")
    terms = {"id": item_id_of(pool), "name": "x", "points": 100, "type": "COUPON"}
    virtual = {"type": "VIRTUAL", "stock": 2}
    cases: list[tuple[dict[str, Any], list[str]]] = [
        ({"stock": 3}, ["stock"]),
        ({"stock": 0}, ["stock"]),
        ({"config": {"generate": True}}, ["config", "generate"]),
        (virtual, ["type"]),
    ]
    await all_refused(mall, client, "saveItem", [(terms | wrong, field) for wrong, field in cases])
    saved = await operate(client, "saveItem", **terms | {"config": {"valid_days": 3}})
    assert (saved["item"]["stock"], saved["item"]["name"]) == (2, "x")
    assert await stock_of(mall, pool) == (2, 2)
