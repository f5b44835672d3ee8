"""One-click exchange: what each kind of item gives, who pays with which lot, and the history."""

from datetime import datetime, timedelta
from typing import Any

import pytest

from schema.ids import encode_id
from services.mall import Mall
from services.points.account import Lot
from tests.client import Client
from tests.clock import MovableClock
from tests.factories import add_item, add_user, execute, give_points, points_of
from tests.journeys.steps import EXCHANGE, exchange

SHIPPING = {"recipient": " 李雷 ", "phone": "13800138000", "address": "上海市静安区南京西路1号"}


@pytest.fixture
async def rich(mall: Mall) -> int:
    """Alice, with 10,000 points."""
    user_id = await add_user(mall, "alice")
    await give_points(mall, user_id, 10_000)
    return user_id


async def history(client: Client, arguments: str = "") -> dict[str, Any]:
    """Alice's exchanges; `arguments` in GraphQL, with their brackets."""
    page = "pageInfo { hasNextPage hasPreviousPage startCursor endCursor }"
    query = f"{{ exchanges{arguments} {{ {page} edges {{ cursor }} nodes {{ {EXCHANGE} }} }} }}"
    return (await client.data(query, as_="alice"))["exchanges"]


@pytest.mark.usefixtures("rich")
async def test_a_virtual_item_delivers_what_its_config_says(mall: Mall, client: Client) -> None:
    """Completed at once; the note tells how it arrives."""
    taken = await exchange(client, "alice", await add_item(mall, points=300, stock=5))
    done = taken["exchange"]
    assert (taken["pointsUsed"], taken["remainingPoints"], taken["replayed"]) == (300, 9700, False)
    assert (done["points"], done["status"]) == (300, "COMPLETED")
    assert done["reward"] == {"__typename": "ManualDelivery", "note": "发到您的邮箱"}
    assert (done["item"]["stock"], done["item"]["exchangeCount"]) == (4, 1)
    assert (done["createdAt"], done["updatedAt"]) == ("2026-11-20T04:00:00Z",) * 2


@pytest.mark.usefixtures("rich")
async def test_a_physical_item_is_shipped(mall: Mall, client: Client) -> None:
    """Pending, with the address, tidied, and no carrier yet."""
    item_id = await add_item(mall, type="physical", config={})
    done = (await exchange(client, "alice", item_id, shipping=SHIPPING))["exchange"]
    assert done["status"] == "PENDING"
    assert done["reward"] == {
        "__typename": "Shipment",
        "recipient": "李雷",
        "phone": "13800138000",
        "address": "上海市静安区南京西路1号",
        "carrier": None,
        "trackingNumber": None,
    }


@pytest.mark.usefixtures("rich")
async def test_an_item_that_is_not_shipped_keeps_no_address(mall: Mall, client: Client) -> None:
    """What is not needed is not stored."""
    done = await exchange(client, "alice", await add_item(mall), shipping=SHIPPING)
    assert done["exchange"]["reward"]["__typename"] == "ManualDelivery"
    assert await execute(mall, "SELECT * FROM shipments") == []


@pytest.mark.usefixtures("rich")
async def test_a_coupon_is_generated(mall: Mall, client: Client) -> None:
    """Valid 30 days or as long as the item says; each code is another."""
    plain = await add_item(mall, type="coupon", config={"generate": True})
    config = {"generate": True, "prefix": "VIP-", "valid_days": 3}
    special = await add_item(mall, type="coupon", config=config)
    coupons = [
        (await exchange(client, "alice", item_id, f"key {number}"))["exchange"]["reward"]
        for number, item_id in enumerate([plain, plain, special])
    ]
    assert {coupon["__typename"] for coupon in coupons} == {"Coupon"}
    assert {coupon["status"] for coupon in coupons} == {"ACTIVE"}
    codes = [coupon["code"] for coupon in coupons]
    assert [len(code) for code in codes] == [16, 16, 20]
    assert len(set(codes)) == 3
    assert codes[2].startswith("VIP-")
    ends = [coupon["expiresAt"] for coupon in coupons]
    assert ends == ["2026-12-20T04:00:00Z", "2026-12-20T04:00:00Z", "2026-11-23T04:00:00Z"]


async def test_a_coupon_without_a_pool_is_out_of_stock(
    mall: Mall, client: Client, rich: int
) -> None:
    """An item that takes imported codes, and has none, gives nothing."""
    item_id = await add_item(mall, type="coupon", config={}, stock=0)
    assert (await exchange(client, "alice", item_id))["code"] == "OUT_OF_STOCK"
    assert await points_of(mall, rich) == 10_000


