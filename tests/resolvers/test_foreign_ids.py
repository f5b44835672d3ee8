"""Ids that name something of somebody: every field that takes an id, every kind of id, everyone.

The table is compared with the schema: a field that takes an id and is not in it fails. What is
another member's reads as what does not exist, and whoever is refused has changed nothing.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest
from graphql import GraphQLInputObjectType, get_named_type

from models.sharing import ShareKind
from resolvers.root import build_schema, graphql_schema
from schema.ids import encode_id
from services.mall import Mall
from tests.alerts import add_alert
from tests.client import Client
from tests.factories import (
    add_item,
    add_task,
    add_user,
    execute,
    fingerprint_of_database,
    give_points,
)
from tests.journeys.steps import exchange
from tests.pushes import add_device, draft, plan_now
from tests.sharing import add_share

PRIVATE = (
    "User",
    "PointsRecord",
    "PointsChange",
    "Exchange",
    "Coupon",
    "Device",
    "PushRecord",
    "Share",
)
BAD_INPUT, FORBIDDEN, UNAUTHENTICATED = "BAD_USER_INPUT", "FORBIDDEN", "UNAUTHENTICATED"
NULL, FOUND, NOT_FOUND = "null", "found", "NotFound"
_NODE = """node(id: $id) {
  __typename id
  ... on User { username email phone balance { available lots { nodes { id } } } vip { level } }
  ... on PointsRecord { points source sourceReference }
  ... on PointsChange { amount reference createdBy }
  ... on Exchange { points paidFrom { points } reward { ... on Shipment { address phone } } }
  ... on Coupon { code }
  ... on Device { platform }
  ... on PushRecord { title payload }
  ... on Share { code url }
}"""
_WHY = 'reason: "looked into", idempotencyKey: "k"'
_HELD = f"pointsRecordId: $id, {_WHY}"
_EVENT = '{eventId: "1", userId: $id, type: "x", occurredAt: "2026-11-20T03:00:00Z"}'


@dataclass(frozen=True)
class Use:
    """A field that takes an id of one kind (None: of any), and what each is answered to Alice's.

    A type, a code of an error, or whether anything was found.
    """

    kind: str | None
    asked: str
    member: str
    service: str
    operator: str


def _member_use(kind: str, asked: str, member: str, operator: str) -> Use:
    return Use(kind, asked, member, FORBIDDEN, operator)


def _operator_use(kind: str, asked: str, operator: str) -> Use:
    return Use(kind, asked, FORBIDDEN, FORBIDDEN, operator)


def _mutation(name: str, given: str) -> str:
    return f"{name}(input: {{{given}}}) {{ __typename ... on NotFound {{ message }} }}"


USES = {
    "node(id)": Use(None, _NODE, NULL, FORBIDDEN, FOUND),
    "user(id)": _operator_use("User", "user(id: $id) { id email }", FOUND),
    "auditLog(userId)": _operator_use("User", "auditLog(userId: $id) { nodes { id } }", FOUND),
    "operatorActions(operatorId)": _operator_use(
        "User", "operatorActions(operatorId: $id) { nodes { id } }", FOUND
    ),
    "operatorActions(targetId)": Use(
        None, "operatorActions(targetId: $id) { nodes { id } }", FORBIDDEN, FORBIDDEN, FOUND
    ),
    "acknowledgeAlert(input.alertId)": _operator_use(
        "Alert", _mutation("acknowledgeAlert", "alertId: $id"), "AcknowledgeAlertSuccess"
    ),
    "heldPoints(userId)": _operator_use(
        "User", "heldPoints(userId: $id) { nodes { points } }", FOUND
    ),
    "releaseHeldPoints(input.pointsRecordId)": _operator_use(
        "PointsRecord", _mutation("releaseHeldPoints", _HELD), "InvalidState"
    ),
    "rejectHeldPoints(input.pointsRecordId)": _operator_use(
        "PointsRecord", _mutation("rejectHeldPoints", _HELD), "InvalidState"
    ),
    "releaseManyHeldPoints(input.pointsRecordIds)": _operator_use(
        "PointsRecord",
        _mutation("releaseManyHeldPoints", f"pointsRecordIds: [$id], {_WHY}"),
        "InvalidState",
    ),
    "releaseManyHeldPoints(input.userId)": _operator_use(
        "User",
        _mutation("releaseManyHeldPoints", f"userId: $id, {_WHY}"),
        "DecideManyHeldPointsSuccess",
    ),
    "rejectManyHeldPoints(input.pointsRecordIds)": _operator_use(
        "PointsRecord",
        _mutation("rejectManyHeldPoints", f"pointsRecordIds: [$id], {_WHY}"),
        "InvalidState",
    ),
    "rejectManyHeldPoints(input.userId)": _operator_use(
        "User",
        _mutation("rejectManyHeldPoints", f"userId: $id, {_WHY}"),
        "DecideManyHeldPointsSuccess",
    ),
    "submitSatisfaction(input.exchangeId)": _member_use(
        "Exchange",
        "submitSatisfaction(input: {score: 9, exchangeId: $id}) { __typename }",
        "InvalidInput",
        "InvalidInput",
    ),
    "completeTask(input.taskId)": _member_use(
        "Task",
        _mutation("completeTask", "taskId: $id"),
        "CompleteTaskSuccess",
        "CompleteTaskSuccess",
    ),
    "oneClickExchange(input.itemId)": _member_use(
        "ExchangeItem",
        _mutation("oneClickExchange", 'itemId: $id, idempotencyKey: "k"'),
        "InvalidInput",  # where to, nobody said
        "InvalidInput",
    ),
    "cancelExchange(input.exchangeId)": _member_use(
        "Exchange",
        _mutation("cancelExchange", "exchangeId: $id"),
        NOT_FOUND,
        "CancelExchangeSuccess",
    ),
    "extendPoints(input.pointsRecordId)": _member_use(
        "PointsRecord",
        _mutation("extendPoints", 'pointsRecordId: $id, idempotencyKey: "k"'),
        NOT_FOUND,
        NOT_FOUND,  # operators extend their own lots
    ),
    "markPushOpened(input.pushId)": _member_use(
        "PushRecord", _mutation("markPushOpened", "pushId: $id"), NOT_FOUND, NOT_FOUND
    ),
    "setWished(input.itemId)": _member_use(
        "ExchangeItem",
        _mutation("setWished", "itemId: $id, wished: true"),
        "SetWishedSuccess",
        "SetWishedSuccess",
    ),
    "createShare(input.targetId)": _member_use(
        "ExchangeItem",
        _mutation("createShare", "kind: ITEM, targetId: $id"),
        "CreateShareSuccess",
        "CreateShareSuccess",
    ),
    "recordEvents(input.events.userId)": Use(
        None,  # one bad event does not fail its neighbours: it is rejected
        f"recordEvents(input: {{events: [{_EVENT}]}})"
        " { __typename ... on RecordEventsSuccess { rejected { message } } }",
        FORBIDDEN,
        "RecordEventsSuccess",
        "RecordEventsSuccess",
    ),
    "grantPoints(input.userId)": Use(
        "User",
        _mutation("grantPoints", 'userId: $id, points: 1, source: "s", idempotencyKey: "k"'),
        FORBIDDEN,
        "GrantPointsSuccess",
        "GrantPointsSuccess",
    ),
    "adjustPoints(input.userId)": _operator_use(
        "User",
        _mutation("adjustPoints", 'userId: $id, points: 1, reason: "r", idempotencyKey: "k"'),
        "AdjustPointsSuccess",
    ),
    "suspendUser(input.userId)": _operator_use(
        "User", _mutation("suspendUser", 'userId: $id, reason: "r"'), "SuspendUserSuccess"
    ),
    "updateExchange(input.exchangeId)": _operator_use(
        "Exchange",
        _mutation("updateExchange", "exchangeId: $id, status: SHIPPED"),
        "UpdateExchangeSuccess",
    ),
    "saveTask(input.id)": _operator_use(
        "Task",
        _mutation("saveTask", 'id: $id, name: "t", pointsReward: 1, frequency: ONCE'),
        "SaveTaskSuccess",
    ),
    "saveAchievement(input.id)": _operator_use(
        "Achievement",
        _mutation(
            "saveAchievement",
            'id: $id, key: "first_exchange", measure: EXCHANGES_MADE, target: 1',
        ),
        "SaveAchievementSuccess",
    ),
    "saveItem(input.id)": _operator_use(
        "ExchangeItem",
        _mutation("saveItem", 'id: $id, name: "i", points: 1, type: PHYSICAL'),
        "SaveItemSuccess",
    ),
    "broadcastPush(input.audience.userIds)": _operator_use(
        "User",
        'broadcastPush(input: {title: "t", body: "b", audience: {userIds: [$id]},'
        ' idempotencyKey: "k"}) { __typename }',
        "BroadcastPushSuccess",
    ),
    "redeemCoupon(input.itemId)": Use(
        "ExchangeItem",
        _mutation("redeemCoupon", 'itemId: $id, code: "no such code", reference: "r"'),
        FORBIDDEN,
        NOT_FOUND,
        NOT_FOUND,
    ),
    "adjustStock(input.itemId)": _operator_use(
        "ExchangeItem",
        _mutation("adjustStock", 'itemId: $id, by: 1, idempotencyKey: "k"'),
        "AdjustStockSuccess",
    ),
    "importCoupons(input.itemId)": _operator_use(
        "ExchangeItem", _mutation("importCoupons", 'itemId: $id, codes: ["c"]'), "InvalidInput"
    ),
}


def _paths(name: str, taken: dict[str, Any]) -> Iterator[str]:
    """Where in these arguments (or fields of an input) ids are given."""
    for key, value in taken.items():
        kind = get_named_type(value.type)
        if kind.name == "ID":
            yield f"{name}{key}"
        if isinstance(kind, GraphQLInputObjectType):
            yield from _paths(f"{name}{key}.", kind.fields)


def test_every_field_that_takes_an_id_is_decided() -> None:
    """The table names them all and no other."""
    schema = graphql_schema(build_schema())
    assert schema.query_type
    assert schema.mutation_type
    fields = {**schema.query_type.fields, **schema.mutation_type.fields}
    found = {f"{name}({path})" for name, field in fields.items() for path in _paths("", field.args)}
    assert found == set(USES)


@dataclass(frozen=True)
class Alice:
    """The id of one of each kind, hers where it is somebody's, and what only she may read."""

    ids: dict[str, str]
    secrets: tuple[str, ...]


