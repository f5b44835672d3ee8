"""`node`: anything by its id, to those who may see it; to all others it does not exist."""

from typing import Any

import pytest
from graphql import GraphQLInterfaceType

from models.sharing import ShareKind
from resolvers.root import build_schema, graphql_schema
from schema.ids import encode_id
from services.bulk import Writes
from services.mall import Mall
from services.notifications.audience import Audience
from services.notifications.broadcast import Broadcast, broadcast
from services.operators import note_action
from services.transaction import transaction
from tests.alerts import add_alert
from tests.client import Client
from tests.factories import add_item, add_task, add_user, execute, give_points
from tests.journeys.steps import exchange
from tests.pushes import add_device, draft, plan_now
from tests.sharing import add_share

FIND = """query ($id: ID!) { node(id: $id) {
  __typename id
  ... on User { username balance { available } checkInStreak vip { level } }
  ... on PointsRecord { points source }
  ... on PointsChange { action amount }
  ... on Task { pointsReward status }
  ... on ExchangeItem { stock canExchange }
  ... on Achievement { key unlockedAt progress { current target } }
  ... on Exchange { exchangeStatus: status paidFrom { points } item { id } }
  ... on Coupon { code couponStatus: status }
  ... on OperatorAction { noted: action }
  ... on Device { platform }
  ... on PushRecord { title pushStatus: status }
  ... on Share { shareCode: code visits }
  ... on Alert { message severity }
  ... on Experiment { experimentKey: key startedAt }
  ... on Campaign { title recipients planned queued opened audience operator { id } }
} }"""
OPERATORS_OWN = {"OperatorAction", "Campaign", "Experiment", "Alert"}
PRIVATE = {
    *("User", "PointsRecord", "PointsChange", "Exchange", "Coupon", "Device", "PushRecord"),
    "Share",
    *OPERATORS_OWN,
}


@pytest.fixture
async def ids(mall: Mall, client: Client) -> dict[str, str]:
    """The id of one of each, Alice's where it is somebody's."""
    user_id = await add_user(mall, "alice")
    lot = await give_points(mall, user_id, 150)
    item_id = await add_item(mall, type="coupon", config={"generate": True})
    task_id = await add_task(mall)
    done = (await exchange(client, "alice", item_id))["exchange"]
    device = await add_device(mall, user_id, "token")
    await plan_now(mall, draft(user_id, "news"))
    (push,) = await execute(mall, "SELECT id FROM push_records WHERE reference = 'news'")
    return {
        "User": encode_id("User", user_id),
        "PointsRecord": encode_id("PointsRecord", lot.id),
        "PointsChange": encode_id("PointsChange", f"{user_id}-2"),
        "Task": encode_id("Task", task_id),
        "ExchangeItem": encode_id("ExchangeItem", item_id),
        "Exchange": done["id"],
        "Coupon": done["reward"]["id"],
        "OperatorAction": await note_action_of(mall),
        "Device": encode_id("Device", device.id),
        "PushRecord": encode_id("PushRecord", push.id),
        "Campaign": await campaign_of(mall, user_id),
        "Experiment": encode_id("Experiment", 1),  # the built-in one
        "Alert": encode_id("Alert", await add_alert(mall)),
        "Achievement": await achievement_of(mall),
        "Share": encode_id("Share", (await add_share(mall, user_id, ShareKind.RANK)).id),
    }


async def achievement_of(mall: Mall) -> str:
    """The id of what Alice's exchange unlocked."""
    ((number,),) = await execute(mall, "SELECT achievement_id FROM user_achievements")
    return encode_id("Achievement", number)


async def campaign_of(mall: Mall, user_id: int) -> str:
    """The id of a campaign, not yet planned, of that user's."""
    asked = Broadcast(user_id, "news", "for all", None, Audience(), "key")
    async with transaction(mall.stores.write) as session:
        begun = await broadcast(session, asked, mall.clock())
    return encode_id("Campaign", begun.campaign_id)


async def note_action_of(mall: Mall) -> str:
    """The id of something that an operator did."""
    async with transaction(mall.stores.write) as session:
        writes = Writes()
        note_action(writes, None, "run_expiry", None, {}, mall.clock())
        await writes.flush(session)
    rows = await execute(mall, "SELECT id FROM operator_actions ORDER BY id")
    row = rows[0]
    return encode_id("OperatorAction", row.id)


async def find(client: Client, id_: str, *who: str) -> dict[str, Any] | None:
    """The node, as the one who asks sees it; nobody unless named (and given roles)."""
    answer = await client.post(FIND, {"id": id_}, client.token(*who) if who else None)
    assert "errors" not in answer, answer["errors"]
    return answer["data"]["node"]


