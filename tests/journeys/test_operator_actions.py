"""The operators' trail: everything they did, readable by operators, newest first."""

from datetime import timedelta
from typing import Any, cast

import pytest

from schema.ids import encode_id
from services.bulk import Writes
from services.mall import Mall
from services.operators import ACTIONS, note_action
from services.transaction import transaction
from services.users.erase import erase_user
from tests.client import Client
from tests.clock import MovableClock
from tests.factories import add_item, add_user, execute, give_points, points_of
from tests.journeys.operator_steps import operate
from tests.journeys.test_suspension import UNTIL, suspend

ACTIONS_OF = """query ($first: Int, $after: String, $operator: ID, $target: ID) {
  operatorActions(first: $first, after: $after, operatorId: $operator, targetId: $target) {
    edges { cursor }
    nodes { id action targetId details createdAt operator { username } }
    pageInfo { hasNextPage hasPreviousPage endCursor }
  }
}"""
NODE = "query ($id: ID!) { node(id: $id) { ... on OperatorAction { id action } } }"
RUN = "mutation { runExpiry { expiredRecords expiredPoints } }"


async def ask(client: Client, query: str = ACTIONS_OF, **variables: Any) -> dict[str, Any]:
    """The whole answer, as an operator gets it."""
    return await client.post(query, variables, client.token("olga", "operator"))


async def trail(client: Client, **variables: Any) -> list[dict[str, Any]]:
    """What the log says."""
    answer = await ask(client, **variables)
    assert "errors" not in answer, answer
    return answer["data"]["operatorActions"]["nodes"]


async def test_what_was_done_can_be_read(mall: Mall, client: Client) -> None:
    """Who, what, to what, why, when; a command has nobody."""
    alice = await add_user(mall, "alice")
    await suspend(client, until=UNTIL, reason="a bot")
    [suspended] = await trail(client)
    async with transaction(mall.stores.write) as session:
        await erase_user(session, "alice", mall.clock(), timezone="Asia/Shanghai")
    target = encode_id("User", alice)
    erased, _ = await trail(client)
    assert suspended.pop("id") != erased.pop("id")
    assert suspended == {
        "action": "suspend_user",
        "targetId": target,
        "details": {"from": None, "to": UNTIL.replace("Z", "+00:00"), "reason": "a bot"},
        "createdAt": "2026-11-20T04:00:00Z",
        "operator": {"username": "olga"},
    }
    assert erased == {
        "action": "erase_user",
        "targetId": target,
        "details": {"wishes": 0, "shipments": 0},
        "createdAt": "2026-11-20T04:00:00Z",
        "operator": None,
    }


async def test_the_trail_of_one_operator_and_of_one_target(mall: Mall, client: Client) -> None:
    """Each by itself and both together."""
    alice, bob = [encode_id("User", await add_user(mall, name)) for name in ("alice", "bob")]
    olga = await client.user_id("olga", "operator")
    await suspend(client, userId=alice, until=UNTIL)
    await suspend(client, userId=bob, until=UNTIL)
    await suspend(client, userId=alice, until=None)
    async with transaction(mall.stores.write) as session:
        await erase_user(session, "alice", mall.clock(), timezone="Asia/Shanghai")

    async def names(**asked: str) -> list[str]:
        return [node["action"] for node in await trail(client, **asked)]

    assert await names(operator=olga) == ["lift_suspension", "suspend_user", "suspend_user"]
    assert await names(target=alice) == ["erase_user", "lift_suspension", "suspend_user"]
    assert await names(operator=olga, target=alice) == ["lift_suspension", "suspend_user"]
    assert await names(operator=bob) == []
    assert await names(target=encode_id("ExchangeItem", 1)) == []


async def test_the_trail_is_read_page_by_page(
    mall: Mall, client: Client, clock: MovableClock
) -> None:
    """In the order in which it happened, whatever the mall's clock says; nothing shifts."""
    await add_user(mall, "alice")
    for number in range(5):
        clock.now -= timedelta(minutes=1)
        await suspend(client, until=UNTIL, reason=str(number))
    first = (await ask(client, first=2))["data"]["operatorActions"]
    info = first["pageInfo"]
    assert [node["details"]["reason"] for node in first["nodes"]] == ["4", "3"]
    assert (info["hasNextPage"], info["hasPreviousPage"]) == (True, False)
    assert info["endCursor"] == first["edges"][1]["cursor"]
    await suspend(client, until=UNTIL, reason="5")
    rest = (await ask(client, after=info["endCursor"]))["data"]["operatorActions"]
    assert [node["details"]["reason"] for node in rest["nodes"]] == ["2", "1", "0"]
    assert (rest["pageInfo"]["hasNextPage"], rest["pageInfo"]["hasPreviousPage"]) == (False, True)


async def test_bad_questions_are_bad_input(client: Client) -> None:
    """Sizes, cursors and ids."""
    task = encode_id("Task", 1)
    for bad in (
        *({"first": 0}, {"first": 101}, {"after": "x"}, {"after": "WyJ1c2VycyIsMV0"}),
        *({"operator": "x"}, {"operator": task}, {"target": "x"}, {"target": ""}),
    ):
        refused = await ask(client, **bad)
        assert refused["errors"][0]["extensions"]["code"] == "BAD_USER_INPUT", bad