@pytest.fixture
async def alice(mall: Mall, client: Client) -> Alice:
    """A member who has one of each; everybody who asks has signed in before."""
    for name in ("bob", "till", "olga"):
        await add_user(mall, name, last_login_at=mall.clock())
    user_id = await add_user(mall, "alice-in-private", email="a@example.com", phone="13911112222")
    lot = await give_points(mall, user_id, 777, expires_at=mall.clock() + timedelta(days=9))
    coupon_item = await add_item(mall, type="coupon", config={"generate": True})
    item_id = await add_item(mall, type="physical", config={})
    home = {"recipient": "李雷", "phone": "13800138000", "address": "上海市静安区"}
    coupon = (await exchange(client, "alice-in-private", coupon_item, "1"))["exchange"]["reward"]
    parcel = await exchange(client, "alice-in-private", item_id, "2", shipping=home)
    share = await add_share(mall, user_id, ShareKind.INVITE)
    ids = {
        "User": encode_id("User", user_id),
        "PointsRecord": encode_id("PointsRecord", lot.id),
        "PointsChange": encode_id("PointsChange", f"{user_id}-2"),
        "Task": encode_id("Task", await add_task(mall)),
        "ExchangeItem": encode_id("ExchangeItem", item_id),
        "Exchange": parcel["exchange"]["id"],
        "Coupon": coupon["id"],
        "Device": encode_id("Device", (await add_device(mall, user_id, "her token")).id),
        "PushRecord": await _push(mall, user_id),
        "Achievement": encode_id("Achievement", await _unlocked(mall)),
        "Share": encode_id("Share", share.id),
        "Alert": encode_id("Alert", await add_alert(mall)),
    }
    await execute(mall, "UPDATE users SET last_login_at = :now", now=mall.clock())
    return Alice(
        ids,
        (share.code, "alice-in", "a@example.com", "13911112222", coupon["code"], *home.values()),
    )


