"""Points from other systems: granted, held back, taken back, owed; and corrections."""

from datetime import timedelta
from typing import Any

import pytest

from schema.ids import encode_id
from services.mall import Mall
from services.points.activate import Activated, activate_batch
from services.transaction import transaction
from tests.client import Client
from tests.clock import MovableClock
from tests.factories import add_item, add_user, execute, fingerprint_of_database, give_points
from tests.journeys.money import ask, grant, reverse
from tests.journeys.steps import exchange


@pytest.fixture
async def member(mall: Mall) -> int:
    """A member without points; shop and operator have signed in before."""
    for name in ("shop", "boss"):
        await add_user(mall, name, last_login_at=mall.clock())
    return await add_user(mall, "alice")


async def _activate(mall: Mall) -> Activated | None:
    async with transaction(mall.stores.bulk) as session:
        return await activate_batch(session, mall.clock, zone=mall.zone)


async def _adjust(client: Client, user_id: int, points: int, key: str = "key", **more: Any) -> Any:
    values = {"reason": "补偿", **more}
    who = encode_id("User", user_id)
    return await ask(
        client,
        "adjustPoints",
        "boss",
        "operator",
        userId=who,
        points=points,
        idempotencyKey=key,
        **values,
    )


async def test_points_are_granted_once_per_key(client: Client, member: int) -> None:
    """A lot with its source and the default end; the key again gives the same answer."""
    first = await grant(client, member, 250, "key", reference="order-1")
    lot = first["pointsRecord"]
    assert (lot["points"], lot["originalPoints"], lot["status"]) == (250, 250, "ACTIVE")
    assert (lot["source"], lot["sourceReference"]) == ("campaign", "order-1")
    assert lot["expiresAt"] == "2027-11-20T04:00:00Z"
    assert lot["extensionOffer"] is None
    assert (first["balance"]["available"], first["replayed"]) == (250, False)
    again = await grant(client, member, 250, "key", reference="order-1")
    assert again == {**first, "replayed": True}
    other = await grant(client, member, 251, "key", reference="order-1")
    assert (other["code"], other["idempotencyKey"]) == ("IDEMPOTENCY_CONFLICT", "key")


async def test_a_reference_names_one_grant(mall: Mall, client: Client, member: int) -> None:
    """Of anybody: else nobody could tell what is taken back."""
    bob = await add_user(mall, "bob")
    await grant(client, member, 10, "first", reference="order-1")
    second = await grant(client, bob, 10, "second", reference="order-1")
    assert (second["code"], second["field"]) == ("INVALID_INPUT", ["reference"])
    elsewhere = await grant(client, bob, 10, "third", reference="order-1", source="shop")
    assert elsewhere["__typename"] == "GrantPointsSuccess"


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({"points": 0}, "points"),
        ({"points": -1}, "points"),
        ({"source": ""}, "source"),
        ({"source": "s" * 65}, "source"),
        ({"source": "check_in"}, "source"),
        ({"reference": " "}, "reference"),
        ({"expiresAt": "2026-11-20T04:00:00Z"}, "expiresAt"),
        ({"availableAt": "2026-12-02T00:00:00Z", "expiresAt": "2026-12-01T00:00:00Z"}, "expiresAt"),
        ({"idempotencyKey": ""}, "idempotencyKey"),
    ],
)
async def test_a_bad_grant_changes_nothing(
    mall: Mall, client: Client, member: int, values: dict[str, Any], field: str
) -> None:
    """Each rule names the field that breaks it."""
    before = await fingerprint_of_database(mall)
    asked = {
        "userId": encode_id("User", member),
        "points": 5,
        "source": "campaign",
        "idempotencyKey": "key",
        **values,
    }
    refused = await ask(client, "grantPoints", "shop", "service", **asked)
    assert (refused["code"], refused["field"]) == ("INVALID_INPUT", [field])
    assert await fingerprint_of_database(mall) == before


