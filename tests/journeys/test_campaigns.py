"""Campaigns: an operator tells many members something, once, and sees how far that has come."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from models.notifications import DevicePlatform
from schema.ids import encode_id
from services.mall import Mall
from services.transaction import transaction
from services.users.erase import erase_user
from tests.client import Client
from tests.clock import MovableClock
from tests.factories import add_user, execute, fingerprint_of_database, give_points
from tests.jobs.due import pushes, run_due
from tests.pushes import add_device

BROADCAST = """mutation ($input: BroadcastPushInput!) { broadcastPush(input: $input) {
  __typename
  ... on Problem { code message }
  ... on InvalidInput { field }
  ... on IdempotencyConflict { idempotencyKey }
  ... on BroadcastPushSuccess { broadcastId recipients replayed }
} }"""
CAMPAIGN = """
  id title body payload audience recipients planned queued sent failed suppressed opened
  createdAt plannedAt operator { username }
"""
CAMPAIGNS = f"""query ($first: Int, $after: String) {{ campaigns(first: $first, after: $after) {{
  nodes {{ {CAMPAIGN} }} edges {{ cursor node {{ id }} }}
  pageInfo {{ hasNextPage hasPreviousPage endCursor }}
}} }}"""
NODE = f"query ($id: ID!) {{ node(id: $id) {{ ... on Campaign {{ {CAMPAIGN} }} }} }}"


@pytest.fixture(autouse=True)
async def olga(mall: Mall) -> int:
    """An operator who signed in before; she speaks a language of her own, and is a user too."""
    return await add_user(mall, "olga", last_login_at=mall.clock(), locale="fi")


async def tell(client: Client, key: str = "key", **asked: Any) -> dict[str, Any]:
    """What the operator's wish is answered."""
    wish = {"title": "News", "body": "For you", "audience": {}, "idempotencyKey": key, **asked}
    answer = await client.post(BROADCAST, {"input": wish}, client.token("olga", "operator"))
    assert "errors" not in answer, answer["errors"]
    return answer["data"]["broadcastPush"]


async def see(client: Client, query: str = CAMPAIGNS, **variables: Any) -> dict[str, Any]:
    """What an operator reads of campaigns."""
    answer = await client.post(query, variables, client.token("olga", "operator"))
    assert "errors" not in answer, answer["errors"]
    return answer["data"]


async def told(mall: Mall) -> set[str]:
    """The names of all who have a push; nobody has two."""
    rows = await execute(
        mall, "SELECT external_id FROM push_records JOIN users ON users.id = user_id"
    )
    names = [row.external_id for row in rows]
    assert len(names) == len(set(names))
    return set(names)


async def erase(mall: Mall, name: str) -> None:
    """Forget a member."""
    async with transaction(mall.stores.write) as session:
        await erase_user(session, name, mall.clock(), timezone="Asia/Shanghai")


async def members(mall: Mall) -> dict[str, int]:
    """Members who differ in what an audience may ask for."""
    now = mall.clock()

    def days_ago(days: int) -> Any:
        return now - timedelta(days=days)

    ids = {
        "rich": await add_user(mall, "rich", locale="en", last_login_at=now),
        "late": await add_user(mall, "late", locale="en-US", last_login_at=days_ago(29)),
        "away": await add_user(mall, "away", locale="enx", last_login_at=days_ago(30)),
        "new": await add_user(mall, "new", locale="zh-Hans-CN", created_at=now),
        "never": await add_user(mall, "never", locale="EN-gb", created_at=days_ago(90)),
    }
    await give_points(mall, ids["rich"], 300)
    # Not settled yet: the sum still says 300.
    await give_points(mall, ids["late"], 200, expires_at=now)
    await give_points(mall, ids["late"], 100)
    await give_points(mall, ids["away"], 299)
    await give_points(mall, ids["never"], 301, expires_at=None)
    for name, platform in (("rich", "ios"), ("late", "android"), ("never", "ios")):
        await add_device(mall, ids[name], f"of {name}", DevicePlatform(platform))
    await add_device(mall, ids["rich"], "another", DevicePlatform.WEB)
    gone = await add_user(mall, "gone", locale="en", created_at=days_ago(90))
    await give_points(mall, gone, 500)
    await add_device(mall, gone, "of gone")
    await erase(mall, "gone")
    return {**ids, "gone": gone, "nobody": 4711}


