"""Many held lots that are decided on in one call: all of them or none, each as by itself."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from models.base import MAX_POINTS
from schema.ids import encode_id
from services.mall import Mall
from services.points import many_holds
from settings import LimitSettings, Settings
from tests.client import Client
from tests.factories import add_achievement, add_user, execute, fingerprint_of_database, points_of
from tests.journeys.money import grant, reverse

_ANSWER = """
    __typename
    ... on DecideManyHeldPointsSuccess { decidedRecords decidedPoints hasMore replayed }
    ... on Problem { code message }
    ... on NotFound { id }
    ... on InvalidInput { field }
    ... on InvalidState { state targetIds }
"""
RELEASE = (
    "mutation ($input: DecideManyHeldPointsInput!)"
    f" {{ releaseManyHeldPoints(input: $input) {{ {_ANSWER} }} }}"
)
REJECT = RELEASE.replace("releaseManyHeldPoints", "rejectManyHeldPoints")
BOTH = pytest.mark.parametrize("mutation", [RELEASE, REJECT])


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """A mall that holds whatever is above 100 points an hour."""
    return replace(settings, limits=LimitSettings(gains_held_above=100))


@pytest.fixture
async def farmed(mall: Mall, client: Client) -> dict[str, list[str]]:
    """By member, the ids of three lots that are held."""
    users = {name: await add_user(mall, name) for name in ("alice", "bob")}
    for name in ("shop", "boss", "till"):
        await client.user_id(name, "service", "operator")
    return {
        name: [
            (
                await grant(
                    client, user_id, points, f"{name} {points}", reference=f"{name} {points}"
                )
            )["pointsRecord"]["id"]
            for points in (101, 102, 103)
        ]
        for name, user_id in users.items()
    }


async def ids_of(mall: Mall) -> dict[str, int]:
    """The users by name."""
    return {row.username: row.id for row in await execute(mall, "SELECT id, username FROM users")}


async def decide(client: Client, mutation: str, key: str = "k", **asked: Any) -> dict[str, Any]:
    """What an operator is answered."""
    asked = {"reason": "looked into them", "idempotencyKey": key, **asked}
    answer = await client.post(mutation, {"input": asked}, client.token("boss", "operator"))
    (value,) = answer["data"].values()
    return value


async def noted(mall: Mall) -> Sequence[Any]:
    """(action, lot, points, reason) of all that was noted, by the lots."""
    return await execute(
        mall,
        """
        SELECT action, kind, key, (details ->> 'points')::int AS points, text, user_id
        FROM operator_actions JOIN reasons ON reasons.id::text = details ->> 'reason_id'
        ORDER BY key
        """,
    )


async def test_named_lots_of_several_members_are_released_together(
    mall: Mall, client: Client, farmed: dict[str, list[str]]
) -> None:
    """They count, in the order in which they were granted; what was not named goes on waiting."""
    users = await ids_of(mall)
    named = [farmed["bob"][2], farmed["alice"][1], farmed["alice"][0], farmed["alice"][1]]
    done = await decide(client, RELEASE, pointsRecordIds=named)
    expected = {
        "__typename": "DecideManyHeldPointsSuccess",
        "decidedRecords": 3,
        "decidedPoints": 101 + 102 + 103,
        "hasMore": False,
    }
    assert done == {**expected, "replayed": False}
    again = await decide(client, RELEASE, pointsRecordIds=named[::-1])
    assert again == {**expected, "replayed": True}
    assert await points_of(mall, users["alice"]) == 203
    assert await points_of(mall, users["bob"]) == 103
    log = """
        SELECT amount, created_by FROM points_audit_log WHERE user_id = :user ORDER BY sequence
    """
    by = f"operator:{users['boss']}"
    earned = [tuple(row) for row in await execute(mall, log, user=users["alice"])]
    assert earned == [(101, by), (102, by)]
    waiting = "SELECT points FROM points_records WHERE status = 'pending' ORDER BY points"
    assert [row.points for row in await execute(mall, waiting)] == [101, 102, 103]


async def test_all_that_a_member_has_is_rejected(
    mall: Mall, client: Client, farmed: dict[str, list[str]]
) -> None:
    """Of that member only; nothing was earned, nothing is owed, and there is nothing more."""
    users = await ids_of(mall)
    member = encode_id("User", users["alice"])
    done = await decide(client, REJECT, userId=member)
    assert (done["decidedRecords"], done["decidedPoints"], done["hasMore"]) == (3, 306, False)
    assert await decide(client, REJECT, userId=member) == {**done, "replayed": True}
    nothing = await decide(client, RELEASE, "another", userId=member)
    assert (nothing["decidedRecords"], nothing["decidedPoints"]) == (0, 0)
    lots = """
        SELECT user_id, status, points, rejected_points FROM points_records
        ORDER BY user_id, created_at, id
    """
    assert [tuple(row) for row in await execute(mall, lots)] == [
        *((users["alice"], "reversed", 0, points) for points in (101, 102, 103)),
        *((users["bob"], "pending", points, 0) for points in (101, 102, 103)),
    ]
    assert (await reverse(client, "alice 101", "r"))["owedPoints"] == 0


@BOTH
async def test_each_lot_is_noted_with_its_reason(
    mall: Mall, client: Client, farmed: dict[str, list[str]], mutation: str
) -> None:
    """One action a lot, as if they had been decided on one by one; the reason once a member."""
    users = await ids_of(mall)
    lots = farmed["alice"] + farmed["bob"][:1]
    await decide(client, mutation, pointsRecordIds=lots)
    await decide(client, mutation, pointsRecordIds=lots)
    action = "release_points" if mutation is RELEASE else "reject_points"
    rows = await noted(mall)
    assert {row.action for row in rows} == {action}
    assert [encode_id(row.kind, row.key) for row in rows] == lots
    assert [row.points for row in rows] == [101, 102, 103, 101]
    assert [row.user_id for row in rows] == [users["alice"]] * 3 + [users["bob"]]
    assert {row.text for row in rows} == {"looked into them"}
    assert len(await execute(mall, "SELECT id FROM reasons")) == 2


@BOTH
async def test_one_that_cannot_be_decided_on_refuses_all(
    mall: Mall, client: Client, farmed: dict[str, list[str]], mutation: str
) -> None:
    """It is said which; all others are held as before, and the key is free."""
    users = await ids_of(mall)
    fits = await grant(client, users["alice"], 10, "fits")
    later = await grant(client, users["alice"], 9, "later", availableAt="2027-01-01T00:00:00Z")
    gone = [fits["pointsRecord"]["id"], later["pointsRecord"]["id"]]
    nothing = encode_id("PointsRecord", "00000000-0000-7000-8000-000000000001")
    held = farmed["alice"]
    before = await fingerprint_of_database(mall)
    answer = await decide(client, mutation, pointsRecordIds=[held[0], *gone, held[1]])
    assert (answer["code"], answer["state"], answer["targetIds"]) == (
        "INVALID_STATE",
        "ACTIVE",
        gone,
    )
    answer = await decide(client, mutation, pointsRecordIds=[*held, nothing])
    assert (answer["code"], answer["id"]) == ("NOT_FOUND", nothing)
    nobody = encode_id("User", 4711)
    answer = await decide(client, mutation, userId=nobody)
    assert (answer["code"], answer["id"]) == ("NOT_FOUND", nobody)
    assert await fingerprint_of_database(mall) == before
    assert (await decide(client, mutation, pointsRecordIds=held))["decidedRecords"] == 3


@BOTH
async def test_what_is_asked_badly_changes_nothing(
    mall: Mall, client: Client, farmed: dict[str, list[str]], mutation: str
) -> None:
    """Neither lots nor a member, both, a list of none beside one, too many lots, no reason."""
    member = encode_id("User", (await ids_of(mall))["alice"])
    lots = ["pointsRecordIds"]
    wrong: list[tuple[dict[str, Any], list[str]]] = [
        ({}, lots),
        ({"pointsRecordIds": []}, lots),
        ({"pointsRecordIds": [], "userId": member}, lots),
        ({"pointsRecordIds": farmed["alice"], "userId": member}, lots),
        ({"pointsRecordIds": farmed["alice"][:1] * 101}, lots),
        ({"userId": member, "reason": " "}, ["reason"]),
        ({"userId": member, "idempotencyKey": ""}, ["idempotencyKey"]),
    ]
    before = await fingerprint_of_database(mall)
    answers = [await decide(client, mutation, **asked) for asked, _ in wrong]
    assert [(each["code"], each["field"]) for each in answers] == [
        ("INVALID_INPUT", field) for _, field in wrong
    ]
    assert answers[0]["message"] != answers[4]["message"]
    assert await fingerprint_of_database(mall) == before


async def test_a_key_is_for_one_decision(
    mall: Mall, client: Client, farmed: dict[str, list[str]]
) -> None:
    """Also between one lot and many, releasing and rejecting."""
    await decide(client, RELEASE, pointsRecordIds=farmed["alice"][:1])
    before = await fingerprint_of_database(mall)
    member = encode_id("User", (await ids_of(mall))["alice"])
    answers = [
        await decide(client, REJECT, pointsRecordIds=farmed["alice"][:1]),
        await decide(client, RELEASE, pointsRecordIds=farmed["alice"][:2]),
        await decide(client, RELEASE, userId=member),
        await decide(client, RELEASE, pointsRecordIds=farmed["alice"][:1], reason="another"),
    ]
    asked = {
        "pointsRecordId": farmed["alice"][0],
        "reason": "looked into them",
        "idempotencyKey": "k",
    }
    one = "mutation ($input: DecideHeldPointsInput!) { releaseHeldPoints(input: $input) { CODE } }"
    one = one.replace("CODE", "... on Problem { code }")
    answer = await client.post(one, {"input": asked}, client.token("boss", "operator"))
    answers.append(answer["data"]["releaseHeldPoints"])
    assert [each["code"] for each in answers] == ["IDEMPOTENCY_CONFLICT"] * 5
    assert await fingerprint_of_database(mall) == before


async def test_what_does_not_fit_refuses_all(
    mall: Mall, client: Client, farmed: dict[str, list[str]]
) -> None:
    """It is said which lot it was, or that it was the member."""
    alice = (await ids_of(mall))["alice"]
    given = "UPDATE users SET lifetime_adjusted = :most, lifetime_expired = :most WHERE id = :id"
    await execute(mall, given, most=MAX_POINTS - 101 - 102, id=alice)
    before = await fingerprint_of_database(mall)
    named = farmed["alice"][::-1]
    answer = await decide(client, RELEASE, pointsRecordIds=named)
    assert answer["field"] == ["pointsRecordIds", "0"]
    answer = await decide(client, RELEASE, userId=encode_id("User", alice))
    assert (answer["code"], answer["field"]) == ("INVALID_INPUT", ["userId"])
    assert await fingerprint_of_database(mall) == before
    await execute(mall, given, most=0, id=alice)


async def test_more_than_one_call_decides_on_is_said(
    mall: Mall, client: Client, farmed: dict[str, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The oldest first; the next call goes on."""
    monkeypatch.setattr(many_holds, "LOTS_AT_ONCE", 2)
    alice = (await ids_of(mall))["alice"]
    member = encode_id("User", alice)
    first = await decide(client, RELEASE, "1", userId=member)
    assert (first["decidedRecords"], first["decidedPoints"], first["hasMore"]) == (2, 203, True)
    assert await points_of(mall, alice) == 203
    second = await decide(client, RELEASE, "2", userId=member)
    assert (second["decidedRecords"], second["hasMore"]) == (1, False)
    assert await decide(client, RELEASE, "1", userId=member) == {**first, "replayed": True}
    assert len(farmed["alice"]) == 3