async def test_nobody_can_be_granted_points(mall: Mall, client: Client, member: int) -> None:
    """An unknown user is not found, nor can a balance outgrow what JSON carries."""
    assert (await grant(client, 999, 5, "key"))["code"] == "NOT_FOUND"
    assert (await grant(client, member, 10**12 + 1, "too many"))["field"] == ["points"]
    await give_points(mall, member, 2**53 - 1 - 10**12)
    assert (await grant(client, member, 10**12, "most"))["balance"]["available"] == 2**53 - 1
    assert (await grant(client, member, 1, "more"))["field"] == ["points"]


async def test_points_are_held_back(
    mall: Mall, client: Client, clock: MovableClock, member: int
) -> None:
    """Pending until their time and until a job has seen it; then like any others."""
    held = await grant(client, member, 40, "key", availableAt="2026-11-23T04:00:00Z")
    assert (held["pointsRecord"]["status"], held["balance"]["available"]) == ("PENDING", 0)
    assert held["balance"]["pending"] == 40
    assert await _activate(mall) is None
    clock.advance(days=3)
    assert await _activate(mall) == Activated(1, 40)
    assert await _activate(mall) is None
    query = "{ balance { available pending lots { nodes { status points } } } }"
    balance = (await client.data(query, as_="alice"))["balance"]
    assert balance == {
        "available": 40,
        "pending": 0,
        "lots": {"nodes": [{"status": "ACTIVE", "points": 40}]},
    }


async def test_a_grant_is_taken_back_in_parts(client: Client, member: int) -> None:
    """From its own lot first, never more than it was."""
    await grant(client, member, 100, "other")
    await grant(client, member, 100, "grant", reference="order-1", expiresAt="2028-01-01T00:00:00Z")
    part = await reverse(client, "order-1", "part", 30)
    assert (part["reversedPoints"], part["owedPoints"], part["replayed"]) == (30, 0, False)
    assert await reverse(client, "order-1", "part", 30) == {**part, "replayed": True}
    assert (await reverse(client, "order-1", "part", 31))["code"] == "IDEMPOTENCY_CONFLICT"
    refused = await reverse(client, "order-1", "too much", 71)
    assert (refused["code"], refused["field"]) == ("INVALID_INPUT", ["points"])
    rest = await reverse(client, "order-1", "rest")
    assert (rest["reversedPoints"], rest["balance"]["available"]) == (70, 100)
    assert (await reverse(client, "order-1", "again"))["field"] == ["points"]
    assert (await reverse(client, "order-2", "key"))["code"] == "NOT_FOUND"
    assert (await reverse(client, "order-1", "none", 0))["field"] == ["points"]
    assert (await reverse(client, "order\x00", "key"))["field"] == ["reference"]


async def test_what_is_spent_is_owed_and_paid_by_the_next_grants(
    mall: Mall, client: Client, member: int
) -> None:
    """The member's other lots pay first; an adjustment by an operator is no grant."""
    await grant(client, member, 100, "grant", reference="order-1")
    await exchange(client, "alice", await add_item(mall, points=90))
    await give_points(mall, member, 20)
    done = await reverse(client, "order-1", "back")
    assert (done["reversedPoints"], done["owedPoints"]) == (30, 70)
    assert done["balance"]["available"] == 0
    assert (await _adjust(client, member, 5))["balance"]["available"] == 5
    assert (await grant(client, member, 50, "next"))["balance"]["available"] == 5
    final = await grant(client, member, 50, "last")
    assert (final["balance"]["available"], final["pointsRecord"]["points"]) == (35, 30)
    history = "{ pointsHistory(actions: [REVERSE]) { nodes { amount source } } }"
    nodes = (await client.data(history, as_="alice"))["pointsHistory"]["nodes"]
    assert nodes == [
        {"amount": -20, "source": "reversal"},
        {"amount": -50, "source": "reversal"},
        {"amount": -30, "source": "campaign"},
    ]