async def test_every_node_of_the_schema_is_asked_for_here(ids: dict[str, str]) -> None:
    """A type that implements Node and is not among these ids would go untested."""
    schema = graphql_schema(build_schema())
    node = schema.type_map["Node"]
    assert isinstance(node, GraphQLInterfaceType)
    assert {kind.name for kind in schema.get_implementations(node).objects} == set(ids)


async def test_a_member_finds_each_of_their_own(
    mall: Mall, client: Client, ids: dict[str, str]
) -> None:
    """By the id that the other fields give out."""
    seen = {
        kind: await find(client, ids[kind], "alice") or {} for kind in ids.keys() - OPERATORS_OWN
    }
    assert {kind: (node["__typename"], node["id"]) for kind, node in seen.items()} == {
        kind: (kind, ids[kind]) for kind in seen
    }
    assert (seen["User"]["username"], seen["User"]["balance"]) == ("alice", {"available": 50})
    assert (seen["PointsRecord"]["points"], seen["PointsRecord"]["source"]) == (50, "test")
    assert (seen["PointsChange"]["action"], seen["PointsChange"]["amount"]) == ("REDEEM", -100)
    assert (seen["Task"]["pointsReward"], seen["Task"]["status"]) == (10, "AVAILABLE")
    assert (seen["ExchangeItem"]["stock"], seen["ExchangeItem"]["canExchange"]) == (9, False)
    assert seen["Exchange"]["exchangeStatus"] == "COMPLETED"
    assert seen["Exchange"]["item"] == {"id": ids["ExchangeItem"]}
    assert seen["Exchange"]["paidFrom"] == [{"points": 100}]
    (code,) = (await execute(mall, "SELECT code FROM user_coupons"))[0]
    assert (seen["Coupon"]["code"], seen["Coupon"]["couponStatus"]) == (code, "ACTIVE")
    assert seen["Device"]["platform"] == "IOS"
    assert seen["Achievement"]["key"] == "first_exchange"
    assert seen["Achievement"]["unlockedAt"] is not None
    assert seen["Share"]["visits"] == 0
    assert (seen["PushRecord"]["title"], seen["PushRecord"]["pushStatus"]) == ("news", "QUEUED")


async def test_what_is_anothers_does_not_exist(client: Client, ids: dict[str, str]) -> None:
    """Private things read as null; of what is everybody's, members see how far they are."""
    seen = {kind: await find(client, ids[kind], "bob") for kind in ids}
    assert {kind for kind, node in seen.items() if node is None} == PRIVATE
    achievement = seen["Achievement"] or {}
    assert (achievement["unlockedAt"], achievement["progress"]["current"]) == (None, 0)


async def test_an_operator_finds_everything(client: Client, ids: dict[str, str]) -> None:
    """With the data of its owner, not with the operator's."""
    for kind, id_ in ids.items():
        node = await find(client, id_, "olga", "operator")
        assert node is not None, kind
        assert node["__typename"] == kind
    user = await find(client, ids["User"], "olga", "operator")
    assert user is not None
    assert user["balance"] == {"available": 50}


async def test_anyone_finds_items_only(client: Client, ids: dict[str, str]) -> None:
    """Everything else asks who is there; a service is not let in either."""
    item = await find(client, ids["ExchangeItem"])
    assert item is not None
    assert item["canExchange"] is None
    for kind, id_ in ids.items():
        for token, code in ((None, "UNAUTHENTICATED"), (client.token("s", "service"), "FORBIDDEN")):
            answer = await client.post(FIND, {"id": id_}, token)
            codes = [error["extensions"]["code"] for error in answer.get("errors", [])]
            assert codes == ([] if kind == "ExchangeItem" else [code]), kind


async def test_what_is_not_listed_is_still_found(mall: Mall, client: Client) -> None:
    """A history shows items and tasks that are off."""
    item = encode_id("ExchangeItem", await add_item(mall, is_active=False))
    task = encode_id("Task", await add_task(mall, is_active=False))
    assert await find(client, item) is not None
    found = await find(client, task, "alice")
    assert found is not None
    assert found["status"] == "UNAVAILABLE"


async def test_an_id_that_names_nothing_is_null(client: Client) -> None:
    """Of every kind."""
    nothing = "00000000-0000-7000-8000-000000000000"
    for kind, key in (
        *(("User", 4711), ("Task", 4711), ("ExchangeItem", 4711), ("Achievement", 4711)),
        *(("PointsRecord", nothing), ("Exchange", nothing), ("Coupon", nothing)),
        *(("Device", nothing), ("PushRecord", nothing), ("Campaign", nothing)),
        *(("Share", nothing), ("Experiment", 4711), ("Alert", nothing)),
        *(("PointsChange", "4711-1"), ("PointsChange", "1-4711"), ("PointsChange", "1-4294967296")),
    ):
        assert await find(client, encode_id(kind, key), "alice") is None, kind
