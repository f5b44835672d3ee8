"""Samples of metrics: recorded once, all of a call or none, and what they come to."""

from typing import Any

import pytest

from services.mall import Mall
from services.transaction import transaction
from services.users.erase import erase_user
from tests.client import Client
from tests.experiments import (
    ESTIMATE,
    RESULTS,
    assigned,
    move,
    record,
    results,
    run,
    sample,
    save,
    stored,
    variants,
)
from tests.factories import add_user, execute, fingerprint_of_database
from tests.journeys.operator_steps import add_operator

KEY = "idea"


@pytest.fixture
async def alice(mall: Mall, client: Client) -> int:
    """Alice, who takes part in an experiment that an operator runs."""
    await add_operator(mall)
    await run(client, KEY)
    user_id = await add_user(mall, "alice", last_login_at=mall.clock())
    assert await assigned(client, "alice", KEY) is not None
    return user_id


async def samples(mall: Mall) -> list[Any]:
    """(user, event id, metric, value) of all there are."""
    sql = "SELECT user_id, event_id, metric, value FROM experiment_events ORDER BY 1, 2"
    return [tuple(row) for row in await execute(mall, sql)]


async def test_each_is_recorded_once(mall: Mall, client: Client, alice: int) -> None:
    """Sent again, or twice in one call: counted as duplicates; the first of them stands."""
    first = [sample("1", value=2.5), sample("2", metric="spent", value=-1), sample("1", value=9)]
    success = "RecordExperimentEventsSuccess"
    assert await record(client, "alice", *first) == {
        "__typename": success,
        "recorded": 2,
        "duplicates": 1,
    }
    again = await record(client, "alice", *first, sample("3"))
    assert (again["recorded"], again["duplicates"]) == (1, 3)
    assert await samples(mall) == [
        (alice, "1", "visit", 2.5),
        (alice, "2", "spent", -1),
        (alice, "3", "visit", 1),
    ]
    assert (await record(client, "alice"))["recorded"] == 0


async def test_ids_are_each_members_own(mall: Mall, client: Client, alice: int) -> None:
    """What one calls their sample swallows nobody else's."""
    bob = await add_user(mall, "bob")
    await assigned(client, "bob", KEY)
    for name in ("alice", "bob"):
        assert (await record(client, name, sample("order-1")))["recorded"] == 1
    assert [row[:2] for row in await samples(mall)] == [(alice, "order-1"), (bob, "order-1")]


@pytest.mark.usefixtures("alice")
async def test_a_thousand_fit_one_call(mall: Mall, client: Client) -> None:
    """One more does not."""
    most = [sample(str(number)) for number in range(1_000)]
    assert (await record(client, "alice", *most))["recorded"] == 1_000
    before = await fingerprint_of_database(mall)
    refused = await record(client, "alice", *most, sample("1000"))
    assert (refused["code"], refused["field"]) == ("INVALID_INPUT", ["events"])
    assert refused["message"] == "一次最多可以提交 1,000 条事件。"
    assert await fingerprint_of_database(mall) == before


INVALID: list[tuple[dict[str, Any], str]] = [
    ({"experiment": "unknown"}, "experiment"),
    ({"experiment": ""}, "experiment"),
    ({"experiment": "a\x00"}, "experiment"),
    ({"experiment": "draft"}, "experiment"),
    ({"experiment": "stopped"}, "experiment"),
    ({"experiment": "not_seen"}, "experiment"),
    ({"metric": ""}, "metric"),
    ({"metric": "m" * 65}, "metric"),
    ({"metric": "a metric"}, "metric"),
    ({"metric": "a\x00"}, "metric"),
    ({"eventId": ""}, "eventId"),
    ({"eventId": " "}, "eventId"),
    ({"eventId": "e" * 129}, "eventId"),
    ({"eventId": "a\x00"}, "eventId"),
    ({"value": 1.1e12}, "value"),
    ({"value": -1.1e12}, "value"),
]


@pytest.mark.usefixtures("alice")
async def test_one_that_breaks_a_rule_stores_none(mall: Mall, client: Client) -> None:
    """Named by its place; drafts, what has stopped and what they have not seen among them."""
    await save(client, "draft")
    await run(client, "stopped")
    await assigned(client, "alice", "stopped")
    await move(client, "stopped", "STOPPED")
    await run(client, "not_seen")
    before = await fingerprint_of_database(mall)
    for broken, field in INVALID:
        refused = await record(client, "alice", sample("1"), sample("2") | broken)
        assert (refused.get("code"), refused.get("field")) == (
            "INVALID_INPUT",
            ["events", "1", field],
        ), broken
        assert "请求" not in refused["message"], broken
    assert await fingerprint_of_database(mall) == before


