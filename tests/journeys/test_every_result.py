"""Every type that the result of a mutation can be, and how it comes to be that.

The table is compared with the schema: a member of a union that nobody can bring about fails. The
scenarios of a mutation are told in their order, in one mall: what succeeded first is why others
are refused later.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, cast

import pytest
from graphql import GraphQLNonNull, GraphQLObjectType, GraphQLUnionType

from models.sharing import ShareKind
from resolvers.root import build_schema, graphql_schema
from schema.ids import encode_id
from services.kpis.satisfaction import MOST_ANSWERS_A_DAY, Answer, submit_answer
from services.mall import Mall
from services.sharing.create import MOST_NEW_A_DAY
from services.transaction import transaction
from settings import CaptchaSettings
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
from tests.journeys.money import grant
from tests.journeys.steps import exchange
from tests.pushes import add_device, draft, plan_now
from tests.sharing import add_share

Input = Mapping[str, Any]


@dataclass(frozen=True)
class Scenario:
    """What is asked, and by whom. `@name` stands for an id: see `world`.

    What takes a key has one of its own, but for a conflict: it has that of the success.
    `by_captcha`: told in a mall of its own that demands one of whoever checks in.
    """

    asked: Input
    who: str = "alice"
    by_captcha: bool = False


def asking(who: str = "alice", **asked: Any) -> Scenario:
    """A scenario of one request."""
    return Scenario(asked, who)


_TAKEN = {"itemId": "@limited"}
_HELD = {"pointsRecordId": "@held", "reason": "looked into it"}
_MANY_HELD = {"pointsRecordIds": ["@held"], "reason": "looked into them"}
_EXTENDED = {"pointsRecordId": "@ending"}
_GRANTED = {"userId": "@alice", "points": 5, "source": "campaign"}
_REVERSED = {"source": "campaign", "reference": "order-1", "points": 5}
_ADJUSTED = {"userId": "@alice", "points": -5, "reason": "wrong"}
_STOCKED = {"itemId": "@virtual", "by": 5}
_TASK = {"name": "read", "pointsReward": 5, "frequency": "DAILY"}
_ACHIEVEMENT = {
    "key": "ten_tasks",
    "name": "Ten tasks",
    "description": "Complete ten tasks.",
    "measure": "TASKS_COMPLETED",
    "target": 10,
}
_ITEM = {"name": "mug", "points": 50, "stock": 3, "type": "VIRTUAL", "config": {"note": "soon"}}
_TOLD = {"title": "Hello", "body": "Come back", "audience": {"userIds": ["@alice"]}}
_COUPONS = {"itemId": "@pool", "codes": ["A", "B"]}
_EXPERIMENT = {"key": "button", "variants": [{"key": "A", "weight": 1}]}
_SAMPLE = {"experiment": "points_prompt", "metric": "exchange", "eventId": "1"}
_EVENT = {"eventId": "1", "userId": "@alice", "type": "x", "occurredAt": "2026-11-20T03:00:00Z"}

SCENARIOS: dict[str, dict[str, Scenario]] = {
    "completeTask": {
        "CompleteTaskSuccess": asking(taskId="@task"),
        "NotFound": asking(taskId="@no_task"),
        "TaskNotCompletable": asking(taskId="@task"),
        "LimitReached": asking(taskId="@generous_task"),
        "VerificationRequired": asking(taskId="@guarded_task"),
        "MemberSuspended": asking("sam", taskId="@task"),
    },
    "checkIn": {
        "CheckInSuccess": asking(),
        "TaskNotCompletable": asking(),
        "VerificationRequired": Scenario({}, by_captcha=True),
        "MemberSuspended": asking("sam"),
    },
    "oneClickExchange": {
        "OneClickExchangeSuccess": asking(**_TAKEN),
        "NotFound": asking(itemId="@no_item"),
        "InvalidInput": asking(itemId="@parcel"),
        "InsufficientPoints": asking(itemId="@dear"),
        "OutOfStock": asking(itemId="@pool"),
        "ItemUnavailable": asking(itemId="@off_sale"),
        "LimitReached": asking(**_TAKEN),
        "IdempotencyConflict": asking(itemId="@virtual"),
        "VerificationRequired": asking(itemId="@guarded"),
        "MemberSuspended": asking("sam", **_TAKEN),
    },
    "cancelExchange": {
        "CancelExchangeSuccess": asking(exchangeId="@pending"),
        "NotFound": asking(exchangeId="@no_exchange"),
        "InvalidState": asking(exchangeId="@completed"),
    },
    "extendPoints": {
        "ExtendPointsSuccess": asking(**_EXTENDED),
        "NotFound": asking(pointsRecordId="@no_lot"),
        "InvalidState": asking(pointsRecordId="@lasting"),
        "InsufficientPoints": asking(pointsRecordId="@speck"),
        "IdempotencyConflict": asking(pointsRecordId="@speck"),
        "MemberSuspended": asking("sam", pointsRecordId="@sams_lot"),
    },
    "redeemCoupon": {
        "RedeemCouponSuccess": asking("shop", code="@code", reference="till-1"),
        "NotFound": asking("shop", code="no such code", reference="till-1"),
        "InvalidInput": asking("shop", code="", reference="till-1"),
        "InvalidState": asking("shop", code="@code", reference="till-2"),
    },
    "registerDevice": {
        "RegisterDeviceSuccess": asking(platform="IOS", token="token-1"),
        "InvalidInput": asking(platform="IOS", token=""),
    },
    "unregisterDevice": {
        "UnregisterDeviceSuccess": asking(token="token-2"),
        "InvalidInput": asking(token=""),
    },
    "updatePushPreferences": {
        "UpdatePushPreferencesSuccess": asking(enabled=False),
        "InvalidInput": asking(quietHoursStart="25:00"),
    },
    "markPushOpened": {
        "MarkPushOpenedSuccess": asking(pushId="@push"),
        "NotFound": asking(pushId="@no_push"),
    },
    "setWished": {
        "SetWishedSuccess": asking(itemId="@virtual", wished=True),
        "NotFound": asking(itemId="@no_item", wished=True),
    },
    "updateProfile": {
        "UpdateProfileSuccess": asking(locale="en"),
        "InvalidInput": asking(timezone="Mars/Olympus"),
    },
    "createShare": {
        "CreateShareSuccess": asking(kind="ITEM", targetId="@virtual"),
        "NotFound": asking(kind="ITEM", targetId="@off_sale"),
        "InvalidInput": asking(kind="ITEM"),
        "LimitReached": asking("sam", kind="ITEM", targetId="@virtual"),
    },
    "acceptInvite": {
        "AcceptInviteSuccess": asking(code="@olgas_invite"),
        "NotFound": asking(code="@sams_invite"),
        "InvalidState": asking("olga", code="@olgas_invite"),
    },
    "submitSatisfaction": {
        "SubmitSatisfactionSuccess": asking(score=9),
        "InvalidInput": asking(score=11),
        "LimitReached": asking("sam", score=9),
    },
    "recordExperimentEvents": {
        "RecordExperimentEventsSuccess": asking(events=[_SAMPLE]),
        "InvalidInput": asking("sam", events=[_SAMPLE]),
    },
    "recordEvents": {
        "RecordEventsSuccess": asking("shop", events=[_EVENT]),
        "InvalidInput": asking("shop", events=[_EVENT] * 1_001),
    },
    "grantPoints": {
        "GrantPointsSuccess": asking("shop", **_GRANTED),
        "NotFound": asking("shop", **_GRANTED | {"userId": "@nobody"}),
        "InvalidInput": asking("shop", **_GRANTED | {"points": 0}),
        "IdempotencyConflict": asking("shop", **_GRANTED | {"points": 6}),
    },
    "reverseGrant": {
        "ReverseGrantSuccess": asking("shop", **_REVERSED),
        "NotFound": asking("shop", **_REVERSED | {"reference": "order-2"}),
        "InvalidInput": asking("shop", **_REVERSED | {"points": 51}),
        "IdempotencyConflict": asking("shop", **_REVERSED | {"points": 6}),
    },
    "adjustPoints": {
        "AdjustPointsSuccess": asking("olga", **_ADJUSTED),
        "NotFound": asking("olga", **_ADJUSTED | {"userId": "@nobody"}),
        "InvalidInput": asking("olga", **_ADJUSTED | {"reason": " "}),
        "InsufficientPoints": asking("olga", **_ADJUSTED | {"points": -100_000}),
        "IdempotencyConflict": asking("olga", **_ADJUSTED | {"points": -6}),
    },
    "saveTask": {
        "SaveTaskSuccess": asking("olga", **_TASK),
        "NotFound": asking("olga", id="@no_task", **_TASK),
        "InvalidInput": asking("olga", **_TASK | {"pointsReward": -1}),
    },
    "saveAchievement": {
        "SaveAchievementSuccess": asking("olga", **_ACHIEVEMENT),
        "NotFound": asking("olga", id="@no_achievement", **_ACHIEVEMENT),
        "InvalidInput": asking("olga", **_ACHIEVEMENT),
    },
    "saveExperiment": {
        "SaveExperimentSuccess": asking("olga", **_EXPERIMENT),
        "InvalidInput": asking("olga", **_EXPERIMENT | {"variants": []}),
        "InvalidState": asking("olga", **_EXPERIMENT | {"key": "points_prompt"}),
    },
    "acknowledgeAlert": {
        "AcknowledgeAlertSuccess": asking("olga", alertId="@alert"),
        "NotFound": asking("olga", alertId="@no_alert"),
    },
    "releaseHeldPoints": {
        "DecideHeldPointsSuccess": asking("olga", **_HELD),
        "NotFound": asking("olga", **_HELD | {"pointsRecordId": "@no_lot"}),
        "InvalidInput": asking("olga", **_HELD | {"reason": ""}),
        "InvalidState": asking("olga", **_HELD | {"pointsRecordId": "@lasting"}),
        "IdempotencyConflict": asking("olga", **_HELD | {"reason": "another"}),
    },
    "rejectHeldPoints": {
        "DecideHeldPointsSuccess": asking("olga", **_HELD),
        "NotFound": asking("olga", **_HELD | {"pointsRecordId": "@no_lot"}),
        "InvalidInput": asking("olga", **_HELD | {"reason": ""}),
        "InvalidState": asking("olga", **_HELD | {"pointsRecordId": "@lasting"}),
        "IdempotencyConflict": asking("olga", **_HELD | {"reason": "another"}),
    },
    "releaseManyHeldPoints": {
        "DecideManyHeldPointsSuccess": asking("olga", **_MANY_HELD),
        "NotFound": asking("olga", **_MANY_HELD | {"pointsRecordIds": ["@held", "@no_lot"]}),
        "InvalidInput": asking("olga", **_MANY_HELD, userId="@alice"),
        "InvalidState": asking("olga", **_MANY_HELD | {"pointsRecordIds": ["@held", "@lasting"]}),
        "IdempotencyConflict": asking("olga", **_MANY_HELD | {"reason": "another"}),
    },
    "rejectManyHeldPoints": {
        "DecideManyHeldPointsSuccess": asking("olga", **_MANY_HELD),
        "NotFound": asking("olga", **_MANY_HELD | {"pointsRecordIds": ["@held", "@no_lot"]}),
        "InvalidInput": asking("olga", **_MANY_HELD, userId="@alice"),
        "InvalidState": asking("olga", **_MANY_HELD | {"pointsRecordIds": ["@held", "@lasting"]}),
        "IdempotencyConflict": asking("olga", **_MANY_HELD | {"reason": "another"}),
    },
    "setExperimentStatus": {
        "SetExperimentStatusSuccess": asking("olga", key="points_prompt", status="STOPPED"),
        "NotFound": asking("olga", key="no_such_idea", status="RUNNING"),
        "InvalidState": asking("olga", key="points_prompt", status="DRAFT"),
    },
    "saveItem": {
        "SaveItemSuccess": asking("olga", **_ITEM),
        "NotFound": asking("olga", id="@no_item", **_ITEM),
        "InvalidInput": asking("olga", **_ITEM | {"points": 0}),
    },
    "adjustStock": {
        "AdjustStockSuccess": asking("olga", **_STOCKED),
        "NotFound": asking("olga", **_STOCKED | {"itemId": "@no_item"}),
        "OutOfStock": asking("olga", **_STOCKED | {"by": -1_000}),
        "IdempotencyConflict": asking("olga", **_STOCKED | {"by": 6}),
    },
    "importCoupons": {
        "ImportCouponsSuccess": asking("olga", **_COUPONS),
        "NotFound": asking("olga", **_COUPONS | {"itemId": "@no_item"}),
        "InvalidInput": asking("olga", **_COUPONS | {"itemId": "@virtual"}),
    },
    "broadcastPush": {
        "BroadcastPushSuccess": asking("olga", **_TOLD),
        "InvalidInput": asking("olga", **_TOLD | {"title": ""}),
        "IdempotencyConflict": asking("olga", **_TOLD | {"title": "Goodbye"}),
    },
    "updateExchange": {
        "UpdateExchangeSuccess": asking("olga", exchangeId="@pending", status="SHIPPED"),
        "NotFound": asking("olga", exchangeId="@no_exchange", status="SHIPPED"),
        "InvalidState": asking("olga", exchangeId="@completed", status="SHIPPED"),
    },
    "suspendUser": {
        "SuspendUserSuccess": asking("olga", userId="@sam", reason="fair again"),
        "NotFound": asking("olga", userId="@nobody", reason="gone"),
    },
}
_KEYED = {name for name, members in SCENARIOS.items() if "IdempotencyConflict" in members}
_ROLES = {"alice": "member", "sam": "member", "shop": "service", "olga": "operator"}
_MUTATIONS = cast("GraphQLObjectType", graphql_schema(build_schema()).mutation_type).fields
_STORIES = sorted(
    {(name, told.by_captcha) for name, all_ in SCENARIOS.items() for told in all_.values()}
)


def test_every_member_of_every_result_has_a_scenario() -> None:
    """The table names what the schema serves, and nothing else."""
    served: dict[str, set[str]] = {}
    for name, field in _MUTATIONS.items():
        assert isinstance(field.type, GraphQLNonNull)
        if isinstance(field.type.of_type, GraphQLUnionType):
            served[name] = {member.name for member in field.type.of_type.types}
    assert {name: set(members) for name, members in SCENARIOS.items()} == served


@pytest.fixture
def captcha(by_captcha: bool) -> CaptchaSettings:
    """A mall that demands a captcha of whoever checks in, where that is the story."""
    return CaptchaSettings(captcha_check_in=by_captcha)


@pytest.fixture
async def world(mall: Mall, client: Client) -> dict[str, str]:
    """Alice and what she has, Sam who is suspended, a shop, an operator; items and tasks by name.

    Everybody signed in before, so that asking changes nothing of them.
    """
    now = mall.clock()
    users = {name: await add_user(mall, name, last_login_at=now) for name in ("alice", "shop")}
    until = now + timedelta(days=1)
    users["sam"] = await add_user(mall, "sam", last_login_at=now, suspended_until=until)
    olga = await add_user(mall, "olga", last_login_at=now)
    await _many_answers(mall, users["sam"])
    lots = {"lasting": await give_points(mall, users["alice"], 1_000)}
    lots["held"] = await give_points(mall, users["alice"], 70, held=True)
    lots["sams_lot"] = await give_points(mall, users["sam"], 200, expires_at=until)
    items, exchanges = await _items(mall), {}
    home = {"recipient": "李雷", "phone": "13800138000", "address": "上海市"}
    done = await exchange(client, "alice", items["parcel"], "parcel", shipping=home)
    exchanges["pending"] = done["exchange"]["id"]
    done = await exchange(client, "alice", items["virtual"], "virtual")
    exchanges["completed"] = done["exchange"]["id"]
    done = await exchange(client, "alice", items["coupon"], "coupon")
    exchanges["code"] = done["exchange"]["reward"]["code"]
    await grant(client, users["alice"], 50, "order", reference="order-1")
    exchanges |= await _devices_and_pushes(mall, users["alice"])
    await client.data("{ pointsPrompt { variant } }", as_="alice")
    for name, points in (("ending", 200), ("speck", 1)):
        lots[name] = await give_points(mall, users["alice"], points, expires_at=until)
    return {
        **exchanges,
        **{name: encode_id("User", key) for name, key in {**users, "nobody": 4711}.items()},
        **{name: encode_id("PointsRecord", lot.id) for name, lot in lots.items()},
        **{name: encode_id("ExchangeItem", key) for name, key in items.items()},
        **{name: encode_id("Task", key) for name, key in (await _tasks(mall)).items()},
        "olgas_invite": (await add_share(mall, olga, ShareKind.INVITE)).code,
        "sams_invite": await _invite_and_many_links(mall, users["sam"]),
        "alert": encode_id("Alert", await add_alert(mall)),
        "no_alert": encode_id("Alert", _NOTHING),
        "no_exchange": encode_id("Exchange", _NOTHING),
        "no_achievement": encode_id("Achievement", 4711),
        "no_lot": encode_id("PointsRecord", _NOTHING),
        "no_push": encode_id("PushRecord", _NOTHING),
    }


_NOTHING = "00000000-0000-7000-8000-000000000001"


async def _devices_and_pushes(mall: Mall, user_id: int) -> dict[str, str]:
    await add_device(mall, user_id, "token-2")
    await plan_now(mall, draft(user_id, "news"))
    (push,) = await execute(mall, "SELECT id FROM push_records WHERE reference = 'news'")
    return {"push": encode_id("PushRecord", push.id)}


async def _many_answers(mall: Mall, user_id: int) -> None:
    for _ in range(MOST_ANSWERS_A_DAY):
        async with transaction(mall.stores.write) as session:
            await submit_answer(session, Answer(user_id, 9), mall.clock(), mall.zone)


async def _invite_and_many_links(mall: Mall, user_id: int) -> str:
    for number in range(MOST_NEW_A_DAY):
        await add_share(mall, user_id, ShareKind.ACHIEVEMENT, number)
    return (await add_share(mall, user_id, ShareKind.INVITE)).code


async def _items(mall: Mall) -> dict[str, int]:
    once: dict[str, Any] = {"per_user_limit_count": 1, "per_user_limit_period": "lifetime"}
    return {
        "no_item": 4711,
        "virtual": await add_item(mall),
        "parcel": await add_item(mall, type="physical", config={}),
        "pool": await add_item(mall, type="coupon", config={}, stock=0),
        "coupon": await add_item(mall, type="coupon", config={"generate": True}),
        "dear": await add_item(mall, points=10_000),
        "off_sale": await add_item(mall, is_active=False),
        "limited": await add_item(mall, **once),
        "guarded": await add_item(mall, config={"note": "", "verification": True}),
    }


async def _tasks(mall: Mall) -> dict[str, int]:
    return {
        "no_task": 4711,
        "task": await add_task(mall),
        "generous_task": await add_task(mall, name="慷慨", points_reward=1_001),
        "guarded_task": await add_task(mall, name="验证", config={"verification": True}),
    }


@pytest.mark.parametrize(("mutation", "by_captcha"), _STORIES)
async def test_every_result_comes_about(
    mall: Mall, client: Client, world: dict[str, str], mutation: str, by_captcha: bool
) -> None:
    """By its scenario; and where it is a Problem, nothing has changed."""
    for member, scenario in SCENARIOS[mutation].items():
        if scenario.by_captcha is not by_captcha:
            continue
        before = await fingerprint_of_database(mall)
        answer = await _ask(client, mutation, member, _named(scenario.asked, world))
        assert answer["__typename"] == member, answer
        is_problem = "code" in answer
        assert is_problem is not member.endswith("Success"), member
        assert (await fingerprint_of_database(mall) == before) is is_problem, member


async def _ask(client: Client, mutation: str, member: str, asked: Any) -> dict[str, Any]:
    who, kind = SCENARIOS[mutation][member].who, _MUTATIONS[mutation].args["input"].type
    if mutation in _KEYED:
        is_first = member.endswith("Success") or member == "IdempotencyConflict"
        asked["idempotencyKey"] = "the key" if is_first else member
    query = (
        f"mutation ($input: {kind}) {{ answer: {mutation}(input: $input)"
        " { __typename ... on Problem { code message } } }"
    )
    answer = await client.post(query, {"input": asked}, client.token(who, _ROLES[who]))
    assert "errors" not in answer, answer["errors"]
    return answer["data"]["answer"]


def _named(value: Any, world: dict[str, str]) -> Any:
    """The input with the ids of the world in the places of their names."""
    match value:
        case dict():
            return {name: _named(each, world) for name, each in value.items()}
        case list():
            return [_named(each, world) for each in value]
        case str() if value.startswith("@"):
            return world[value[1:]]
        case _:
            return value