async def _unlocked(mall: Mall) -> int:
    ((achievement_id,),) = await execute(mall, "SELECT achievement_id FROM user_achievements")
    return achievement_id


async def _push(mall: Mall, user_id: int) -> str:
    await plan_now(mall, draft(user_id, "alice-in-news"))
    (push,) = await execute(mall, "SELECT id FROM push_records")
    return encode_id("PushRecord", push.id)


_FOR_MEMBERS = ("Task", "Achievement")  # each sees how far they are themselves
_CALLERS = {"anonymous": None, "member": "bob", "service": "till", "operator": "olga"}


async def _ask(client: Client, path: str, id_: str, caller: str) -> tuple[str, Any]:
    """What came of it in one word, and the whole answer."""
    name = path.partition("(")[0]
    kind = "mutation" if "(input" in path else "query"
    query = f"{kind} ($id: ID!) {{ {USES[path].asked} }}"
    who = _CALLERS[caller]
    answer = await client.post(query, {"id": id_}, who and client.token(who, caller))
    if "errors" in answer:
        return answer["errors"][0]["extensions"]["code"], answer
    found = answer["data"][name]
    if kind == "mutation":
        return found["__typename"], answer
    return NULL if found is None else FOUND, answer


def _expected(path: str, kind: str, caller: str) -> str:
    use = USES[path]
    if path == "node(id)" and kind == "ExchangeItem":
        return FOUND
    if caller == "anonymous":
        return UNAUTHENTICATED
    expected: str = getattr(use, caller)
    if path == "node(id)" and kind in _FOR_MEMBERS and caller == "member":
        return FOUND
    is_wrong_kind = use.kind is not None and use.kind != kind
    return BAD_INPUT if is_wrong_kind and expected != FORBIDDEN else expected