async def test_many_who_decide_on_many_at_once(
    mall: Mall, client: Client, farmed: dict[str, list[str]]
) -> None:
    """Lists that overlap, and all of a member: each lot is decided on once."""
    users = await ids_of(mall)
    alice, bob = farmed["alice"], farmed["bob"]
    lists = [alice[:2] + bob[:2], bob[::-1] + alice[::-1], alice[1:], bob[1:] + alice[2:]]
    answers = await asyncio.gather(
        *(
            decide(client, mutation, f"{number} {place}", pointsRecordIds=lots)
            for number, lots in enumerate(lists)
            for place, mutation in enumerate((RELEASE, REJECT))
        ),
        *(
            decide(client, mutation, f"all {place}", userId=encode_id("User", users["alice"]))
            for place, mutation in enumerate((RELEASE, REJECT))
        ),
    )
    decided = [each["decidedRecords"] for each in answers if "decidedRecords" in each]
    assert {each.get("code") for each in answers} <= {None, "INVALID_STATE"}
    rows = await noted(mall)
    assert len({row.key for row in rows}) == len(rows) == sum(decided)
    released = sum(row.points for row in rows if row.action == "release_points")
    assert sum([await points_of(mall, users[name]) for name in farmed]) == released


async def test_what_is_released_unlocks_what_it_reaches(
    mall: Mall, client: Client, farmed: dict[str, list[str]]
) -> None:
    """Together, as points that were never held do."""
    await add_achievement(mall, "rich", measure="points_earned", target=300)
    member = encode_id("User", (await ids_of(mall))["alice"])
    await decide(client, RELEASE, userId=member)
    await decide(client, REJECT, "another", pointsRecordIds=farmed["bob"])
    unlocked = """
        SELECT username FROM user_achievements JOIN users ON users.id = user_id
        JOIN achievements ON achievements.id = achievement_id WHERE key = 'rich'
    """
    assert [row.username for row in await execute(mall, unlocked)] == ["alice"]