AUDIENCES: list[tuple[dict[str, Any], set[str]]] = [
    ({}, {"rich", "late", "away", "new", "never", "olga"}),
    ({"userIds": ["rich", "new", "gone", "nobody", "rich"]}, {"rich", "new"}),
    ({"userIds": ["nobody"]}, set()),
    ({"minAvailablePoints": 300}, {"rich", "never"}),
    ({"minAvailablePoints": 301}, {"never"}),
    ({"minAvailablePoints": 100}, {"rich", "late", "away", "never"}),
    ({"minAvailablePoints": 0}, {"rich", "late", "away", "new", "never", "olga"}),
    ({"minAvailablePoints": 2**53 - 1}, set()),
    ({"inactiveDays": 29}, {"late", "away", "never"}),
    ({"inactiveDays": 30}, {"away", "never"}),
    ({"inactiveDays": 91}, set()),
    ({"platform": "IOS"}, {"rich", "never"}),
    ({"platform": "ANDROID"}, {"late"}),
    ({"platform": "WEB"}, {"rich"}),
    ({"locale": "en"}, {"rich", "late", "never"}),
    ({"locale": "EN_us"}, {"late"}),
    ({"locale": "zh"}, {"new"}),
    ({"locale": "zh-Hans"}, {"new"}),
    ({"locale": "zh-CN"}, set()),
    (
        {
            "userIds": ["rich", "late", "never"],
            "minAvailablePoints": 300,
            "inactiveDays": 1,
            "platform": "IOS",
            "locale": "en",
        },
        {"never"},
    ),
]


@pytest.mark.parametrize(("audience", "expected"), AUDIENCES, ids=range(len(AUDIENCES)))
async def test_exactly_those_are_told_who_fit(
    mall: Mall, client: Client, audience: dict[str, Any], expected: set[str]
) -> None:
    """By every condition, and by all of them; the number beforehand is that of those told."""
    ids = await members(mall)
    asked = dict(audience)
    if "userIds" in audience:
        asked["userIds"] = [encode_id("User", ids[name]) for name in audience["userIds"]]
    begun = await tell(client, audience=asked)
    assert (begun["recipients"], begun["replayed"]) == (len(expected), False)
    await run_due(mall)
    assert await told(mall) == expected
    node = (await see(client, NODE, id=begun["broadcastId"]))["node"]
    assert (node["recipients"], node["planned"]) == (len(expected), len(expected))
    if "userIds" in asked:
        named = sorted({ids[name] for name in audience["userIds"]})
        asked["userIds"] = [encode_id("User", key) for key in named]
    if asked.get("locale") == "EN_us":
        asked["locale"] = "en-US"
    assert node["audience"] == asked


async def test_a_key_begins_one_campaign(mall: Mall, client: Client) -> None:
    """The same again is replayed, even when others would fit by now; anything else conflicts."""
    ids = [encode_id("User", await add_user(mall, name)) for name in ("alice", "bob")]
    first = await tell(client, audience={"userIds": ids, "locale": "zh"})
    await add_user(mall, "carol")
    before = await fingerprint_of_database(mall)
    same = {"userIds": [*reversed(ids), ids[0]], "locale": "ZH"}
    for payload in (None, {}):
        again = await tell(client, audience=same, payload=payload)
        assert again == {**first, "replayed": True}
    for changed in (
        {"title": "Other"},
        {"body": "Other"},
        {"payload": {"a": 1}},
        {"audience": {}},
        {"audience": {"userIds": ids}},
        {"audience": {"userIds": ids, "locale": "zh-CN"}},
    ):
        asked = {"audience": same, **changed}
        answer = await tell(client, **asked)
        conflict = (answer["code"], answer.get("idempotencyKey"))
        assert conflict == ("IDEMPOTENCY_CONFLICT", "key"), changed
    assert await fingerprint_of_database(mall) == before
    await add_user(mall, "otto", last_login_at=mall.clock())
    wish = {"title": "Mine", "body": "b", "audience": {}, "idempotencyKey": "key"}
    of_otto = await client.post(BROADCAST, {"input": wish}, client.token("otto", "operator"))
    assert of_otto["data"]["broadcastPush"]["replayed"] is False


async def test_twenty_at_once_begin_one_campaign(mall: Mall, client: Client) -> None:
    """However their requests meet; each member has one push of it, and it is noted once."""
    await add_user(mall, "alice")
    answers = await asyncio.gather(*(tell(client) for _ in range(20)))
    assert sorted(answer["replayed"] for answer in answers) == [False] + [True] * 19
    assert len({answer["broadcastId"] for answer in answers}) == 1
    await run_due(mall)
    assert await told(mall) == {"alice", "olga"}
    noted = await execute(mall, "SELECT action, kind, details FROM operator_actions")
    assert noted == [("broadcast_push", "Campaign", {"title": "News", "recipients": 2})]


