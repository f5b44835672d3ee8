"""Nonsense in: a clear code out, nothing about the inside, and the database as it was."""

import json
from typing import Any

import pytest

from schema.ids import encode_id
from services.mall import Mall
from tests.client import Client
from tests.factories import fingerprint_of_database
from tests.journeys.refusals import BAD_INPUT, INVALID, UNPARSABLE, all_answered, code_of, raw
from tests.journeys.steps import complete, exchange
from tests.pushes import draft, plan_now

PAGED = {
    "exchanges": "{ exchanges%s { nodes { id } } }",
    "pointsHistory": "{ pointsHistory%s { nodes { id } } }",
    "lots": "{ balance { lots%s { nodes { id } } } }",
    "items": "{ items%s { nodes { id } } }",
    "pushHistory": "{ pushHistory%s { nodes { id } } }",
}


MALFORMED = ["", " ", "1", "x", "!!!", "é", "\x00", "任务", "a" * 5000, raw(b"\xff:1"), raw("Task")]


@pytest.mark.usefixtures("alice")
async def test_malformed_and_foreign_ids(mall: Mall, client: Client) -> None:
    """What is no id, or the id of something else, is bad input."""
    numbers = ["", "x", "-1", "+1", " 1", "1 ", "1.0", "１", "1_0", "1" * 19, "1\x00", "1:2"]
    tasks = [*MALFORMED, *(raw(f"Task:{n}") for n in numbers), raw("ExchangeItem:1"), "VGFzazox="]
    items = [*MALFORMED, *(raw(f"ExchangeItem:{n}") for n in numbers), encode_id("Task", 1)]
    uuids = ["PointsRecord:1", "Exchange:", "Coupon:x", "PointsChange:1", "PointsChange:1-x"]
    uuids += [
        "Device:1",
        "PushRecord:x",
        "PushRecord:00000000000070008000000000000001",
        "Campaign:1",
    ]
    nodes = [*MALFORMED, *items[len(MALFORMED) : -1], *map(raw, uuids), raw("Nothing:1")]
    claim = "mutation ($id: ID!) { completeTask(input: {taskId: $id}) { __typename } }"
    take = (
        "mutation ($id: ID!) { oneClickExchange(input: {itemId: $id, idempotencyKey: $id})"
        " { __typename } }"
    ).replace("idempotencyKey: $id", 'idempotencyKey: "k"')
    find = "query ($id: ID!) { node(id: $id) { id } }"
    open_ = "mutation ($id: ID!) { markPushOpened(input: {pushId: $id}) { __typename } }"
    pushes = [*nodes, raw("Device:00000000-0000-7000-8000-000000000001")]
    for query, ids in ((claim, tasks), (take, items), (find, nodes), (open_, pushes)):
        asked = {repr(value): (query, {"id": value}) for value in ids}
        await all_answered(mall, client, BAD_INPUT, asked)


@pytest.mark.usefixtures("alice")
async def test_unknown_ids_are_not_found(mall: Mall, client: Client) -> None:
    """A Problem of the mutation; null as a node."""
    before = await fingerprint_of_database(mall)
    for unknown in (0, 4711, 10**18 - 1):
        assert (await complete(client, "alice", unknown))["code"] == "NOT_FOUND"
        assert (await exchange(client, "alice", unknown))["code"] == "NOT_FOUND"
        for kind in ("Task", "ExchangeItem", "User"):
            query = f'{{ node(id: "{encode_id(kind, unknown)}") {{ id }} }}'
            assert await client.data(query, as_="alice") == {"node": None}
    assert await fingerprint_of_database(mall) == before


@pytest.mark.usefixtures("alice")
async def test_sizes_of_pages_and_windows(mall: Mall, client: Client) -> None:
    """1 to 100 for pages and options; 1 to ten years of days."""
    queries = {name: query % "(first: %s)" for name, query in PAGED.items()}
    queries["options"] = "{ quickExchangeOptions(limit: %s) { available } }"
    asked = {
        f"{name} {size}": (query % size,)
        for name, query in queries.items()
        for size in (0, 101, -1, 2**31 - 1, -(2**31))
    }
    days = {
        f"{n} days": (f"{{ expirySummary(days: {n}) {{ days }} }}",) for n in (0, -1, 2**31 - 1)
    }
    await all_answered(mall, client, BAD_INPUT, {**asked, **days})
    for query in queries.values():
        for size in (1, 100):
            assert await code_of(client, query % size) is None


