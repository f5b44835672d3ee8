"""Who may ask for which root field: every one of them, as every caller, over HTTP.

The table below is the decision, written a second time on purpose: a root field that is missing
from it, a decision that the server does not share, and a field that nothing guards all fail.
"""

from typing import Any

import pytest

from resolvers.access import For
from resolvers.root import build_schema, graphql_schema
from schema.ids import encode_id, int_key
from services.mall import Mall
from tests.client import Client
from tests.factories import add_item, add_task, execute, give_points

OK, UNAUTHENTICATED, FORBIDDEN = None, "UNAUTHENTICATED", "FORBIDDEN"

ANYONE = {
    "anonymous": OK,
    "bad token": UNAUTHENTICATED,  # who believes to be signed in and is not has to hear of it
    "no role": OK,
    "member": OK,
    "service": OK,
    "operator": OK,
}
MEMBERS = {
    "anonymous": UNAUTHENTICATED,
    "bad token": UNAUTHENTICATED,
    "no role": FORBIDDEN,
    "member": OK,
    "service": FORBIDDEN,
    "operator": OK,
}
SERVICES = {**MEMBERS, "member": FORBIDDEN, "service": OK}
OPERATORS = {**MEMBERS, "member": FORBIDDEN}

_ITEM, _TASK = "RXhjaGFuZ2VJdGVtOjE", "VGFzazox"  # ExchangeItem:1, Task:1
_USER = encode_id("User", 1)  # the first who signed in
_LOT = encode_id("PointsRecord", "00000000-0000-7000-8000-000000000001")
_EXCHANGE = encode_id("Exchange", "00000000-0000-7000-8000-000000000001")
_ALERT = encode_id("Alert", "00000000-0000-7000-8000-000000000001")
_PUSH = encode_id("PushRecord", "00000000-0000-7000-8000-000000000001")
NOTHING_YET = {"query.myRank"}  # null for those who have earned nothing
DECISIONS: dict[str, tuple[dict[str, str | None], str]] = {
    "query.node": (ANYONE, f'node(id: "{_ITEM}") {{ id }}'),
    "query.me": (MEMBERS, "me { id }"),
    "query.tasks": (MEMBERS, "tasks { id }"),
    "query.balance": (MEMBERS, "balance { available }"),
    "query.expirySummary": (MEMBERS, "expirySummary { days }"),
    "query.pointsHistory": (MEMBERS, "pointsHistory { nodes { id } }"),
    "query.pointsRules": (ANYONE, "pointsRules { explanation }"),
    "query.interestOptions": (ANYONE, "interestOptions"),
    "query.heldPoints": (OPERATORS, "heldPoints { nodes { points } }"),
    "mutation.releaseHeldPoints": (
        OPERATORS,
        (
            f'releaseHeldPoints(input: {{pointsRecordId: "{_LOT}", reason: "r",'
            ' idempotencyKey: "k"}) { __typename }'
        ),
    ),
    "mutation.rejectHeldPoints": (
        OPERATORS,
        (
            f'rejectHeldPoints(input: {{pointsRecordId: "{_LOT}", reason: "r",'
            ' idempotencyKey: "k"}) { __typename }'
        ),
    ),
    "mutation.releaseManyHeldPoints": (
        OPERATORS,
        (
            f'releaseManyHeldPoints(input: {{pointsRecordIds: ["{_LOT}"], reason: "r",'
            ' idempotencyKey: "k"}) { __typename }'
        ),
    ),
    "mutation.rejectManyHeldPoints": (
        OPERATORS,
        (
            f'rejectManyHeldPoints(input: {{userId: "{_USER}", reason: "r",'
            ' idempotencyKey: "k"}) { __typename }'
        ),
    ),
    "query.user": (OPERATORS, f'user(id: "{_USER}") {{ id }}'),
    "query.auditLog": (OPERATORS, f'auditLog(userId: "{_USER}") {{ nodes {{ id }} }}'),
    "query.users": (OPERATORS, "users { nodes { id } }"),
    "query.operatorActions": (OPERATORS, "operatorActions { nodes { id } }"),
    "query.experimentAssignment": (
        MEMBERS,
        'experimentAssignment(experiment: "points_prompt") { variant }',
    ),
    "query.pointsPrompt": (MEMBERS, "pointsPrompt { message }"),
    "query.experiments": (OPERATORS, "experiments { id }"),
    "query.kpis": (OPERATORS, 'kpis(from: "2026-11-01", to: "2026-11-20") { outstandingPoints }'),
    "query.systemHealth": (OPERATORS, "systemHealth { status }"),
    "query.alerts": (OPERATORS, "alerts { id }"),
    "mutation.acknowledgeAlert": (
        OPERATORS,
        f'acknowledgeAlert(input: {{alertId: "{_ALERT}"}}) {{ __typename }}',
    ),
    "query.pointsLiability": (OPERATORS, "pointsLiability { outstandingPoints }"),
    "query.campaigns": (OPERATORS, "campaigns { nodes { id } }"),
    "query.recommendations": (MEMBERS, "recommendations { score }"),
    "query.items": (ANYONE, "items { nodes { id } }"),
    "query.quickExchangeOptions": (MEMBERS, "quickExchangeOptions { available }"),
    "query.exchanges": (MEMBERS, "exchanges { nodes { id } }"),
    "query.leaderboard": (ANYONE, "leaderboard { totalUsers }"),
    "query.myRank": (MEMBERS, "myRank { rank }"),
    "query.achievements": (MEMBERS, "achievements { id }"),
    "query.pushHistory": (MEMBERS, "pushHistory { nodes { id } }"),
    "query.shares": (MEMBERS, "shares { id }"),
    "mutation.createShare": (MEMBERS, "createShare(input: {kind: INVITE}) { __typename }"),
    "mutation.acceptInvite": (MEMBERS, 'acceptInvite(input: {code: "c"}) { __typename }'),
    "subscription.leaderboardChanged": (ANYONE, "leaderboardChanged { totalUsers }"),
    "subscription.rankChanged": (MEMBERS, "rankChanged { rank }"),
    "subscription.balanceChanged": (MEMBERS, "balanceChanged { available }"),
    "mutation.completeTask": (
        MEMBERS,
        f'completeTask(input: {{taskId: "{_TASK}"}}) {{ __typename }}',
    ),
    "mutation.checkIn": (MEMBERS, "checkIn(input: {}) { __typename }"),
    "mutation.oneClickExchange": (
        MEMBERS,
        f'oneClickExchange(input: {{itemId: "{_ITEM}", idempotencyKey: "k"}}) {{ __typename }}',
    ),
    "mutation.cancelExchange": (
        MEMBERS,
        f'cancelExchange(input: {{exchangeId: "{_EXCHANGE}"}}) {{ __typename }}',
    ),
    "mutation.extendPoints": (
        MEMBERS,
        f'extendPoints(input: {{pointsRecordId: "{_LOT}", idempotencyKey: "k"}}) {{ __typename }}',
    ),
    "mutation.grantPoints": (
        SERVICES,
        (
            f'grantPoints(input: {{userId: "{_USER}", points: 1, source: "s",'
            ' idempotencyKey: "k"}) { __typename }'
        ),
    ),
    "mutation.reverseGrant": (
        SERVICES,
        'reverseGrant(input: {source: "s", reference: "r", idempotencyKey: "k"}) { __typename }',
    ),
    "mutation.adjustPoints": (
        OPERATORS,
        (
            f'adjustPoints(input: {{userId: "{_USER}", points: 1, reason: "r",'
            ' idempotencyKey: "k"}) { __typename }'
        ),
    ),
    "mutation.updateExchange": (
        OPERATORS,
        f'updateExchange(input: {{exchangeId: "{_EXCHANGE}", status: SHIPPED}}) {{ __typename }}',
    ),
    "mutation.redeemCoupon": (
        SERVICES,
        'redeemCoupon(input: {code: "c", reference: "r"}) { __typename }',
    ),
    "mutation.updateProfile": (MEMBERS, "updateProfile(input: {}) { __typename }"),
    "mutation.suspendUser": (
        OPERATORS,
        f'suspendUser(input: {{userId: "{_USER}", reason: "r"}}) {{ __typename }}',
    ),
    "mutation.setWished": (
        MEMBERS,
        f'setWished(input: {{itemId: "{_ITEM}", wished: true}}) {{ __typename }}',
    ),
    "mutation.registerDevice": (
        MEMBERS,
        'registerDevice(input: {platform: IOS, token: "t"}) { __typename }',
    ),
    "mutation.unregisterDevice": (MEMBERS, 'unregisterDevice(input: {token: "t"}) { __typename }'),
    "mutation.updatePushPreferences": (
        MEMBERS,
        "updatePushPreferences(input: {}) { __typename }",
    ),
    "mutation.markPushOpened": (
        MEMBERS,
        f'markPushOpened(input: {{pushId: "{_PUSH}"}}) {{ __typename }}',
    ),
    "mutation.recordEvents": (SERVICES, "recordEvents(input: {events: []}) { __typename }"),
    "mutation.saveTask": (
        OPERATORS,
        'saveTask(input: {name: "t", pointsReward: 1, frequency: ONCE}) { __typename }',
    ),
    "mutation.saveAchievement": (
        OPERATORS,
        (
            'saveAchievement(input: {key: "k", name: "n", description: "d",'
            " measure: TASKS_COMPLETED, target: 1}) { __typename }"
        ),
    ),
    "mutation.saveItem": (
        OPERATORS,
        'saveItem(input: {name: "i", points: 1, type: VIRTUAL}) { __typename }',
    ),
    "mutation.adjustStock": (
        OPERATORS,
        f'adjustStock(input: {{itemId: "{_ITEM}", by: 1, idempotencyKey: "k"}}) {{ __typename }}',
    ),
    "mutation.importCoupons": (
        OPERATORS,
        f'importCoupons(input: {{itemId: "{_ITEM}", codes: ["c"]}}) {{ __typename }}',
    ),
    "mutation.broadcastPush": (
        OPERATORS,
        (
            'broadcastPush(input: {title: "t", body: "b", audience: {}, idempotencyKey: "k"})'
            " { __typename }"
        ),
    ),
    "mutation.recordExperimentEvents": (
        MEMBERS,
        "recordExperimentEvents(input: {events: []}) { __typename }",
    ),
    "mutation.submitSatisfaction": (
        MEMBERS,
        "submitSatisfaction(input: {score: 9}) { __typename }",
    ),
    "mutation.saveExperiment": (
        OPERATORS,
        'saveExperiment(input: {key: "k", variants: []}) { __typename }',
    ),
    "mutation.setExperimentStatus": (
        OPERATORS,
        'setExperimentStatus(input: {key: "k", status: RUNNING}) { __typename }',
    ),
    "mutation.runExpiry": (OPERATORS, "runExpiry { expiredRecords }"),
}