@pytest.mark.usefixtures("rich")
async def test_vip_begins_and_is_extended(mall: Mall, client: Client, clock: MovableClock) -> None:
    """A second one of the same level is added to the running one; another level stands alone."""
    gold = await add_item(mall, type="vip", config={"level": 2, "days": 30})
    silver = await add_item(mall, type="vip", config={"level": 1, "days": 10})
    ends = []
    for number, item_id in enumerate([gold, gold, silver]):
        done = await exchange(client, "alice", item_id, f"key {number}")
        ends.append(done["exchange"]["reward"])
        clock.advance(days=1)
    assert ends == [
        {"__typename": "VipMembership", "level": 2, "expiresAt": "2026-12-20T04:00:00Z"},
        {"__typename": "VipMembership", "level": 2, "expiresAt": "2027-01-19T04:00:00Z"},
        {"__typename": "VipMembership", "level": 1, "expiresAt": "2026-12-02T04:00:00Z"},
    ]
    query = "{ me { vip { level expiresAt } } }"
    held = (await client.data(query, as_="alice"))["me"]["vip"]
    assert [(entry["level"], entry["expiresAt"]) for entry in held] == [
        (2, "2027-01-19T04:00:00Z"),
        (1, "2026-12-02T04:00:00Z"),
    ]
    first = (await history(client))["nodes"][-1]["reward"]
    assert first["expiresAt"] == "2026-12-20T04:00:00Z"  # as it was given, whatever came later


@pytest.mark.usefixtures("rich")
async def test_vip_that_has_ended_begins_anew(
    mall: Mall, client: Client, clock: MovableClock
) -> None:
    """From the day of the exchange, not from the end of the old one."""
    item_id = await add_item(mall, type="vip", config={"level": 1, "days": 10})
    await exchange(client, "alice", item_id)
    clock.advance(days=20)
    assert (await client.data("{ me { vip { level } } }", as_="alice"))["me"]["vip"] == []
    done = await exchange(client, "alice", item_id, "again")
    assert done["exchange"]["reward"]["expiresAt"] == "2026-12-20T04:00:00Z"


async def test_what_expires_first_pays_first(
    mall: Mall, client: Client, clock: MovableClock
) -> None:
    """Then the older lot; those that never expire come last; each draw is shown in order."""
    user_id, day = await add_user(mall), timedelta(days=1)
    soon, late = clock.now + 10 * day, clock.now + 20 * day
    lots: dict[str, Lot] = {}
    lots["never"] = await give_points(mall, user_id, 50, expires_at=None)
    lots["late"] = await give_points(mall, user_id, 50, expires_at=late)
    lots["older"] = await give_points(mall, user_id, 50, expires_at=soon)
    clock.advance(minutes=1)
    lots["younger"] = await give_points(mall, user_id, 50, expires_at=soon)
    drawn = []
    for number, points in enumerate([30, 100, 60]):
        item_id = await add_item(mall, points=points)
        done = (await exchange(client, "alice", item_id, f"key {number}"))["exchange"]
        drawn.append([(draw["pointsRecordId"], draw["points"]) for draw in done["paidFrom"]])
    ids = {name: encode_id("PointsRecord", lot.id) for name, lot in lots.items()}
    assert drawn == [
        [(ids["older"], 30)],
        [(ids["older"], 20), (ids["younger"], 50), (ids["late"], 30)],
        [(ids["late"], 20), (ids["never"], 40)],
    ]
    assert done["paidFrom"][1]["expiresAt"] is None
    assert await points_of(mall, user_id) == 10


@pytest.mark.usefixtures("rich")
async def test_a_key_settles_once(mall: Mall, client: Client, clock: MovableClock) -> None:
    """The same answer again, later too, and when the item is gone or the balance has changed."""
    item_id = await add_item(mall, stock=2)
    first = await exchange(client, "alice", item_id, "k" * 128)
    await exchange(client, "alice", item_id, "another")
    clock.advance(days=30)
    again = await exchange(client, "alice", item_id, "k" * 128)
    first["exchange"]["item"] = again["exchange"]["item"]  # the item as it now is
    assert again == {**first, "replayed": True}
    assert await execute(mall, "SELECT count(*) FROM exchanges") == [(2,)]


@pytest.mark.usefixtures("rich")
async def test_a_key_for_something_else_is_a_conflict(mall: Mall, client: Client) -> None:
    """Another item or another address under a key that is settled."""
    item_id = await add_item(mall, type="physical", config={})
    await exchange(client, "alice", item_id, shipping=SHIPPING)
    other = {**SHIPPING, "phone": "13900139000"}
    for asked in ({"shipping": other}, {}, {"itemId": encode_id("ExchangeItem", 4711)}):
        refused = await exchange(client, "alice", item_id, **{"shipping": None, **asked})
        assert refused["__typename"] == "IdempotencyConflict"
        assert (refused["code"], refused["idempotencyKey"]) == ("IDEMPOTENCY_CONFLICT", "key")
    assert await execute(mall, "SELECT count(*) FROM exchanges") == [(1,)]