def _crafted() -> list[str]:
    """Cursors that nobody was given: no base64, no JSON, no list, or other values in it."""
    moment, key = "2026-11-20T04:00:00+00:00", "0" * 32
    wrong = [None, True, 1.5, "x", [], {}, 2**63, -(2**63) - 1, 10**40, "9" * 600, "\x00"]
    bodies: list[Any] = [
        None,
        7,
        "x",
        {},
        [],
        [[]],
        ["history"],
        ["history", 1, 2],
        ["lots", moment],
    ]
    bodies += [["history", value] for value in wrong]
    for order in ("exchanges", "pushes"):
        bodies += [[order, moment, value] for value in [*wrong, 5]]
        bodies += [[order, value, key] for value in [*wrong, 5]]
    bodies += [["lots", moment, value, key] for value in [*wrong, 5]]
    bodies += [["lots", moment, moment, value] for value in [*wrong, 5]]
    for order in ("popular", "newest", "points_asc", "points_desc"):
        bodies += [[order, value, 1] for value in wrong] + [[order, 1, value] for value in wrong]
    return [*MALFORMED, raw(b"\xff"), raw("[1"), *(raw(json.dumps(body)) for body in bodies)]


@pytest.mark.usefixtures("alice")
async def test_crafted_cursors(mall: Mall, client: Client) -> None:
    """What no list gave out is bad input for every list and every order."""
    queries = {name: query % "(after: $after)" for name, query in PAGED.items()}
    orders = ("NEWEST", "POINTS_ASC", "POINTS_DESC")
    queries |= {o: PAGED["items"] % f"(after: $after, orderBy: {o})" for o in orders}
    for query in queries.values():
        asked = {
            repr(cursor): (f"query ($after: String) {query}", {"after": cursor})
            for cursor in _crafted()
        }
        await all_answered(mall, client, BAD_INPUT, asked)


@pytest.mark.parametrize(("name", "body"), [("pointsHistory", ["history"]), ("items", ["popular"])])
@pytest.mark.usefixtures("alice")
async def test_a_cursor_beyond_the_column(
    mall: Mall, client: Client, name: str, body: list[Any]
) -> None:
    """A number too large for the list is an empty or whole page, or bad input; never a failure."""
    for number in (2**31, -(2**31) - 1, 2**63 - 1, -(2**63)):
        values = [*body, number] if name == "pointsHistory" else [*body, number, number]
        query = PAGED[name] % f'(after: "{raw(json.dumps(values))}")'
        assert await code_of(client, query) in (None, BAD_INPUT)


@pytest.mark.usefixtures("alice")
async def test_cursors_of_another_list_or_order(mall: Mall, client: Client) -> None:
    """A good cursor is good for its own list in its own order alone; cut short it is none."""
    await exchange(client, "alice", 1)
    await plan_now(mall, draft(1, "news"), draft(1, "more news"))
    page = "(first: 1%s) { pageInfo { endCursor } }"
    fields = {name: name + page % "" for name in ("exchanges", "pointsHistory", "pushHistory")}
    fields["lots"] = "balance { lots" + page % "" + " }"
    orders = ("POPULAR", "NEWEST", "POINTS_ASC", "POINTS_DESC")
    fields |= {o: "items" + page % f", orderBy: {o}" for o in orders}
    cursors = {}
    for name, field in fields.items():
        data = await client.data(f"{{ {field} }}", as_="alice")
        found = data.get("balance") or data
        (connection,) = found.values()
        cursors[name] = connection["pageInfo"]["endCursor"]
    asked: dict[str, tuple[Any, ...]] = {}
    for name, field in fields.items():
        query = "query ($c: String) { " + field.replace("first: 1", "first: 1, after: $c") + " }"
        assert await code_of(client, query, {"c": cursors[name]}) is None
        others = {other: cursor for other, cursor in cursors.items() if other != name}
        broken = {"cut": cursors[name][:-3], "longer": cursors[name] + "AAAA"}
        for other, cursor in {**others, **broken}.items():
            asked[f"{other} for {name}"] = (query, {"c": cursor})
    await all_answered(mall, client, BAD_INPUT, asked)