def root_fields() -> dict[str, Any]:
    """Every root field that is served, as Strawberry defines it."""
    schema = build_schema()
    served = graphql_schema(schema)
    fields = {}
    for kind, root in (
        ("query", served.query_type),
        ("mutation", served.mutation_type),
        ("subscription", served.subscription_type),
    ):
        for name, field in (root.fields if root else {}).items():
            fields[f"{kind}.{name}"] = field.extensions["strawberry-definition"]
    return fields


def test_every_root_field_is_decided() -> None:
    """The table names all root fields and no other."""
    assert set(root_fields()) == set(DECISIONS)


def test_every_root_field_is_guarded() -> None:
    """Exactly one guard each, which treats mutations as what they are."""
    for name, field in root_fields().items():
        guards = [each for each in field.extensions if isinstance(each, For)]
        assert len(guards) == 1, name
        assert guards[0].changes is name.startswith("mutation."), name


def tokens(client: Client) -> dict[str, str | None]:
    """What each caller sends."""
    good = client.token("eve")
    return {
        "anonymous": None,
        "bad token": good[:-4] + "AAAA",
        "no role": client.sign({"sub": "nora", "roles": ["astronaut"], "exp": 4_000_000_000}),
        "member": client.token("mia", "member"),
        "service": client.token("till", "service"),
        "operator": client.token("olga", "operator"),
    }


