"""What a member wants to be told, and when not."""

import asyncio
from typing import Any

import pytest

from schema.ids import encode_id
from services.mall import Mall
from tests.client import Client
from tests.clock import MovableClock
from tests.factories import add_user, execute, fingerprint_of_database
from tests.pushes import add_device, draft, plan_now

FIELDS = "enabled mutedTypes quietHoursStart quietHoursEnd"
UPDATE = f"""mutation ($input: UpdatePushPreferencesInput!) {{
  updatePushPreferences(input: $input) {{
    __typename
    ... on Problem {{ code message }}
    ... on InvalidInput {{ field }}
    ... on UpdatePushPreferencesSuccess {{ preferences {{ {FIELDS} }} }}
  }}
}}"""
READ = f"{{ me {{ pushPreferences {{ {FIELDS} }} }} }}"
UNLESS_SAID = {
    "enabled": True,
    "mutedTypes": [],
    "quietHoursStart": "22:00",
    "quietHoursEnd": "08:00",
}
NOT_TIMES = [
    *(
        "",
        "8:00",
        "24:00",
        "23:60",
        "08:00:00",
        "-1:00",
        "08.00",
        "0800",
        "٠٨:٠٠",
        "08:00 ",
        "noon",
    ),
    *("08:00\n", "\x0008:00", "08:00+01:00", "1e1:00", "x" * 10_000),
]


async def update(client: Client, **asked: Any) -> dict[str, Any]:
    """Change Alice's preferences."""
    answer = await client.data(UPDATE, {"input": asked}, as_="alice")
    return answer["updatePushPreferences"]


async def read(client: Client) -> dict[str, Any]:
    """Alice's preferences."""
    return (await client.data(READ, as_="alice"))["me"]["pushPreferences"]


async def test_who_never_said_anything_wants_everything(mall: Mall, client: Client) -> None:
    """But at night. Reading writes nothing."""
    assert await read(client) == UNLESS_SAID
    assert await execute(mall, "SELECT * FROM push_preferences") == []
    assert (await update(client))["preferences"] == UNLESS_SAID


async def test_what_is_left_out_or_null_stays(client: Client) -> None:
    """Everything, then one thing, then nothing; muted kinds are replaced as a whole."""
    wanted = {
        "enabled": False,
        "mutedTypes": ["CAMPAIGN", "ACHIEVEMENT", "CAMPAIGN"],
        "quietHoursStart": "23:59",
        "quietHoursEnd": "00:00",
    }
    said = {**wanted, "mutedTypes": ["ACHIEVEMENT", "CAMPAIGN"]}  # each once, in their order
    assert (await update(client, **wanted))["preferences"] == said
    assert (await update(client, **dict.fromkeys(wanted)))["preferences"] == said
    assert (await update(client))["preferences"] == said
    said |= {"enabled": True, "mutedTypes": ["ALERT"]}
    assert (await update(client, enabled=True, mutedTypes=["ALERT"]))["preferences"] == said
    said |= {"mutedTypes": [], "quietHoursStart": "00:00"}
    assert (await update(client, mutedTypes=[], quietHoursStart="00:00"))["preferences"] == said
    assert await read(client) == said


@pytest.mark.parametrize("field", ["quietHoursStart", "quietHoursEnd"])
async def test_what_is_no_time_of_day(mall: Mall, client: Client, field: str) -> None:
    """Is refused with all that was asked beside it."""
    await add_user(mall, "alice", last_login_at=mall.clock())
    before = await fingerprint_of_database(mall)
    for written in NOT_TIMES:
        assert await update(client, **{"enabled": False, field: written}) == {
            "__typename": "InvalidInput",
            "code": "INVALID_INPUT",
            "message": "时间须在 00:00 到 23:59 之间。",
            "field": [field],
        }, ascii(written)
    assert await fingerprint_of_database(mall) == before


async def test_what_is_planned_heeds_them(mall: Mall, client: Client, clock: MovableClock) -> None:
    """Off, muted, quiet, and quiet no more; in the member's own time."""
    alice = await add_user(mall, "alice", timezone="Europe/London")
    await add_device(mall, alice, "token")
    seen = []
    for reference, asked in (
        ("off", {"enabled": False}),
        ("muted", {"enabled": True, "mutedTypes": ["CAMPAIGN"]}),
        ("quiet", {"mutedTypes": [], "quietHoursStart": "03:00", "quietHoursEnd": "05:00"}),
        ("never quiet", {"quietHoursStart": "04:00", "quietHoursEnd": "04:00"}),
    ):
        await update(client, **asked)
        (planned,) = await plan_now(mall, draft(alice, reference))  # at 04:00 in London
        waits_hours = (planned.due_at - clock.now).total_seconds() / 3600
        seen.append((planned.status, planned.reason, waits_hours))
    assert seen == [
        ("suppressed", "disabled", 0),
        ("suppressed", "muted", 0),
        ("queued", None, 1),
        ("queued", None, 0),
    ]


async def test_changes_at_once_all_stay(mall: Mall, client: Client) -> None:
    """Each its own field: none undoes another."""
    await client.user_id("alice")
    wanted: dict[str, Any] = {
        "enabled": False,
        "mutedTypes": ["ALERT"],
        "quietHoursStart": "01:00",
        "quietHoursEnd": "02:00",
    }
    await asyncio.gather(*(update(client, **{name: value}) for name, value in wanted.items()))
    assert await read(client) == wanted


async def test_an_operator_reads_them_and_nobody_else(mall: Mall, client: Client) -> None:
    """Of the user they look at, not their own; another member finds no such user."""
    await update(client, enabled=False)
    (alice,) = (await execute(mall, "SELECT id FROM users"))[0]
    query = f'{{ node(id: "{encode_id("User", alice)}") {{'
    query += " ... on User { pushPreferences { enabled } } } }"
    answer = await client.post(query, None, client.token("olga", "operator"))
    assert answer["data"]["node"] == {"pushPreferences": {"enabled": False}}
    assert await client.data(query, as_="bob") == {"node": None}


async def test_the_suspended_change_them_too(mall: Mall, client: Client) -> None:
    """No points move."""
    await add_user(mall, "alice", suspended_until=mall.clock().replace(year=2099))
    assert (await update(client, enabled=False))["preferences"]["enabled"] is False
