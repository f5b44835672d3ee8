"""Every push that was meant for a member, and which they opened."""

import asyncio
from typing import Any
from uuid import UUID

import pytest

from models.notifications import PushType
from schema.ids import encode_id
from services.mall import Mall
from tests.client import Client
from tests.clock import MovableClock
from tests.factories import add_user, execute, fingerprint_of_database
from tests.pushes import add_device, draft, plan_now

PUSH = "id type title body status reason payload createdAt sentAt openedAt"
HISTORY = f"""query ($first: Int, $after: String) {{
  pushHistory(first: $first, after: $after) {{
    nodes {{ {PUSH} }} edges {{ cursor node {{ id }} }}
    pageInfo {{ hasNextPage hasPreviousPage startCursor endCursor }}
  }}
}}"""
OPEN = f"""mutation ($id: ID!) {{ markPushOpened(input: {{pushId: $id}}) {{
  __typename
  ... on Problem {{ code message }}
  ... on NotFound {{ id }}
  ... on MarkPushOpenedSuccess {{ push {{ {PUSH} }} }}
}} }}"""


@pytest.fixture
async def alice(mall: Mall) -> int:
    """Alice, who has a device."""
    user_id = await add_user(mall, "alice", last_login_at=mall.clock())
    await add_device(mall, user_id, "token")
    return user_id


async def history(client: Client, **page: Any) -> dict[str, Any]:
    """A page of Alice's pushes."""
    return (await client.data(HISTORY, page, as_="alice"))["pushHistory"]


async def mark(client: Client, push_id: str, name: str = "alice") -> dict[str, Any]:
    """Say that the push was opened."""
    return (await client.data(OPEN, {"id": push_id}, as_=name))["markPushOpened"]


async def push_ids(mall: Mall) -> list[str]:
    """The ids of all pushes, oldest first."""
    rows = await execute(mall, "SELECT id FROM push_records ORDER BY created_at, id")
    return [encode_id("PushRecord", row.id) for row in rows]


async def note(mall: Mall, status: str, reason: str | None = None) -> None:
    """What becomes of all pushes, as delivering them would note."""
    await execute(
        mall,
        "UPDATE push_records SET status = :status, reason = :reason, sent_at = :sent_at",
        status=status,
        reason=reason,
        sent_at=mall.clock() if status == "sent" else None,
    )


@pytest.mark.usefixtures("alice")
async def test_a_member_without_pushes_has_an_empty_history(client: Client) -> None:
    """Not a null one."""
    page = await history(client)
    assert (page["nodes"], page["edges"]) == ([], [])
    assert page["pageInfo"] == {
        "hasNextPage": False,
        "hasPreviousPage": False,
        "startCursor": None,
        "endCursor": None,
    }


async def test_every_push_is_there_with_what_became_of_it(
    mall: Mall, client: Client, clock: MovableClock, alice: int
) -> None:
    """Sent, queued, and suppressed with the reason: nothing is lost in silence."""
    await plan_now(mall, draft(alice, "first", PushType.EXPIRY_REMINDER, points=5, days=[7, None]))
    await note(mall, "sent")
    clock.advance(minutes=1)
    await plan_now(mall, *(draft(alice, f"{number}") for number in range(3)))
    pushes = (await history(client))["nodes"]
    assert pushes[-1] == {
        "id": (await push_ids(mall))[0],
        "type": "EXPIRY_REMINDER",
        "title": "first",
        "body": "in zh-CN",
        "status": "SENT",
        "reason": None,
        "payload": {"points": 5, "days": [7, None]},
        "createdAt": "2026-11-20T04:00:00Z",
        "sentAt": "2026-11-20T04:00:00Z",
        "openedAt": None,
    }
    became = sorted((push["title"], push["status"], push["reason"]) for push in pushes[:-1])
    assert became == [
        ("0", "QUEUED", None),
        ("1", "QUEUED", None),
        ("2", "SUPPRESSED", "DAILY_CAP"),
    ]