async def test_points_that_expired_are_gone_already(
    mall: Mall, client: Client, clock: MovableClock, member: int
) -> None:
    """Nobody pays for them a second time; what was spent of them before is owed."""
    await grant(client, member, 100, "grant", reference="order-1", expiresAt="2026-11-22T04:00:00Z")
    await exchange(client, "alice", await add_item(mall, points=40))
    clock.advance(days=5)
    await give_points(mall, member, 500)
    part = await reverse(client, "order-1", "part", 60)
    assert (part["reversedPoints"], part["owedPoints"]) == (0, 0)
    rest = await reverse(client, "order-1", "rest")
    assert (rest["reversedPoints"], rest["balance"]["available"]) == (40, 460)


async def test_points_held_back_are_withheld(
    mall: Mall, client: Client, clock: MovableClock, member: int
) -> None:
    """They never reach the balance, in part or at all."""
    await give_points(mall, member, 500)
    for number in (1, 2):
        held = {"reference": f"order-{number}", "availableAt": "2026-11-23T04:00:00Z"}
        await grant(client, member, 40, f"grant {number}", **held)
    assert (await reverse(client, "order-1", "part", 15))["balance"]["pending"] == 65
    gone = await reverse(client, "order-2", "all")
    assert (gone["reversedPoints"], gone["balance"]["pending"]) == (40, 25)
    clock.advance(days=3)
    assert await _activate(mall) == Activated(1, 25)


async def test_a_purchase_is_taken_back_by_its_event(client: Client, member: int) -> None:
    """What recordEvents paid for a purchase carries the event's id."""
    event = {
        "eventId": "purchase-1",
        "userId": encode_id("User", member),
        "type": "purchase",
        "amount": 80,
        "occurredAt": "2026-11-20T03:00:00Z",
    }
    query = "mutation($input: RecordEventsInput!) { recordEvents(input: $input) { __typename } }"
    await client.post(query, {"input": {"events": [event]}}, client.token("shop", "service"))
    done = await ask(
        client,
        "reverseGrant",
        "shop",
        "service",
        source="purchase",
        reference="purchase-1",
        idempotencyKey="refund",
    )
    assert (done["reversedPoints"], done["balance"]["available"]) == (80, 0)


async def test_an_operator_corrects_a_balance(mall: Mall, client: Client, member: int) -> None:
    """Given as a lot, taken from the lots that expire first; who and why is kept."""
    given = await _adjust(client, member, 30)
    assert given["change"]["action"] == "ADJUST"
    assert (given["change"]["pointsBefore"], given["change"]["pointsAfter"]) == (0, 30)
    assert given["change"]["createdBy"].startswith("operator:")
    assert await _adjust(client, member, 30) == {**given, "replayed": True}
    taken = await _adjust(client, member, -10, "take")
    assert (taken["change"]["amount"], taken["balance"]["available"]) == (-10, 20)
    refused = await _adjust(client, member, -21, "too much")
    assert refused["code"] == "INSUFFICIENT_POINTS"
    assert (refused["required"], refused["available"]) == (21, 20)
    noted = await execute(
        mall, "SELECT action, kind, key, details FROM operator_actions ORDER BY id"
    )
    assert [(row.action, row.kind, row.key, row.details["points"]) for row in noted] == [
        ("adjust_points", "User", str(member), 30),
        ("adjust_points", "User", str(member), -10),
    ]
    assert [(row.details["before"], row.details["after"]) for row in noted] == [
        ({"points": 0}, {"points": 30}),
        ({"points": 30}, {"points": 20}),
    ]
    kept = await execute(mall, "SELECT id, text FROM reasons WHERE user_id = :i", i=member)
    assert (noted[0].details["reason_id"], "补偿") in [(str(row.id), row.text) for row in kept]