@pytest.mark.parametrize("name", DECISIONS)
async def test_callers_get_what_was_decided(mall: Mall, client: Client, name: str) -> None:
    """Allowed, or refused with the code, and then without any data."""
    await add_item(mall)
    await add_task(mall)
    expected, selection = DECISIONS[name]
    operation = f"{name.partition('.')[0]} {{ {selection} }}"
    if name == "subscription.rankChanged":  # which says nothing to whoever is not ranked
        for ranked, role in (("mia", "member"), ("olga", "operator")):
            user_id = int_key(await client.user_id(ranked, role), "User")
            await give_points(mall, user_id, 1)
    for caller, token in tokens(client).items():
        if name.startswith("subscription."):
            answer = await client.first_event(operation, token)
        else:
            answer = await client.post(operation, None, token)
        codes = [error["extensions"]["code"] for error in answer.get("errors", [])]
        assert codes == ([] if expected[caller] is OK else [expected[caller]]), caller
        field = name.partition(".")[2]
        seen = (answer.get("data") or {}).get(field)
        assert (seen is not None) is (expected[caller] is OK and name not in NOTHING_YET), caller


async def test_several_roles_add_up(mall: Mall, client: Client) -> None:
    """A member who is a service as well may do both, and still not what operators do."""
    token = client.token("both", "member", "service")
    for name, code in {
        "query.me": OK,
        "mutation.recordEvents": OK,
        "mutation.runExpiry": FORBIDDEN,
    }.items():
        operation = f"{name.partition('.')[0]} {{ {DECISIONS[name][1]} }}"
        answer = await client.post(operation, None, token)
        codes = [error["extensions"]["code"] for error in answer.get("errors", [])]
        assert codes == ([] if code is OK else [code])


async def test_a_refusal_has_its_status_where_the_client_reads_it(client: Client) -> None:
    """With `application/graphql-response+json`, a bad token is a 401 before anything runs."""
    headers = {
        "Accept": "application/graphql-response+json",
        "Authorization": "Bearer nonsense",
    }
    answer = await client.http.post("/graphql", json={"query": "{ me { id } }"}, headers=headers)
    assert answer.status_code == 401
    assert [e["extensions"]["code"] for e in answer.json()["errors"]] == [UNAUTHENTICATED]


async def test_the_first_token_creates_the_user_once(mall: Mall, client: Client) -> None:
    """Named by the token; the next request finds the same user."""
    first = await client.user_id("zoë")
    assert await client.user_id("zoë") == first
    data = await client.data("{ me { username locale timezone createdAt } }", as_="zoë")
    assert data["me"] == {
        "username": "zoë",
        "locale": "zh-CN",
        "timezone": "Asia/Shanghai",
        "createdAt": "2026-11-20T04:00:00Z",
    }
    assert await execute(mall, "SELECT external_id FROM users") == [("zoë",)]