@pytest.mark.usefixtures("alice")
async def test_what_is_no_number_is_refused(mall: Mall, client: Client) -> None:
    """Infinity can only be written in a query's own text; NaN not even there, nor in JSON."""
    before = await fingerprint_of_database(mall)
    event = 'experiment: "idea", metric: "visit", eventId: "1"'
    mutation = (
        "mutation {{ recordExperimentEvents(input: {{events: [{{{event}, value: {value}}}]}})"
    )
    mutation += " {{ __typename ... on InvalidInput {{ field }} }} }}"
    for value in ("1e999", "-1e999"):
        asked = mutation.format(event=event, value=value)
        answer = await client.data(asked, as_="alice")
        assert answer["recordExperimentEvents"] == {
            "__typename": "InvalidInput",
            "field": ["events", "0", "value"],
        }
    asked = mutation.format(event=event, value="NaN")
    assert await client.error_code(asked, as_="alice") == "GRAPHQL_VALIDATION_FAILED"
    body = '{"query": "mutation ($v: Float) { __typename }", "variables": {"v": NaN}}'
    headers = {"Authorization": f"Bearer {client.token('alice')}"}
    headers["Content-Type"] = "application/json"
    assert (await client.http.post("/graphql", content=body, headers=headers)).status_code == 400
    assert await fingerprint_of_database(mall) == before


async def test_who_was_erased_records_nothing(mall: Mall, client: Client, alice: int) -> None:
    """And what they had recorded stays, without the ids that their app chose."""
    await record(client, "alice", sample("order of Alice Liddell", value=3))
    async with transaction(mall.stores.write) as session:
        await erase_user(session, "alice", mall.clock(), timezone="Asia/Shanghai")
    ((user_id, event_id, metric, value),) = await samples(mall)
    assert (user_id, metric, value) == (alice, "visit", 3)
    assert "Alice" not in event_id
    before = await fingerprint_of_database(mall)
    query = "mutation { recordExperimentEvents(input: {events: []}) { __typename } }"
    assert await client.error_code(query, as_="alice") == "UNAUTHENTICATED"
    assert await fingerprint_of_database(mall) == before


async def _two_variants(mall: Mall, client: Client, count: int) -> dict[str, list[str]]:
    """So many members of each variant, by its key."""
    found: dict[str, list[str]] = {"A": [], "B": []}
    number = 0
    while min(map(len, found.values())) < count:
        number += 1
        name = f"member-{number}"
        await add_user(mall, name, last_login_at=mall.clock())
        variant = await assigned(client, name, KEY)
        assert variant is not None
        found[variant].append(name)
    return found


async def test_results_of_a_conversion(mall: Mall, client: Client) -> None:
    """Every sample 0 or 1: the figures of each variant are about conversion."""
    await add_operator(mall)
    await run(client, KEY)
    members = await _two_variants(mall, client, 6)
    for variant, converted in (("A", 2), ("B", 4)):
        for name in members[variant][:converted]:
            await record(client, name, sample("1"), sample("2"))
        await record(client, members[variant][converted], sample("1", value=0))
    found = await results(client, KEY)
    a, b = found["variants"]
    exposed = [len(members[variant]) for variant in "AB"]
    assert [each["variant"] for each in (a, b)] == ["A", "B"]
    assert [each["assignedUsers"] for each in (a, b)] == exposed
    assert [each["uniqueUsers"] for each in (a, b)] == [3, 5]
    assert [each["totalSamples"] for each in (a, b)] == [5, 9]
    assert [each["averageValue"] for each in (a, b)] == pytest.approx([4 / 5, 8 / 9])
    rates = [2 / exposed[0], 4 / exposed[1]]
    assert [each["conversionRate"] for each in (a, b)] == pytest.approx(rates)
    for each in (a, b):
        conversion = each["conversion"]
        assert conversion["average"] == each["conversionRate"]
        for own, explicit in (("confidenceInterval", "interval"), ("lift", "lift")):
            assert each[own] == conversion[explicit]
        for same in ("pValue", "sequentialInterval", "sequentialPValue"):
            assert each[same] == conversion[same]
        assert each["mean"]["average"] == each["averageValue"]
    assert (a["lift"], a["pValue"], a["sequentialPValue"]) == (None, None, None)
    assert b["lift"] == pytest.approx(rates[1] / rates[0] - 1)
    assert 0 < b["pValue"] < b["sequentialPValue"] <= 1
    low, high = a["confidenceInterval"]
    assert 0 < low < rates[0] < high < 1
    assert a["valuePerExposedUser"]["average"] == pytest.approx(4 / exposed[0])
    assert (found["crossedOverUsers"], found["earlierUsers"]) == (0, 0)
    assert found["sampleRatioMismatch"] is False
    assert 0 < found["sampleRatioPValue"] <= 1


