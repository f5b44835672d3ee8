"""What a campaign may say, and to whom: its limits, and what is no campaign at all."""

from typing import Any

import pytest

from schema.ids import encode_id
from services.mall import Mall
from tests.client import Client
from tests.factories import add_user, fingerprint_of_database
from tests.journeys.refusals import BAD_INPUT, all_answered, raw
from tests.journeys.test_campaigns import BROADCAST, CAMPAIGNS, tell


@pytest.fixture(autouse=True)
async def operators(mall: Mall) -> None:
    """Who signed in before, so that asking changes nothing of them."""
    for name in ("olga", "alice"):
        await add_user(mall, name, last_login_at=mall.clock())


ACCEPTED: list[dict[str, Any]] = [
    {"title": "字" * 100, "body": "字" * 500, "payload": {"text": "字" * 600}},
    {"title": "\x01" * 99 + "x", "body": "\x01" * 499 + "x"},  # escaped, the longest there are
    {"payload": {"text": "x" * 3_600}},
    {"payload": None},
    {"payload": {"From": 1, "apsx": [1, {"a": None}], "og": True}},
    {"audience": {"userIds": [encode_id("User", number) for number in range(10_000)]}},
    {"audience": {"inactiveDays": 3_650}},
]


@pytest.mark.parametrize("asked", ACCEPTED, ids=lambda each: str(each)[:40])
async def test_what_fits_is_taken(client: Client, asked: dict[str, Any]) -> None:
    """Just within the limits."""
    assert (await tell(client, **asked))["__typename"] == "BroadcastPushSuccess"


REFUSED: list[tuple[dict[str, Any], list[str]]] = [
    ({"title": ""}, ["title"]),
    ({"title": " \n"}, ["title"]),
    ({"title": "x" * 101}, ["title"]),
    ({"title": "\x00"}, ["title"]),
    ({"body": ""}, ["body"]),
    ({"body": "x" * 501}, ["body"]),
    ({"payload": []}, ["payload"]),
    ({"payload": "text"}, ["payload"]),
    ({"payload": {"text": "x" * 3_700}}, ["payload"]),
    ({"payload": {"text": "\x01" * 620}}, ["payload"]),  # six bytes each
    ({"payload": {"text": ['"' * 1_000]}}, ["payload"]),  # escaped twice: it travels as a string
    ({"payload": {"text": "\x00"}}, ["payload"]),
    ({"payload": {"number": 2**64}}, ["payload"]),
    *(
        ({"payload": {name: 1}}, ["payload"])
        for name in (
            *("pushId", "type", "from", "message_type", "collapse_key", "aps"),
            *("google", "google.c.a", "gcm.notification.x"),
        )
    ),
    ({"audience": {"userIds": []}}, ["audience", "userIds"]),
    (
        {"audience": {"userIds": [encode_id("User", number) for number in range(10_001)]}},
        ["audience", "userIds"],
    ),
    ({"audience": {"minAvailablePoints": -1}}, ["audience", "minAvailablePoints"]),
    ({"audience": {"inactiveDays": 0}}, ["audience", "inactiveDays"]),
    ({"audience": {"inactiveDays": 3_651}}, ["audience", "inactiveDays"]),
    ({"audience": {"inactiveDays": -(2**31)}}, ["audience", "inactiveDays"]),
    ({"audience": {"locale": ""}}, ["audience", "locale"]),
    ({"audience": {"locale": "english%"}}, ["audience", "locale"]),
    ({"audience": {"locale": "en" + "-abc" * 9}}, ["audience", "locale"]),
    ({"key": ""}, ["idempotencyKey"]),
    ({"key": "k" * 129}, ["idempotencyKey"]),
]


async def test_what_no_push_could_be_is_refused(mall: Mall, client: Client) -> None:
    """By the field that is wrong; nothing has changed."""
    before = await fingerprint_of_database(mall)
    for asked, field in REFUSED:
        answer = await tell(client, **asked)
        assert (answer.get("code"), answer.get("field")) == ("INVALID_INPUT", field), asked
        assert answer["message"]
    assert await fingerprint_of_database(mall) == before


async def test_nonsense_is_told_apart(mall: Mall, client: Client) -> None:
    """What is no id, page, cursor or value of the type is bad input, and changes nothing."""
    wish: dict[str, Any] = {"title": "t", "body": "b", "audience": {}, "idempotencyKey": "k"}

    def asking(**changed: Any) -> tuple[Any, ...]:
        return BROADCAST, {"input": {**wish, **changed}}, "operator"

    good = encode_id("User", 1)
    bad_ids = ["", "x", "1", raw("User:-1"), raw("User:01"), encode_id("Task", 1), "a" * 5_000]
    cursors = ["", "x", raw("[]"), raw('["campaigns"]'), raw('["campaigns", 5]')]
    cursors += [raw('["campaigns", "x"]'), raw(f'["operator_actions", "{"0" * 32}"]')]
    asked = {
        **{each: asking(audience={"userIds": [good, each]}) for each in bad_ids},
        **{f"first {n}": (CAMPAIGNS, {"first": n}, "operator") for n in (0, -1, 101)},
        **{f"after {each}": (CAMPAIGNS, {"after": each}, "operator") for each in cursors},
    }
    await all_answered(mall, client, BAD_INPUT, asked)
    asked = {
        "audience": asking(audience=None),
        "platform": asking(audience={"platform": "NOKIA"}),
        "id": asking(audience={"userIds": [None]}),
        "points": asking(audience={"minAvailablePoints": 2**53}),
        "days": asking(audience={"inactiveDays": 1.5}),
        "unknown": asking(audience={"country": "CN"}),
    }
    await all_answered(mall, client, BAD_INPUT, asked)
