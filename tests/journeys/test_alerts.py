"""Operators see what is wrong, and say that they are at it."""

from typing import Any

from schema.ids import encode_id
from services.mall import Mall
from services.monitoring.alerts import AlertKind, Sighting, settle_alerts
from services.monitoring.browse import MOST_ALERTS
from services.transaction import transaction
from tests.alerts import add_alert, tellings
from tests.client import Client
from tests.clock import MovableClock
from tests.factories import execute, fingerprint_of_database

ALERT = """
  id type severity message firstSeenAt lastSeenAt occurrences acknowledgedAt resolvedAt
"""
ALERTS = f"query ($all: Boolean! = false) {{ alerts(includeResolved: $all) {{ {ALERT} }} }}"
ACKNOWLEDGE = f"""mutation ($id: ID!) {{ acknowledgeAlert(input: {{alertId: $id}}) {{
  __typename ... on AcknowledgeAlertSuccess {{ alert {{ {ALERT} }} }}
  ... on NotFound {{ code id message }}
}} }}"""


async def ask(client: Client, query: str = ALERTS, **variables: Any) -> Any:
    """The data, as an operator gets it."""
    answer = await client.post(query, variables, client.token("olga", "operator"))
    assert "errors" not in answer, answer
    return answer["data"]


async def resolve(mall: Mall, kind: AlertKind) -> None:
    """Let alerts of that kind be over."""
    async with transaction(mall.stores.write) as session:
        await settle_alerts(session, [], [kind], mall.clock())


async def test_what_is_wrong_is_listed_newest_first(
    mall: Mall, client: Client, clock: MovableClock
) -> None:
    """What is over only for who asks for it."""
    first = await add_alert(mall)
    await resolve(mall, AlertKind.DEAD_JOBS)
    clock.advance(minutes=5)
    second = await add_alert(mall, AlertKind.FEW_ACTIVE_USERS)
    found = (await ask(client))["alerts"]
    assert found == [
        {
            "id": encode_id("Alert", second),
            "type": "few_active_users",
            "severity": "MEDIUM",
            "message": "something is wrong",
            "firstSeenAt": "2026-11-20T04:05:00Z",
            "lastSeenAt": "2026-11-20T04:05:00Z",
            "occurrences": 1,
            "acknowledgedAt": None,
            "resolvedAt": None,
        }
    ]
    found = (await ask(client, all=True))["alerts"]
    assert [alert["id"] for alert in found] == [encode_id("Alert", key) for key in (second, first)]
    assert [alert["resolvedAt"] for alert in found] == [None, "2026-11-20T04:00:00Z"]


async def test_a_list_is_bounded(mall: Mall, client: Client) -> None:
    """However often things went wrong."""
    await execute(
        mall,
        "INSERT INTO alerts (id, kind, severity, message, facts, first_seen_at, last_seen_at,"
        " occurrences, resolved_at) SELECT uuidv7(), 'dead_jobs', 'high', n::text, '{}',"
        " now(), now(), 1, now() FROM generate_series(1, 101) n ORDER BY n",
    )
    found = (await ask(client, all=True))["alerts"]
    assert len(found) == MOST_ALERTS
    assert (await ask(client))["alerts"] == []


async def test_acknowledging_keeps_it_open_and_quiet(
    mall: Mall, client: Client, clock: MovableClock
) -> None:
    """Once: who is at it first stays noted, and so does when. Its end is told."""
    alert_id = await add_alert(mall)
    first = await ask(client, ACKNOWLEDGE, id=encode_id("Alert", alert_id))
    assert first["acknowledgeAlert"]["alert"]["acknowledgedAt"] == "2026-11-20T04:00:00Z"
    clock.advance(minutes=40)
    before = await fingerprint_of_database(mall)
    again = await client.post(
        ACKNOWLEDGE, {"id": encode_id("Alert", alert_id)}, client.token("olga", "operator")
    )
    assert again["data"] == first
    assert await fingerprint_of_database(mall) == before
    async with transaction(mall.stores.write) as session:
        seen = [Sighting(AlertKind.DEAD_JOBS, "still wrong", {})]
        await settle_alerts(session, seen, (), mall.clock())
    assert await tellings(mall) == [("dead_jobs", "raised")]
    [alert] = (await ask(client))["alerts"]
    assert (alert["occurrences"], alert["message"]) == (2, "still wrong")
    await resolve(mall, AlertKind.DEAD_JOBS)
    assert await tellings(mall) == [("dead_jobs", "raised"), ("dead_jobs", "resolved")]


async def test_acknowledging_is_in_the_trail(mall: Mall, client: Client) -> None:
    """Who, and what it was about."""
    alert_id = await add_alert(mall)
    await ask(client, ACKNOWLEDGE, id=encode_id("Alert", alert_id))
    [noted] = await execute(mall, "SELECT action, kind, key, details FROM operator_actions")
    assert noted == ("acknowledge_alert", "Alert", str(alert_id), {"type": "dead_jobs"})


async def test_an_alert_that_there_is_not(mall: Mall, client: Client, clock: MovableClock) -> None:
    """Is not found, and nothing changes."""
    await add_alert(mall)
    await ask(client)  # signs in
    before = await fingerprint_of_database(mall)
    missing = encode_id("Alert", "00000000-0000-7000-8000-000000000000")
    answer = await ask(client, ACKNOWLEDGE, id=missing)
    assert answer["acknowledgeAlert"]["code"] == "NOT_FOUND"
    assert answer["acknowledgeAlert"]["id"] == missing
    assert await fingerprint_of_database(mall) == before


async def test_alerts_are_no_members_business(mall: Mall, client: Client) -> None:
    """As a node it is not there for them."""
    key = encode_id("Alert", await add_alert(mall))
    query = f'{{ node(id: "{key}") {{ id }} }}'
    assert await client.data(query, as_="alice") == {"node": None}
    assert (await ask(client, query))["node"] == {"id": key}
