"""How many SQL statements each hot path costs, counted at the driver, BEGIN and COMMIT included.

Exactly: one more is a round trip more for every request. The number must not grow with the rows.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest

from models.sharing import ShareKind
from schema.ids import encode_id
from services.catalogue.coupon_codes import CodeImport, import_codes
from services.exchange.place import exchange_request
from services.identifiers import new_id
from services.mall import Mall
from services.notifications.audience import Audience
from services.notifications.broadcast import Broadcast, broadcast
from services.tasks.check_in import CheckInRequest
from services.transaction import transaction
from services.users.suspend import suspend_user
from tests.boards import build
from tests.client import Client
from tests.clock import MovableClock
from tests.factories import (
    add_achievement,
    add_item,
    add_task,
    add_user,
    execute,
    give_points,
    points_of,
)
from tests.jobs.due import run_due
from tests.pushes import add_device, draft, plan_now
from tests.recommendations import add_run
from tests.services.statements import Statements
from tests.sharing import add_invite, add_share, follow


@dataclass(frozen=True)
class Operation:
    """A request, what it needs for it in `rows` rows, and what it may cost."""

    name: str
    query: str
    statements: int
    arrange: Callable[[Mall, int, int], Awaitable[dict[str, Any]]]
    role: str = "member"


async def _lots(mall: Mall, user_id: int, rows: int) -> dict[str, Any]:
    for number in range(rows):
        ends = mall.clock() + timedelta(days=2 + number)
        await give_points(mall, user_id, 10, expires_at=ends)
    return {}


async def _tasks(mall: Mall, _user_id: int, rows: int) -> dict[str, Any]:
    ids = [await add_task(mall) for _ in range(rows)]
    return {"task": encode_id("Task", ids[-1])}


async def _items(mall: Mall, user_id: int, rows: int) -> dict[str, Any]:
    await give_points(mall, user_id, 100)
    for number in range(rows):
        limit = {"per_user_limit_count": 3, "per_user_limit_period": "day"}
        await add_item(mall, points=50 + number, **limit)
    return {}


async def _interest(mall: Mall, user_id: int, rows: int) -> dict[str, Any]:
    """Enough of what the member is interested in, so that no lower rung is climbed."""
    await give_points(mall, user_id, 100)
    await execute(mall, "UPDATE users SET interests = '{tea}' WHERE id = :id", id=user_id)
    for _ in range(5 + rows):
        await add_item(mall, points=60, tags=["Tea"])
    return {}


async def _first_item(mall: Mall, user_id: int, rows: int) -> dict[str, Any]:
    await _lots(mall, user_id, rows)
    item = await add_item(mall, points=10 * rows)
    return {"item": encode_id("ExchangeItem", item), "key": "key"}


async def _exchange_before(mall: Mall, user_id: int) -> None:
    """The first exchange unlocks an achievement; most are not the first."""
    await give_points(mall, user_id, 1)
    item = await add_item(mall, points=1)
    request = exchange_request(user_id, item, "the first", None, is_verified=False)
    await mall.exchanges.submit(request)


async def _item_for_many_lots(mall: Mall, user_id: int, rows: int) -> dict[str, Any]:
    await _exchange_before(mall, user_id)
    return await _first_item(mall, user_id, rows)


async def _pool(mall: Mall, user_id: int, rows: int) -> dict[str, Any]:
    await _exchange_before(mall, user_id)
    await give_points(mall, user_id, 100)
    item = await add_item(mall, type="coupon", config={}, stock=0)
    request = CodeImport(user_id, item, [f"CODE-{number}" for number in range(rows)], None)
    async with transaction(mall.stores.bulk) as session:
        await import_codes(session, request, clock=mall.clock)
    return {"item": encode_id("ExchangeItem", item), "key": "key"}


async def _exchanges(mall: Mall, user_id: int, rows: int) -> dict[str, Any]:
    await give_points(mall, user_id, 10_000)
    kinds: list[dict[str, Any]] = [
        {"type": "coupon", "config": {"generate": True}},
        {"type": "vip", "config": {"level": 1, "days": 30}},
        {"type": "virtual"},
    ]
    for number in range(rows):
        item = await add_item(mall, **kinds[number % 3])
        request = exchange_request(user_id, item, f"key-{number}", None, is_verified=False)
        await mall.exchanges.submit(request)
    return {}


async def _check_ins(mall: Mall, user_id: int, rows: int) -> dict[str, Any]:
    assert isinstance(mall.clock, MovableClock)
    for _ in range(rows):
        await mall.check_ins.submit(CheckInRequest(user_id, is_verified=False, lot_id=new_id()))
        mall.clock.advance(days=1)
    return {}


async def _events(mall: Mall, user_id: int, rows: int) -> dict[str, Any]:
    users = [user_id] + [await add_user(mall, f"buyer-{number}") for number in range(rows)]
    for _ in range(rows):
        await add_task(mall, config={"event": "view", "target": 2, "claim": "auto"})
    return {
        "events": [
            {
                "eventId": f"event-{number}",
                "userId": encode_id("User", users[number % len(users)]),
                "type": "view" if number % 2 else "purchase",
                "amount": 3,
                "occurredAt": mall.clock().isoformat(),
            }
            for number in range(100)
        ]
    }


async def _users(mall: Mall, user_id: int, rows: int) -> dict[str, Any]:
    await _lots(mall, user_id, rows)
    for number in range(rows):
        member = await add_user(mall, f"member-{number}")
        await _lots(mall, member, 2)
        async with transaction(mall.stores.write) as session:
            await suspend_user(session, user_id, member, None, "reason", mall.clock())
    return {}


async def _devices(mall: Mall, user_id: int, rows: int) -> dict[str, Any]:
    for number in range(rows):
        await add_device(mall, user_id, f"token {number}")
    return {}


async def _pushes(mall: Mall, user_id: int, rows: int) -> dict[str, Any]:
    await plan_now(mall, *(draft(user_id, f"news {number}") for number in range(rows)))
    return {}


async def _campaigns(mall: Mall, user_id: int, rows: int) -> dict[str, Any]:
    for number in range(rows):
        operator = await add_user(mall, f"operator-{number}")
        asked = Broadcast(operator, "News", "for all", None, Audience((user_id,)), "key")
        async with transaction(mall.stores.write) as session:
            await broadcast(session, asked, mall.clock())
    await run_due(mall)
    return {}


async def _ranked(mall: Mall, user_id: int, rows: int) -> dict[str, Any]:
    await mall.stores.redis.flushdb()
    await give_points(mall, user_id, 1)
    for number in range(rows):
        await give_points(mall, await add_user(mall, f"member-{number}"), 10 + number)
    await mall.movements.told()
    return {}


async def _boards(mall: Mall, user_id: int, rows: int) -> dict[str, Any]:
    await _ranked(mall, user_id, rows)
    await build(mall)
    return {}


async def _history(mall: Mall, user_id: int, rows: int) -> dict[str, Any]:
    """Things wished for, each of which speaks for ten that the balance pays."""
    await give_points(mall, user_id, 1_000)
    offered = [await add_item(mall, points=600) for _ in range(10)]
    wished = [await add_item(mall, points=10) for _ in range(rows)]
    for item in wished:
        values = {"user": user_id, "item": item}
        await execute(mall, "INSERT INTO wishes (user_id, item_id) VALUES (:user, :item)", **values)
    weights = dict.fromkeys(offered, 0.5)
    await add_run(mall, collaborative=dict.fromkeys(wished, weights))
    return {}


async def _achievements(mall: Mall, user_id: int, rows: int) -> dict[str, Any]:
    await _exchange_before(mall, user_id)
    for number in range(rows):
        await add_achievement(mall, f"another_{number}")
    return {}


async def _links(mall: Mall, user_id: int, rows: int) -> dict[str, Any]:
    for number in range(rows):
        await add_share(mall, user_id, ShareKind.ACHIEVEMENT, number)
    item = await add_item(mall)
    return {"item": encode_id("ExchangeItem", item)}


async def _invites(mall: Mall, _user_id: int, rows: int) -> dict[str, Any]:
    """A chain of members who brought each other, the last of whom invites."""
    chain = [await add_user(mall, f"member-{number}") for number in range(rows)]
    for inviter, invited in pairwise(chain):
        await add_invite(mall, inviter, invited)
    return {"code": (await add_share(mall, chain[-1], ShareKind.INVITE)).code}


async def _invited(mall: Mall, user_id: int, rows: int) -> dict[str, Any]:
    await add_invite(mall, await add_user(mall, "host"), user_id)
    return await _tasks(mall, user_id, rows)


async def _given(mall: Mall, user_id: int, rows: int, variant: str) -> dict[str, Any]:
    """Alice has seen that variant; so have others, of other experiments as well."""
    await _items(mall, user_id, rows)
    sql = """
        INSERT INTO experiments (key, status, traffic_buckets, variants, salt, started_at)
        SELECT 'idea-' || n, 'running', 10000, variants, n::text, now()
        FROM experiments, generate_series(1, :rows) n
    """
    await execute(mall, sql, rows=rows)
    members = [user_id] + [await add_user(mall, f"member-{number}") for number in range(rows)]
    sql = """
        INSERT INTO ab_tests (experiment_id, user_id, variant, design, exposed_at)
        SELECT id, unnest(CAST(:members AS bigint[])), :variant, 1, now() FROM experiments
    """
    await execute(mall, sql, members=members, variant=variant)
    sample = {"experiment": "points_prompt", "metric": "exchange"}
    return {"events": [{**sample, "eventId": str(number)} for number in range(50 * rows)]}


async def _given_a(mall: Mall, user_id: int, rows: int) -> dict[str, Any]:
    return await _given(mall, user_id, rows, "A")


async def _given_b(mall: Mall, user_id: int, rows: int) -> dict[str, Any]:
    await _lots(mall, user_id, rows)
    return await _given(mall, user_id, rows, "B")


_NOTED = datetime(2030, 1, 1, tzinfo=UTC)  # no login has to be noted in between
_ITEM = "id name points stock exchangeCount canExchange"
_EXCHANGE = (
    "mutation ($item: ID!, $key: String!) { oneClickExchange(input: {itemId: $item,"
    " idempotencyKey: $key}) { ... on OneClickExchangeSuccess { remainingPoints"
    " exchange { id reward { __typename } paidFrom { points } } } } }"
)
OPERATIONS = [
    Operation("balance", "{ balance { available pending expiringSoon } }", 1, _lots),
    Operation(
        "balance with lots",
        "{ balance { available lots(first: 20) { nodes { points } totalCount } } }",
        3,
        _lots,
    ),
    Operation(
        "a count under many names",
        "{ items(first: 1) { nodes { id } a: totalCount b: totalCount c: totalCount } }",
        2,
        _lots,
    ),
    Operation(
        "users",
        "{ users { nodes { username vip { level } checkInStreak balance {"
        " available lots(first: 2) { nodes { points } totalCount } } } } }",
        6,
        _users,
        role="operator",
    ),
    Operation(
        "users by a search",
        '{ users(search: "m") { nodes { username balance { available } } } }',
        2,
        _users,
        role="operator",
    ),
    Operation(
        "operatorActions",
        "{ operatorActions { nodes { action details operator { username } } } }",
        3,
        _users,
        role="operator",
    ),
    Operation(
        "kpis",
        '{ kpis(from: "2025-11-20", to: "2026-11-20") { days { activeUsers } exchangeRate'
        " dailyActiveUsersChange netPromoterScore availability targets { met } } }",
        8,
        _lots,
        role="operator",
    ),
    Operation(
        "campaigns",
        "{ campaigns { nodes { title queued sent failed suppressed opened operator { username } }"
        " } }",
        3,
        _campaigns,
        role="operator",
    ),
    Operation(
        "broadcastPush",
        'mutation { broadcastPush(input: {title: "t", body: "b", audience: {},'
        ' idempotencyKey: "k"}) { ... on BroadcastPushSuccess { recipients } } }',
        7,
        _users,
        role="operator",
    ),
    Operation(
        "achievements",
        "{ achievements { name progress { current target } unlockedAt pointsGranted } }",
        1,
        _achievements,
    ),
    Operation("tasks", "{ tasks { name status progress { current } } }", 1, _tasks),
    Operation("items", f"{{ items(first: 20) {{ nodes {{ {_ITEM} }} }} }}", 4, _items),
    Operation(
        "items wished for and affordable",
        "{ items(first: 20, filter: {affordable: true, wished: false}) {"
        " nodes { id isWished canExchange } } }",
        4,
        _items,
    ),
    Operation(
        "items by a search",
        '{ items(filter: {search: "测试 itm"}, orderBy: RELEVANCE)'
        f" {{ nodes {{ {_ITEM} }} }} }}",
        4,
        _items,
    ),
    Operation(
        "quickExchangeOptions",
        "{ quickExchangeOptions { available options { item { id name points } canExchange"
        " exchangeCount remainingPoints expiryWarning } } }",
        4,
        _items,
    ),
    Operation(
        "recommendations by a history",
        "{ recommendations { item { id name points } score reason message } }",
        4,
        _history,
    ),
    Operation(
        "recommendations on a cold start",
        "{ recommendations { item { id name points } score reason message } }",
        4,
        _items,
    ),
    Operation(
        "recommendations on a cold start by an interest",
        "{ recommendations { item { id name points } score reason message } }",
        3,
        _interest,
    ),
    Operation(
        "exchanges",
        "{ exchanges(first: 20) { nodes { id status item { name } reward { __typename }"
        " paidFrom { points } } } }",
        4,
        _exchanges,
    ),
    Operation(
        "oneClickExchange",
        _EXCHANGE,
        7,
        _item_for_many_lots,
    ),
    Operation("oneClickExchange that unlocks", _EXCHANGE, 8, _first_item),
    Operation("oneClickExchange of a pool", _EXCHANGE, 8, _pool),
    Operation(
        "completeTask",
        "mutation ($task: ID!) { completeTask(input: {taskId: $task}) {"
        " ... on CompleteTaskSuccess { pointsEarned task { status } } } }",
        8,
        _tasks,
    ),
    Operation(
        "completeTask of somebody invited",
        "mutation ($task: ID!) { completeTask(input: {taskId: $task}) {"
        " ... on CompleteTaskSuccess { pointsEarned task { status } } } }",
        8,
        _invited,
    ),
    Operation(
        "checkIn",
        "mutation { checkIn(input: {}) { ... on CheckInSuccess { streak pointsEarned } } }",
        6,
        _check_ins,
    ),
    Operation(
        "recordEvents",
        "mutation ($events: [EventInput!]!) { recordEvents(input: {events: $events}) {"
        " ... on RecordEventsSuccess { recorded pointsEarned } } }",
        9,
        _events,
        role="service",
    ),
    Operation(
        "registerDevice",
        'mutation { registerDevice(input: {platform: IOS, token: "token"}) {'
        " ... on RegisterDeviceSuccess { device { id lastSeenAt } } } }",
        6,
        _devices,
    ),
    Operation(
        "leaderboard",
        "{ leaderboard(top: 20) { totalUsers entries { rank user { username vipLevel } } } }",
        1,
        _boards,
    ),
    Operation("myRank", "{ myRank(period: WEEKLY) { rank points pointsToNext } }", 0, _boards),
    Operation(
        "myRank with history and neighbours",
        "{ myRank { rank history { rank } around { user { username } } } }",
        2,
        _boards,
    ),
    Operation(
        "pushHistory",
        "{ pushHistory(first: 20) { nodes { id title status openedAt } } }",
        1,
        _pushes,
    ),
    Operation(
        "experimentAssignment",
        '{ experimentAssignment(experiment: "points_prompt") { variant payload } }',
        1,
        _given_a,
    ),
    Operation(
        "experimentAssignment for the first time",
        '{ experimentAssignment(experiment: "points_prompt") { variant payload } }',
        4,
        _items,
    ),
    Operation("pointsPrompt of worth", "{ pointsPrompt { variant message } }", 4, _given_a),
    Operation("pointsPrompt of expiry", "{ pointsPrompt { variant message } }", 2, _given_b),
    Operation(
        "recordExperimentEvents",
        "mutation ($events: [ExperimentEventInput!]!) { recordExperimentEvents(input: {"
        "events: $events}) { ... on RecordExperimentEventsSuccess { recorded } } }",
        5,
        _given_a,
    ),
    Operation(
        "experiments with results",
        '{ experiments { key results(metric: "exchange") { variants { lift pValue } } } }',
        2,
        _given_a,
        role="operator",
    ),
    Operation("shares", "{ shares { id kind code url visits pointsEarned } }", 1, _links),
    Operation(
        "createShare",
        "mutation ($item: ID!) { createShare(input: {kind: ITEM, targetId: $item}) {"
        " ... on CreateShareSuccess { share { code } } } }",
        7,
        _links,
    ),
    Operation(
        "acceptInvite",
        "mutation ($code: String!) { acceptInvite(input: {code: $code}) {"
        " ... on AcceptInviteSuccess { pointsEarned } } }",
        9,
        _invites,
    ),
]


@pytest.mark.parametrize("rows", [2, 20])
@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.name)
async def test_a_hot_path_costs_exactly_so_many_statements(
    statements: Statements, mall: Mall, client: Client, operation: Operation, rows: int
) -> None:
    """The same number for 2 rows and for 20; the member is known to the process already."""
    user_id = await add_user(mall, "alice", last_login_at=_NOTED)
    variables = await operation.arrange(mall, user_id, rows)
    token = client.token("alice", operation.role)
    await client.post("{ __typename }", None, token)
    statements.seen.clear()
    answer = await client.post(operation.query, variables, token)
    assert "errors" not in answer, answer
    assert len(statements.seen) == operation.statements, statements.seen


async def test_a_crowd_costs_little_more_than_one(
    statements: Statements, mall: Mall, client: Client
) -> None:
    """40 exchanges at once share transactions: a few batches, not 40."""
    names = [f"member-{number}" for number in range(40)]
    user_ids = [await add_user(mall, name, last_login_at=_NOTED) for name in names]
    for user_id in user_ids:
        await give_points(mall, user_id, 100)
    item = await add_item(mall, points=100, stock=40)
    variables = {"item": encode_id("ExchangeItem", item), "key": "key"}
    await asyncio.gather(*(client.data("{ __typename }", as_=name) for name in names))
    statements.seen.clear()
    await asyncio.gather(*(client.data(_EXCHANGE, variables, as_=name) for name in names))
    assert len(statements.seen) < 40 * 7 / 2, len(statements.seen)
    assert [await points_of(mall, user_id) for user_id in user_ids] == [0] * 40


async def test_following_a_link_costs_a_read_and_a_share_of_a_batch(
    statements: Statements, mall: Mall, client: Client
) -> None:
    """One read each; 40 visitors at once are counted in a few transactions, not in 40."""
    link = await add_share(mall, await add_user(mall, "alice"), ShareKind.RANK)
    await follow(client, link.code)  # opens the connections
    statements.seen.clear()
    await follow(client, link.code, agent="Googlebot/2.1")
    assert len(statements.seen) == 1
    statements.seen.clear()
    await follow(client, link.code)
    assert len(statements.seen) == 1 + 4
    statements.seen.clear()
    await asyncio.gather(*(follow(client, link.code) for _ in range(40)))
    assert len(statements.seen) < 40 + 40 * 4 / 2


async def test_a_first_request_costs_one_statement_more(
    statements: Statements, mall: Mall, client: Client
) -> None:
    """Whose token it is has to be looked up once; the process remembers it for a while."""
    await add_user(mall, "alice", last_login_at=_NOTED)
    await client.data("{ __typename }", as_="bob")
    statements.seen.clear()
    await client.data("{ balance { available } }", as_="alice")
    first, statements.seen = statements.seen, []
    await client.data("{ balance { available } }", as_="alice")
    assert (len(first), len(statements.seen)) == (2, 1)