WRONG: dict[str, list[Any]] = {
    "query ($v: Int) { items(first: $v) { nodes { id } } }": ["1", 1.5, True, [1], 2**31, 1e300],
    "query ($v: Points) { items(filter: {minPoints: $v}) { nodes { id } } }": [
        *("1", 1.5, True, {}, 2**53, -(2**53), 1e300, 10**30)
    ],
    "query ($v: ExchangeItemOrder!) { items(orderBy: $v) { nodes { id } } }": [
        *("CHEAP", "popular", 1, None)
    ],
    "query ($v: [PointsAction!]) { pointsHistory(actions: $v) { nodes { id } } }": ["GIFT", [None]],
    "query ($v: ExchangeItemFilter) { items(filter: $v) { nodes { id } } }": [{"colour": 1}, "x"],
    "query ($v: ID!) { node(id: $v) { id } }": [None, 1.5, True, {}],
    "query ($v: Boolean!) { tasks(includeCompleted: $v) { id } }": ["true", 1, None],
    "mutation ($v: CheckInInput!) { checkIn(input: $v) { __typename } }": [None, 1, {"x": 1}],
    "mutation ($v: OneClickExchangeInput!) { oneClickExchange(input: $v) { __typename } }": [
        *({}, {"itemId": "x"}, {"itemId": "x", "idempotencyKey": 7}, [])
    ],
    "mutation ($v: RegisterDeviceInput!) { registerDevice(input: $v) { __typename } }": [
        *({}, {"token": "t"}, {"platform": "IOS"}, {"platform": "ios", "token": "t"}),
        *({"platform": "IOS", "token": None}, {"platform": "IOS", "token": 7}),
    ],
    "mutation ($v: UnregisterDeviceInput!) { unregisterDevice(input: $v) { __typename } }": [
        *({}, {"token": None}, {"token": ["t"]}, {"token": "t", "platform": "IOS"})
    ],
    "mutation ($v: UpdatePushPreferencesInput!)"
    " { updatePushPreferences(input: $v) { __typename } }": [
        *(None, {"enabled": "no"}, {"enabled": 0}, {"mutedTypes": ["NEWS"]}, {"quiet": "22:00"}),
        *({"mutedTypes": [None]}, {"quietHoursStart": 22}, {"quietHoursEnd": True}),
    ],
    "mutation ($v: MarkPushOpenedInput!) { markPushOpened(input: $v) { __typename } }": [
        *({}, {"pushId": None}, {"pushId": True})
    ],
}


@pytest.mark.usefixtures("alice")
async def test_values_of_the_wrong_type(mall: Mall, client: Client) -> None:
    """As variables they are bad input; nothing is coerced that should not be."""
    asked = {
        f"{query} {value!r}": (query, {"v": value})
        for query, values in WRONG.items()
        for value in values
    }
    await all_answered(mall, client, BAD_INPUT, asked)


@pytest.mark.usefixtures("alice")
async def test_documents_that_do_not_fit_the_schema(mall: Mall, client: Client) -> None:
    """Wrong literals, fields, arguments and variables are told apart from broken syntax."""
    invalid = (
        *(
            '{ items(first: "1") { nodes { id } } }',
            "{ items(first: 99999999999) { nodes { id } } }",
        ),
        *("{ nothing }", "{ me }", "{ me { password } }", "{ items(colour: 1) { nodes { id } } }"),
        *("{ node { id } }", "query ($v: Nothing) { me { id } }", "{ me { id { x } } }"),
        *("mutation { checkIn { __typename } }", "subscription { nothing }"),
        *('{ items(filter: {minPoints: "5"}) { nodes { id } } }', "mutation { me { id } }"),
    )
    broken = (
        "{",
        "{ me { id }",
        "}",
        "{ me { id } } garbage",
        '{ node(id: "\\ud800") { id } }',
        "\x00",
    )
    await all_answered(mall, client, INVALID, {text: (text,) for text in invalid})
    await all_answered(mall, client, UNPARSABLE, {text: (text,) for text in broken})


@pytest.mark.usefixtures("alice")
async def test_nul_in_a_filter(mall: Mall, client: Client) -> None:
    """No category has that name: nothing is found, or the input is refused."""
    query = "query ($v: String) { items(filter: {category: $v}) { nodes { id } } }"
    assert await code_of(client, query, {"v": "\x00"}) in (None, BAD_INPUT)