@pytest.mark.parametrize(
    ("points", "more", "code", "field"),
    [
        (0, {}, "INVALID_INPUT", ["points"]),
        (5, {"reason": " "}, "INVALID_INPUT", ["reason"]),
        (5, {"reason": "x" * 501}, "INVALID_INPUT", ["reason"]),
        (10**12 + 1, {}, "INVALID_INPUT", ["points"]),
    ],
)
async def test_a_bad_correction_changes_nothing(
    mall: Mall, client: Client, member: int, points: int, more: Any, code: str, field: list[str]
) -> None:
    """Without a reason, of nothing, of too much."""
    await give_points(mall, member, 1)
    before = await fingerprint_of_database(mall)
    refused = await _adjust(client, member, points, **more)
    assert (refused["code"], refused["field"]) == (code, field)
    assert (await _adjust(client, 999, 5))["code"] == "NOT_FOUND"
    assert await fingerprint_of_database(mall) == before


async def test_a_correction_key_is_for_one_thing(client: Client, member: int) -> None:
    """The same key with another sum."""
    await _adjust(client, member, 30)
    assert (await _adjust(client, member, 31))["code"] == "IDEMPOTENCY_CONFLICT"


async def _extend(client: Client, lot_id: object, key: str = "key") -> dict[str, Any]:
    record = encode_id("PointsRecord", lot_id)
    return await ask(
        client, "extendPoints", "alice", "member", pointsRecordId=record, idempotencyKey=key
    )


async def test_a_lot_is_extended_once(
    mall: Mall, client: Client, clock: MovableClock, member: int
) -> None:
    """5 % of the lot, from the lot, for 30 days more; offered before, and never after."""
    lot = await give_points(mall, member, 250, expires_at=clock() + timedelta(days=30))
    query = "{ balance { lots { nodes { extensionOffer { fee expiresAt } } } } }"
    offered = (await client.data(query, as_="alice"))["balance"]["lots"]["nodes"][0]
    assert offered["extensionOffer"] == {"fee": 12, "expiresAt": "2027-01-19T04:00:00Z"}
    done = await _extend(client, lot.id)
    assert (done["fee"], done["previousExpiresAt"]) == (12, "2026-12-20T04:00:00Z")
    assert (done["pointsRecord"]["points"], done["balance"]["available"]) == (238, 238)
    assert done["pointsRecord"]["expiresAt"] == "2027-01-19T04:00:00Z"
    assert await _extend(client, lot.id) == {**done, "replayed": True}
    clock.advance(days=50)
    again = await _extend(client, lot.id, "again")
    assert (again["code"], again["state"]) == ("INVALID_STATE", "EXTENDED")


async def test_not_every_lot_can_be_extended(
    mall: Mall, client: Client, clock: MovableClock, member: int
) -> None:
    """Too early, too late, used, without end, too small, not the member's."""
    early = await give_points(mall, member, 50, expires_at=clock() + timedelta(days=30, seconds=1))
    forever = await give_points(mall, member, 50, expires_at=None)
    tiny = await give_points(mall, member, 1, expires_at=clock() + timedelta(days=2))
    bob = await add_user(mall, "bob")
    bobs = await give_points(mall, bob, 50, expires_at=clock() + timedelta(days=2))
    assert (await _extend(client, early.id))["state"] == "NOT_DUE"
    assert (await _extend(client, forever.id))["state"] == "NOT_DUE"
    assert (await _extend(client, tiny.id))["code"] == "INSUFFICIENT_POINTS"
    assert (await _extend(client, bobs.id))["code"] == "NOT_FOUND"
    clock.advance(days=2)
    assert (await _extend(client, tiny.id))["state"] == "EXPIRED"
    ends = await give_points(mall, member, 50, expires_at=clock() + timedelta(days=2))
    await _extend(client, ends.id, "used")
    other = await give_points(mall, member, 50, expires_at=clock() + timedelta(days=2))
    assert (await _extend(client, other.id, "used"))["code"] == "IDEMPOTENCY_CONFLICT"
    await execute(mall, "UPDATE users SET suspended_until = :t", t=clock() + timedelta(days=1))
    assert (await _extend(client, other.id, "suspended"))["code"] == "MEMBER_SUSPENDED"