async def test_fifty_a_page(mall: Mall, client: Client) -> None:
    """Unless another number is asked for."""
    await add_user(mall, "alice")
    for _ in range(51):
        await suspend(client, until=UNTIL)
    for first, length in (({}, 50), ({"first": None}, 50), ({"first": 1}, 1), ({"first": 100}, 51)):
        assert len(await trail(client, **first)) == length


async def test_an_action_is_found_by_its_id_by_operators_alone(mall: Mall, client: Client) -> None:
    """To anybody else it does not exist."""
    await add_user(mall, "alice")
    await suspend(client, until=UNTIL)
    [noted] = await trail(client)
    found = await ask(client, NODE, id=noted["id"])
    assert found["data"]["node"] == {"id": noted["id"], "action": "suspend_user"}
    for role in ("member", "service"):
        answer = await client.post(NODE, {"id": noted["id"]}, client.token("alice", role))
        assert (answer["data"] or {}).get("node") is None, role
    unknown = encode_id("OperatorAction", "00000000-0000-7000-8000-000000000001")
    assert (await ask(client, NODE, id=unknown))["data"]["node"] is None


async def test_settling_everybody_is_noted_as_it_begins_and_with_what_it_came_to(
    mall: Mall, client: Client, clock: MovableClock
) -> None:
    """Lots that ended, points that became spendable, codes that left; also when it was nothing."""
    hour = timedelta(hours=1)
    for number in range(3):
        user_id = await add_user(mall, f"m{number}")
        await give_points(mall, user_id, 10, expires_at=clock() + hour)
    sql = """INSERT INTO points_records (id, user_id, points, original_points, source, status,
                                         created_at, available_at)
             VALUES (uuidv7(), 1, 7, 7, 'test', 'pending', now(), :at)"""
    await execute(mall, sql, at=clock() + hour)
    item_id = await add_item(mall, type="coupon", config={}, stock=0)
    ends = (clock() + hour).isoformat().replace("+00:00", "Z")
    item = encode_id("ExchangeItem", item_id)
    await operate(client, "importCoupons", itemId=item, codes=["a", "b"], expiresAt=ends)
    clock.advance(hours=2)
    for _ in range(2):
        assert "errors" not in await ask(client, RUN)
    again, _, settled, begun, imported = await trail(client)
    assert imported["action"] == "import_codes"
    assert (begun["action"], begun["targetId"], begun["details"]) == (
        "run_expiry",
        None,
        {"phase": "begin"},
    )
    assert (settled["action"], settled["targetId"]) == ("run_expiry", None)
    assert settled["operator"] == {"username": "olga"}
    assert settled["details"] == {
        "phase": "finish",
        "expired_records": 3,
        "expired_points": 30,
        "activated_records": 1,
        "activated_points": 7,
        "expired_codes": 2,
    }
    assert again["details"] == {**dict.fromkeys(settled["details"], 0), "phase": "finish"}


async def test_settling_that_is_cut_off_has_left_its_beginning(
    mall: Mall, client: Client, clock: MovableClock
) -> None:
    """Lots are settled and committed, then the codes cannot be: the trail has who did it."""
    hour = timedelta(hours=1)
    user_id = await add_user(mall, "alice")
    await give_points(mall, user_id, 10, expires_at=clock() + hour)
    item_id = await add_item(mall, type="coupon", config={}, stock=1)
    sql = "INSERT INTO coupon_codes (item_id, code, expires_at) VALUES (:item, 'A', :at)"
    await execute(mall, sql, item=item_id, at=clock() + hour)
    clock.advance(hours=2)
    refuse = "CHECK (code <> 'A' OR status = 'unused')"
    await execute(mall, f"ALTER TABLE coupon_codes ADD CONSTRAINT broken {refuse}")
    assert "errors" in await ask(client, RUN)
    assert await points_of(mall, user_id) == 0
    [begun] = await trail(client)
    assert (begun["action"], begun["details"]) == ("run_expiry", {"phase": "begin"})
    assert begun["operator"] == {"username": "olga"}


def test_every_name_has_one_form() -> None:
    """Verb first, in snake_case."""
    verbs = {
        "acknowledge",
        "adjust",
        "broadcast",
        "erase",
        "import",
        "lift",
        "redeem",
        "reject",
        "release",
        "run",
        "save",
        "set",
        "suspend",
        "update",
    }
    for name in ACTIONS:
        verb, separator, rest = name.partition("_")
        assert verb in verbs
        assert separator
        assert rest == rest.lower()
        assert rest.replace("_", "").isalpha()


def test_another_name_cannot_be_written(clock: MovableClock) -> None:
    """Whoever adds one has to name it where all are named."""
    wrong = cast("Any", "suspend user")
    with pytest.raises(LookupError):
        note_action(Writes(), None, wrong, ("User", 1), {}, clock())