async def test_results_of_a_mean(mall: Mall, client: Client) -> None:
    """Any other sample: the figures are about the mean."""
    await add_operator(mall)
    await run(client, KEY)
    members = await _two_variants(mall, client, 3)
    for variant, values in (("A", (10.0, 20.0, 30.0)), ("B", (40.0, 50.0, 90.0))):
        for name, value in zip(members[variant], values, strict=False):
            await record(client, name, sample("1", value=value))
    a, b = (await results(client, KEY))["variants"]
    assert [each["averageValue"] for each in (a, b)] == pytest.approx([20, 60])
    assert b["lift"] == b["mean"]["lift"] == pytest.approx(2)
    assert b["mean"]["difference"] == pytest.approx(40)
    assert b["pValue"] == b["mean"]["pValue"]
    assert b["confidenceInterval"] == b["mean"]["interval"]


@pytest.mark.usefixtures("alice")
async def test_a_metric_that_was_never_recorded_says_nothing(client: Client) -> None:
    """Nulls; how many were assigned is still told. A name that is none is bad input."""
    found = await results(client, KEY, "never")
    nothing = dict.fromkeys(ESTIMATE.split())
    for each in found["variants"]:
        assert (each["uniqueUsers"], each["totalSamples"]) == (0, 0)
        assert each["mean"] == each["conversion"] == each["valuePerExposedUser"] == nothing
        assert (each["averageValue"], each["conversionRate"], each["lift"]) == (None, None, None)
    assert sum(each["assignedUsers"] for each in found["variants"]) == 1
    token = client.token("olga", "operator")
    for metric in ("", "a metric", "a\x00", "m" * 65):
        query = f"query ($m: String!) {{ experiments {{ results(metric: $m) {{ {RESULTS} }} }} }}"
        answer = await client.post(query, {"m": metric}, token)
        assert answer["errors"][0]["extensions"]["code"] == "BAD_USER_INPUT"


async def test_who_saw_two_variants_is_counted_out(mall: Mall, client: Client) -> None:
    """And so is who was there before the variants changed; both are told."""
    await add_operator(mall)
    await run(client, KEY, variants=variants("A", "B", "C"))
    names = [f"member-{number}" for number in range(12)]
    for name in names:
        await assigned(client, name, KEY)
        await record(client, name, sample("1"))
    first = [variant for _, variant, _ in await stored(mall, KEY)]
    assert len(set(first)) == 3
    await move(client, KEY, "STOPPED")
    await save(client, KEY, variants=variants("A", "B"))
    await move(client, KEY, "RUNNING")
    found = await results(client, KEY)
    assert (found["crossedOverUsers"], found["earlierUsers"]) == (0, 12)
    for name in names:
        assert await assigned(client, name, KEY) in ("A", "B")
    await assigned(client, "somebody new", KEY)
    await record(client, "somebody new", sample("1"))
    found = await results(client, KEY)
    crossed = first.count("C")
    assert (found["crossedOverUsers"], found["earlierUsers"]) == (crossed, 12 - crossed)
    assert sum(each["assignedUsers"] for each in found["variants"]) == 1
    assert sum(each["totalSamples"] for each in found["variants"]) == 1


async def test_a_split_that_is_off_is_flagged(mall: Mall, client: Client) -> None:
    """46 to 54 of 4,000 users, where half and half was meant; not of 400."""
    await add_operator(mall)
    await run(client, KEY)
    sql = """
        WITH fresh AS (
            INSERT INTO users (external_id, username, locale, timezone)
            SELECT 'fresh-' || n, 'fresh', 'en', 'UTC'
            FROM generate_series(CAST(:begin AS integer), CAST(:end AS integer)) n
            RETURNING id, substr(external_id, 7)::integer AS n
        )
        INSERT INTO ab_tests (experiment_id, user_id, variant, design, exposed_at)
        SELECT e.id, fresh.id, CASE WHEN n % 50 < 23 THEN 'A' ELSE 'B' END, 1, now()
        FROM fresh, experiments e WHERE key = 'idea'
    """
    await execute(mall, sql, begin=1, end=400)
    found = await results(client, KEY)
    assert found["sampleRatioMismatch"] is False
    await execute(mall, sql, begin=401, end=4_000)
    found = await results(client, KEY)
    assert [each["assignedUsers"] for each in found["variants"]] == [1_840, 2_160]
    assert found["sampleRatioMismatch"] is True
    assert found["sampleRatioPValue"] < 1e-6