_CHANGES_NOTHING = {
    *(UNAUTHENTICATED, FORBIDDEN, BAD_INPUT, NULL, FOUND),
    *(NOT_FOUND, "InvalidInput"),
}


@pytest.mark.parametrize("path", USES)
async def test_an_id_opens_what_it_should(
    mall: Mall, client: Client, alice: Alice, path: str
) -> None:
    """To each caller, whatever the id names; refusals change nothing, and tell no secret."""
    for caller in _CALLERS:
        for kind, id_ in alice.ids.items():
            before = await fingerprint_of_database(mall)
            outcome, answer = await _ask(client, path, id_, caller)
            assert outcome == _expected(path, kind, caller), (caller, kind)
            if outcome in _CHANGES_NOTHING:
                assert await fingerprint_of_database(mall) == before, (caller, kind)
            if caller != "operator":
                text = json.dumps(answer, ensure_ascii=False)
                assert not [each for each in alice.secrets if each in text], (caller, kind)


@pytest.mark.parametrize("path", [path for path, use in USES.items() if use.member == NOT_FOUND])
async def test_what_is_anothers_reads_as_what_is_not(
    client: Client, alice: Alice, path: str
) -> None:
    """The same answer, to the letter, as to an id that names nothing."""
    kind = USES[path].kind
    assert kind is not None
    nothing = encode_id(kind, "00000000-0000-7000-8000-000000000001")
    for caller in ("anonymous", "member", "service"):
        hers = await _ask(client, path, alice.ids[kind], caller)
        assert hers == await _ask(client, path, nothing, caller)


async def test_a_node_of_anothers_reads_as_none(client: Client, alice: Alice) -> None:
    """Of every private kind."""
    keys = dict.fromkeys(PRIVATE, "00000000-0000-7000-8000-000000000001")
    keys |= {"User": "4711", "PointsChange": "4711-1"}
    for kind in PRIVATE:
        nothing = encode_id(kind, keys[kind])
        for caller in ("anonymous", "member", "service"):
            hers = await _ask(client, "node(id)", alice.ids[kind], caller)
            assert hers == await _ask(client, "node(id)", nothing, caller), (kind, caller)