@pytest.mark.usefixtures("rich")
async def test_a_key_belongs_to_its_member(mall: Mall, client: Client) -> None:
    """Two members may use the same one."""
    await give_points(mall, await add_user(mall, "bob"), 500)
    item_id = await add_item(mall)
    done = [await exchange(client, name, item_id) for name in ("alice", "bob")]
    assert [answer["replayed"] for answer in done] == [False, False]


@pytest.mark.usefixtures("rich")
async def test_a_key_that_was_refused_may_be_tried_again(mall: Mall, client: Client) -> None:
    """A refusal settles nothing."""
    item_id = await add_item(mall, stock=0)
    assert (await exchange(client, "alice", item_id))["code"] == "OUT_OF_STOCK"
    await execute(mall, "UPDATE exchange_items SET stock = 1, total_stock = 1")
    assert (await exchange(client, "alice", item_id))["replayed"] is False


@pytest.mark.usefixtures("rich")
async def test_the_history_is_paged_newest_first(
    mall: Mall, client: Client, clock: MovableClock
) -> None:
    """Nothing twice and nothing missing, though another exchange comes between the pages."""
    item_id, ids = await add_item(mall), []
    for number in range(5):
        clock.advance(seconds=1)
        done = await exchange(client, "alice", item_id, f"key {number}")
        ids.insert(0, done["exchange"]["id"])
    seen, after = [], "null"
    for number in range(3):
        page = await history(client, f"(first: 2, after: {after})")
        seen += [node["id"] for node in page["nodes"]]
        assert page["pageInfo"]["hasNextPage"] is (number < 2)
        assert page["pageInfo"]["hasPreviousPage"] is (number > 0)
        assert page["pageInfo"]["startCursor"] == page["edges"][0]["cursor"]
        assert page["pageInfo"]["endCursor"] == page["edges"][-1]["cursor"]
        after = '"{}"'.format(page["pageInfo"]["endCursor"])
        clock.advance(seconds=1)
        await exchange(client, "alice", item_id, f"between {number}")
    assert seen == ids


@pytest.mark.usefixtures("rich")
async def test_the_history_is_filtered_by_status_and_own(mall: Mall, client: Client) -> None:
    """Each status alone, and nothing of anybody else."""
    await give_points(mall, await add_user(mall, "bob"), 500)
    parcel = await add_item(mall, type="physical", config={})
    await exchange(client, "alice", parcel, shipping=SHIPPING)
    await exchange(client, "alice", await add_item(mall), "second")
    await exchange(client, "bob", await add_item(mall))
    counts = {
        status: len((await history(client, f"(status: {status})"))["nodes"])
        for status in ("PENDING", "SHIPPED", "COMPLETED", "CANCELLED", "null")
    }
    assert counts == {"PENDING": 1, "SHIPPED": 0, "COMPLETED": 1, "CANCELLED": 0, "null": 2}


@pytest.mark.usefixtures("rich")
async def test_an_exchange_asks_for_its_confirmation(mall: Mall, client: Client) -> None:
    """One outbox row each, in the same transaction; none for a replay or a refusal."""
    item_id = await add_item(mall, stock=1)
    for key in ("key", "key", "other"):
        await exchange(client, "alice", item_id, key)
    rows = await execute(
        mall,
        "SELECT job, payload->>'exchange_id' = e.id::text FROM outbox, exchanges e"
        " WHERE job <> 'refresh_ranks'",
    )
    assert rows == [("exchange_confirmation", True)]


async def test_a_member_spends_to_the_last_point(
    mall: Mall, client: Client, clock: MovableClock
) -> None:
    """And the lots that paid are used up."""
    user_id = await add_user(mall)
    expires_at = datetime.fromisoformat("2026-12-01T00:00:00Z")
    await give_points(mall, user_id, 100, expires_at=expires_at)
    assert (await exchange(client, "alice", await add_item(mall)))["remainingPoints"] == 0
    assert await execute(mall, "SELECT points, status FROM points_records") == [(0, "used")]
    clock.advance(days=30)
    query = "{ balance { available lifetimeEarned lifetimeRedeemed lots { totalCount } } }"
    assert (await client.data(query, as_="alice"))["balance"] == {
        "available": 0,
        "lifetimeEarned": 100,
        "lifetimeRedeemed": 100,
        "lots": {"totalCount": 0},
    }


async def test_a_coupon_past_its_end_shows_as_expired(
    mall: Mall, client: Client, rich: int, clock: MovableClock
) -> None:
    """On the exchange, whether or not a job has noted it."""
    assert rich
    item_id = await add_item(mall, type="coupon", config={"generate": True, "valid_days": 7})
    await exchange(client, "alice", item_id)
    query = "{ exchanges { nodes { reward { ... on Coupon { status } } } } }"
    for status in ("ACTIVE", "EXPIRED"):
        shown = await client.data(query, as_="alice")
        assert shown["exchanges"]["nodes"] == [{"reward": {"status": status}}]
        clock.advance(days=7)