async def test_the_history_is_paged_while_pushes_come(
    mall: Mall, client: Client, clock: MovableClock, alice: int
) -> None:
    """Newest first; many of one instant are each seen once, and others' never."""
    bob = await add_user(mall, "bob")
    for number in range(3):
        await plan_now(mall, *(draft(alice, f"{number}-{each}") for each in range(4)))
        await plan_now(mall, draft(bob, f"bob {number}"))
        clock.advance(hours=1)
    seen: list[dict[str, Any]] = []
    after, sizes = None, []
    while True:
        page = await history(client, first=5, after=after)
        assert page["pageInfo"]["hasPreviousPage"] is (after is not None)
        assert [edge["node"]["id"] for edge in page["edges"]] == [p["id"] for p in page["nodes"]]
        seen += page["nodes"]
        sizes.append(len(page["nodes"]))
        after = page["pageInfo"]["endCursor"]
        if not page["pageInfo"]["hasNextPage"]:
            break
        await plan_now(mall, draft(alice, f"new {after}"))
    assert sizes == [5, 5, 2]
    assert sorted(push["title"] for push in seen) == [
        f"{n}-{e}" for n in range(3) for e in range(4)
    ]
    assert [push["createdAt"] for push in seen] == sorted(
        (push["createdAt"] for push in seen), reverse=True
    )


async def test_the_first_opening_stays(
    mall: Mall, client: Client, clock: MovableClock, alice: int
) -> None:
    """However often, and by how many taps at once, it is said."""
    await plan_now(mall, draft(alice, "news"))
    await note(mall, "sent")
    clock.advance(minutes=5)
    (push_id,) = await push_ids(mall)
    answers = await asyncio.gather(*(mark(client, push_id) for _ in range(5)))
    assert [answer["push"]["openedAt"] for answer in answers] == ["2026-11-20T04:05:00Z"] * 5
    clock.advance(days=1)
    assert (await mark(client, push_id))["push"]["openedAt"] == "2026-11-20T04:05:00Z"
    assert (await history(client))["nodes"][0]["openedAt"] == "2026-11-20T04:05:00Z"


@pytest.mark.parametrize(
    ("status", "reason", "opens"),
    [
        ("sent", None, True),
        ("queued", None, True),
        ("failed", "expired", True),
        ("suppressed", "muted", False),
    ],
)
async def test_what_may_have_arrived_can_be_opened(
    mall: Mall, client: Client, alice: int, status: str, reason: str | None, *, opens: bool
) -> None:
    """A provider may have taken what we know to be queued or failed, never what was suppressed."""
    await plan_now(mall, draft(alice, "news"))
    await note(mall, status, reason)
    (push_id,) = await push_ids(mall)
    answer = await mark(client, push_id)
    assert (answer["push"]["openedAt"] is not None) is opens
    assert answer["push"]["status"] == status.upper()


async def test_what_is_held_cannot_be_opened(
    mall: Mall, client: Client, clock: MovableClock, alice: int
) -> None:
    """In quiet hours, until they end."""
    clock.advance(hours=12)  # midnight
    await plan_now(mall, draft(alice, "news"))
    (push_id,) = await push_ids(mall)
    assert (await mark(client, push_id))["push"]["openedAt"] is None
    clock.advance(hours=8)
    assert (await mark(client, push_id))["push"]["openedAt"] == "2026-11-21T00:00:00Z"


async def test_anothers_push_does_not_exist(mall: Mall, client: Client, alice: int) -> None:
    """Neither does one that nobody got; an operator is no member in whose name to open."""
    await plan_now(mall, draft(alice, "news"))
    await note(mall, "sent")
    (push_id,) = await push_ids(mall)
    nobodys = encode_id("PushRecord", UUID(int=7))
    await client.user_id("bob")
    await client.user_id("olga", "operator")
    before = await fingerprint_of_database(mall)
    for asked, token in (
        (push_id, client.token("bob")),
        (push_id, client.token("olga", "operator")),
        (nobodys, client.token("alice")),
    ):
        answer = await client.post(OPEN, {"id": asked}, token)
        assert answer["data"]["markPushOpened"] == {
            "__typename": "NotFound",
            "code": "NOT_FOUND",
            "message": "抱歉，没有找到您要的内容。",
            "id": asked,
        }
    assert await fingerprint_of_database(mall) == before


async def test_the_suspended_read_and_open_too(mall: Mall, client: Client, alice: int) -> None:
    """No points move."""
    await plan_now(mall, draft(alice, "news"))
    await execute(mall, "UPDATE users SET suspended_until = '2099-01-01T00:00Z'")
    (push,) = (await history(client))["nodes"]
    assert (await mark(client, push["id"]))["push"]["openedAt"] is not None