@pytest.mark.usefixtures("member")
@pytest.mark.parametrize("key", ["", "k" * 129])
async def test_an_extension_needs_a_key(mall: Mall, client: Client, member: int, key: str) -> None:
    """The contract has no Problem for a bad one: an error for the developer who sent it."""
    lot = await give_points(mall, member, 250, expires_at=mall.clock() + timedelta(days=3))
    query = "mutation($i: ExtendPointsInput!) { extendPoints(input: $i) { __typename } }"
    asked = {"pointsRecordId": encode_id("PointsRecord", lot.id), "idempotencyKey": key}
    assert await client.error_code(query, {"i": asked}, as_="alice") == "BAD_USER_INPUT"


async def test_what_is_given_back_pays_what_is_owed(
    mall: Mall, client: Client, member: int
) -> None:
    """A refunded purchase whose points were spent gives nothing away once that is cancelled."""
    await grant(client, member, 100, "grant", reference="order-1")
    item_id = await add_item(mall, points=90, type="coupon", config={"generate": True})
    taken = await exchange(client, "alice", item_id)
    assert (await reverse(client, "order-1", "back"))["owedPoints"] == 90
    cancel = {"exchangeId": taken["exchange"]["id"]}
    done = await ask(client, "cancelExchange", "alice", "member", **cancel)
    assert (done["refundedPoints"], done["balance"]["available"]) == (90, 0)
    assert (await grant(client, member, 50, "next"))["balance"]["available"] == 50


async def test_points_that_an_exchange_gave_back_too_late_are_gone_already(
    mall: Mall, client: Client, clock: MovableClock, member: int
) -> None:
    """Lost with their lot, they are not taken from others when the grant is."""
    ends = "2026-11-22T04:00:00Z"
    await grant(client, member, 100, "grant", reference="order-1", expiresAt=ends)
    item_id = await add_item(mall, points=60, type="coupon", config={"generate": True})
    taken = await exchange(client, "alice", item_id)
    clock.advance(days=5)
    await give_points(mall, member, 500)
    cancel = {"exchangeId": taken["exchange"]["id"]}
    assert (await ask(client, "cancelExchange", "alice", "member", **cancel))["expiredPoints"] == 60
    done = await reverse(client, "order-1", "back")
    assert (done["reversedPoints"], done["owedPoints"]) == (0, 0)
    assert done["balance"]["available"] == 500


async def test_run_expiry_settles_all_that_is_due(
    mall: Mall, client: Client, clock: MovableClock, member: int
) -> None:
    """Held points become spendable, ended codes leave the stock, ended lots expire."""
    await grant(client, member, 40, "held", availableAt="2026-11-23T04:00:00Z")
    await give_points(mall, member, 7, expires_at=clock() + timedelta(days=1))
    pool = await add_item(mall, stock=2, type="coupon", config={})
    add = (
        "INSERT INTO coupon_codes (item_id, code, expires_at) VALUES (:i, 'A', :t), (:i, 'B', NULL)"
    )
    await execute(mall, add, i=pool, t=clock() + timedelta(days=1))
    clock.advance(days=3)
    run = "mutation { runExpiry { expiredRecords expiredPoints } }"
    done = await client.post(run, None, client.token("boss", "operator"))
    assert done["data"]["runExpiry"] == {"expiredRecords": 1, "expiredPoints": 7}
    balance = (await client.data("{ balance { available pending } }", as_="alice"))["balance"]
    assert balance == {"available": 40, "pending": 0}
    left = "SELECT stock, total_stock FROM exchange_items WHERE id = :i"
    assert await execute(mall, left, i=pool) == [(1, 1)]