async def test_operators_see_how_far_it_has_come(
    mall: Mall, client: Client, clock: MovableClock
) -> None:
    """Before it is planned, after, and when pushes were sent, refused and opened."""
    ids = [await add_user(mall, f"member-{number}") for number in range(5)]
    for user_id in ids[:4]:
        await add_device(mall, user_id, f"phone {user_id}")
    begun = await tell(client, payload={"screen": "home"}, audience={"locale": "zh"})
    nothing = dict.fromkeys(("planned", "queued", "sent", "failed", "suppressed", "opened"), 0)
    expected = {
        "id": begun["broadcastId"],
        "title": "News",
        "body": "For you",
        "payload": {"screen": "home"},
        "audience": {"locale": "zh"},
        "recipients": 5,
        **nothing,
        "createdAt": "2026-11-20T04:00:00Z",
        "plannedAt": None,
        "operator": {"username": "olga"},
    }
    assert (await see(client))["campaigns"]["nodes"] == [expected]
    clock.advance(minutes=1)
    await run_due(mall)
    expected |= {"planned": 5, "queued": 4, "suppressed": 1, "plannedAt": "2026-11-20T04:01:00Z"}
    assert (await see(client, NODE, id=begun["broadcastId"]))["node"] == expected
    for sql in (
        "UPDATE push_records SET status = 'sent', sent_at = :at WHERE user_id IN (:one, :two)",
        "UPDATE push_records SET opened_at = :at WHERE user_id = :one",
        "UPDATE push_records SET status = 'failed', reason = 'rejected' WHERE user_id = :three",
    ):
        named = {"at": clock(), "one": ids[0], "two": ids[1], "three": ids[2]}
        await execute(mall, sql, **{key: at for key, at in named.items() if f":{key}" in sql})
    expected |= {"queued": 1, "sent": 2, "failed": 1, "opened": 1}
    assert (await see(client))["campaigns"]["nodes"] == [expected]


async def test_campaigns_come_newest_first(mall: Mall, client: Client) -> None:
    """Page by page, each with its own counts."""
    await add_user(mall, "alice")
    titles = [f"News {number}" for number in range(3)]
    for title in titles:
        await tell(client, key=title, title=title, audience={"locale": "zh"})
    await run_due(mall)
    first = (await see(client, first=2))["campaigns"]
    assert [node["title"] for node in first["nodes"]] == ["News 2", "News 1"]
    assert [node["suppressed"] for node in first["nodes"]] == [1, 1]
    info = first["pageInfo"]
    assert (info["hasNextPage"], info["hasPreviousPage"]) == (True, False)
    rest = (await see(client, after=info["endCursor"]))["campaigns"]
    assert [node["title"] for node in rest["nodes"]] == ["News 0"]
    assert (rest["pageInfo"]["hasNextPage"], rest["pageInfo"]["hasPreviousPage"]) == (False, True)
    assert [edge["node"]["id"] for edge in rest["edges"]] == [rest["nodes"][0]["id"]]


async def test_quiet_hours_mutes_devices_and_caps_hold(
    mall: Mall, client: Client, clock: MovableClock
) -> None:
    """A campaign is no exception: held until the morning, or suppressed with the reason."""
    for name in ("asleep", "muted", "silent", "plain", "bare", "awake"):
        zone = "Europe/London" if name == "awake" else "Asia/Shanghai"
        user_id = await add_user(mall, name, timezone=zone)
        if name != "bare":
            await add_device(mall, user_id, f"of {name}")
    choose = "mutation ($i: UpdatePushPreferencesInput!) { updatePushPreferences(input: $i) "
    choose += "{ __typename } }"
    await client.data(choose, {"i": {"mutedTypes": ["CAMPAIGN"]}}, as_="muted")
    await client.data(choose, {"i": {"enabled": False}}, as_="silent")
    await execute(mall, "UPDATE users SET last_login_at = NULL")
    clock.advance(hours=11)  # 23:00 in Shanghai, 15:00 in London
    for number in range(4):
        await tell(client, key=f"key {number}", audience={"locale": "zh"})
        await run_due(mall)
        clock.advance(seconds=1)
    rows = await execute(
        mall,
        "SELECT external_id, reason, due_at, count(*) FROM push_records"
        " JOIN users ON users.id = user_id GROUP BY 1, 2, 3",
    )
    morning = clock.now.replace(day=21, hour=0, minute=0, second=0)
    held = {(row.external_id, row.count) for row in rows if row.due_at == morning}
    assert held == {("asleep", 3), ("plain", 3)}
    by_reason: dict[tuple[str, str | None], int] = {}
    for row in rows:
        key = (row.external_id, row.reason)
        by_reason[key] = by_reason.get(key, 0) + row.count
    assert by_reason == {
        ("asleep", None): 3,
        ("asleep", "daily_cap"): 1,
        ("plain", None): 3,
        ("plain", "daily_cap"): 1,
        ("awake", None): 3,
        ("awake", "daily_cap"): 1,
        ("muted", "muted"): 4,
        ("silent", "disabled"): 4,
        ("bare", "no_device"): 4,
    }


async def test_a_campaign_survives_erasing(mall: Mall, client: Client) -> None:
    """Whoever is erased before they are planned gets none; after that, their texts are gone."""
    ids = {name: await add_user(mall, name) for name in ("alice", "bob", "carol")}
    chosen = [encode_id("User", key) for key in ids.values()]
    await tell(client, title="Dear member", audience={"userIds": chosen})
    await erase(mall, "alice")
    await run_due(mall)
    assert await told(mall) == {"bob", "carol"}
    await erase(mall, "bob")
    assert [row.title for row in await pushes(mall, ids["bob"])] == [""]
    (node,) = (await see(client))["campaigns"]["nodes"]
    assert (node["recipients"], node["planned"]) == (3, 2)
    assert (node["title"], node["audience"]["userIds"]) == ("Dear member", chosen)
