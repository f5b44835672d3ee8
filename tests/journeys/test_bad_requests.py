"""Requests that should never have been sent: tokens, bodies and events that are no good."""

import asyncio
import json
import time
from typing import Any

import jwt
import pytest

from schema.ids import encode_id
from services.mall import Mall
from tests.client import Client
from tests.factories import execute, fingerprint_of_database
from tests.journeys.refusals import BAD_INPUT, INSIDE, UNPARSABLE, all_answered, code_of
from tests.journeys.steps import check_in, complete, event, exchange, record

RUN_EXPIRY = "mutation { runExpiry { expiredRecords } }"
SECRET = "another secret that signs nothing at all"


def bad_authorizations(client: Client) -> dict[str, str]:
    """Every way in which an Authorization value proves nothing."""
    now, good = int(time.time()), client.token("mallory")
    said = {"sub": "mallory", "roles": ["member"], "exp": now + 60}
    head, body, signature = good.split(".")
    forged = jwt.encode({**said, "roles": ["operator"]}, SECRET).split(".")[1]
    bearers = {
        "expired": client.token("mallory", lifetime_s=-60),
        "not yet valid": client.sign({**said, "nbf": now + 60}),
        "issued in the future": client.sign({**said, "iat": now + 60}),
        "without an end": client.sign({"sub": "mallory", "roles": ["member"]}),
        "of nobody": client.sign({"roles": ["member"], "exp": now + 60}),
        "of an empty name": client.sign({**said, "sub": ""}),
        "of an overlong name": client.sign({**said, "sub": "m" * 256}),
        "of a name with NUL": client.sign({**said, "sub": "m\x00"}),
        "with one role": client.sign({**said, "roles": "member"}),
        "alg none": jwt.encode(said, None, algorithm="none"),
        "unsigned": f"{head}.{body}.",
        "without a signature": f"{head}.{body}",
        "wrongly signed": jwt.encode(said, SECRET, algorithm="HS256"),
        "signed otherwise": jwt.encode(said, SECRET * 2, algorithm="HS512"),
        "changed": f"{head}.{forged}.{signature}",
        "garbage": "garbage",
        "not ASCII": "caf\xe9",
        "endless": "a" * 9000,
    }
    others = {"empty": "", "no token": "Bearer", "another scheme": f"Basic {good}", "bare": good}
    return {name: f"Bearer {token}" for name, token in bearers.items()} | others


@pytest.mark.usefixtures("alice")
async def test_a_token_that_proves_nothing_lets_nobody_in(mall: Mall, client: Client) -> None:
    """UNAUTHENTICATED whatever is wrong with it, for public fields too; it creates no user."""
    before = await fingerprint_of_database(mall)
    codes: dict[str, list[str]] = {}
    for name, value in bad_authorizations(client).items():
        for query in ("{ me { id } }", "{ items { nodes { id } } }", RUN_EXPIRY):
            answer = await client.http.post(
                "/graphql",
                json={"query": query},
                headers={"Authorization": value.encode("latin-1")},
            )
            assert not any(
                word in answer.text.lower() for word in (*INSIDE, "signature", "expired")
            )
            found = [error["extensions"]["code"] for error in answer.json()["errors"]]
            codes.setdefault(name, []).extend(found)
    assert codes == {name: ["UNAUTHENTICATED"] * 3 for name in codes}
    assert await fingerprint_of_database(mall) == before


BODIES: dict[str, tuple[int, str | None, bytes]] = {
    "nothing": (400, "application/json", b""),
    "half an object": (400, "application/json", b'{"query": "{ me'),
    "not UTF-8": (400, "application/json", b'{"query": "{ me { id } }\xff"}'),
    "a list": (400, "application/json", b'[{"query": "{ me { id } }"}]'),
    "no query": (400, "application/json", b'{"variables": {}}'),
    "a lone surrogate": (
        400,
        "application/json",
        b'{"query": "query ($v: ID!) { node(id: $v) { id } }", "variables": {"v": "\\ud800"}}',
    ),
    "NaN": (400, "application/json", b'{"query": "{ me { id } }", "variables": {"v": NaN}}'),
    "text": (415, "text/plain", b'{"query": "{ me { id } }"}'),
    "a form": (415, "application/x-www-form-urlencoded", b"query=%7B+me+%7B+id+%7D+%7D"),
    "files": (415, "multipart/form-data; boundary=x", b"--x--"),
    "unknown": (415, "application/graphql", b"{ me { id } }"),
    "another encoding": (415, "application/json; charset=utf-16", b"{}"),
    "no type": (415, None, b'{"query": "{ me { id } }"}'),
}


@pytest.mark.usefixtures("alice")
async def test_bodies_that_cannot_be_read(mall: Mall, client: Client) -> None:
    """400 for what is malformed, 415 for another type; always with a code."""
    before, seen = await fingerprint_of_database(mall), {}
    for name, (_, content_type, body) in BODIES.items():
        headers = {"Authorization": f"Bearer {client.token('alice')}"}
        if content_type is not None:
            headers["Content-Type"] = content_type
        answer = await client.http.post("/graphql", content=body, headers=headers)
        (error,) = answer.json()["errors"]
        seen[name] = (answer.status_code, error["extensions"]["code"])
    assert seen == {name: (status, BAD_INPUT) for name, (status, _, _) in BODIES.items()}
    assert await fingerprint_of_database(mall) == before


async def test_a_body_takes_four_mebibytes(client: Client) -> None:
    """Just as many are read of staff; 413 at once for one more, before any of it has arrived."""
    just, token = 4 * 1024**2, client.token("olga", "operator")
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {token}"}
    body = b'{"query": "{ __typename }"' + b" " * (just - 27) + b"}"
    assert len(body) == just
    answer = await client.http.post("/graphql", content=body, headers=headers)
    assert answer.json()["data"] == {"__typename": "Query"}
    address = client.http.base_url
    reader, writer = await asyncio.open_connection(address.host, address.port)
    head = "POST /graphql HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"
    writer.write(f"{head}content-length: {just + 1}\r\n\r\n".encode())
    async with asyncio.timeout(5):
        refused = await reader.read()
    writer.close()
    assert refused.startswith(b"HTTP/1.1 413 ")
    (error,) = json.loads(refused.partition(b"\r\n\r\n")[2])["errors"]
    assert error["extensions"]["code"] == BAD_INPUT


@pytest.mark.usefixtures("alice")
async def test_a_lone_surrogate_is_nowhere_a_character(mall: Mall, client: Client) -> None:
    """Neither in a literal, however it is written, nor in a key, an address or a cursor."""
    item = encode_id("ExchangeItem", 1)
    asked: dict[str, tuple[Any, ...]] = {}
    for escape in ("\\ud800", "\\udc00", "\\u{d800}"):
        given = f'itemId: "{item}", idempotencyKey: "{escape}"'
        take = f"mutation {{ oneClickExchange(input: {{{given}}}) {{ __typename }} }}"
        asked[f"key {escape}"] = (take,)
        asked[f"cursor {escape}"] = (f'{{ items(after: "{escape}") {{ nodes {{ id }} }} }}',)
    await all_answered(mall, client, UNPARSABLE, asked)


async def test_events_that_cannot_be_read(mall: Mall, client: Client, alice: int) -> None:
    """Times without an offset, amounts that are none, attributes that are no object."""
    query = "mutation ($v: RecordEventsInput!) { recordEvents(input: $v) { __typename } }"
    wrong: list[dict[str, Any]] = [
        *({"occurredAt": text} for text in ("", "now", "2026-11-20", "2026-11-20T04:00:00", 1)),
        *({"occurredAt": text} for text in ("2026-13-01T00:00:00Z", "2026-11-20T25:00:00Z")),
        *({"occurredAt": text} for text in ("0001-01-01T00:00:00+14:00", "2026-W47-5T04:00:00Z")),
        *({"amount": amount} for amount in ("1", True, [])),
        *({"attributes": attributes} for attributes in ([], [{}], "x", 7, True)),
        *({"userId": None}, {"eventId": None}, {"type": 7}, {"colour": "red"}),
    ]
    good = event(alice, "e1", mall.clock())
    asked = {
        repr(each): (query, {"v": {"events": [good, {**good, **each}]}}, "service")
        for each in wrong
    }
    await all_answered(mall, client, BAD_INPUT, asked)


@pytest.mark.parametrize("depth", [0, 300])
async def test_attributes_that_json_can_hold_but_we_cannot(
    mall: Mall, client: Client, alice: int, depth: int
) -> None:
    """Numbers beyond 64 bits, or lists 300 deep, are refused or kept; nothing breaks."""
    deep: list[Any] = []
    for _ in range(depth):
        deep = [deep]
    event_ = event(alice, "e", mall.clock())
    given = ", ".join(f'{name}: "{value}"' for name, value in event_.items())
    declared, attributes = ("($v: JSON)", "$v") if depth else ("", "{a: 1" + "0" * 30 + "}")
    query = (
        f"mutation {declared} {{ recordEvents(input: {{events: [{{{given},"
        f" attributes: {attributes}}}]}}) {{ __typename }} }}"
    )
    assert await code_of(client, query, {"v": {"a": deep}}, "service") in (None, BAD_INPUT)


async def test_a_suspended_member_changes_nothing(mall: Mall, client: Client, alice: int) -> None:
    """Neither by tasks, nor check-ins, nor exchanges; events that pay nothing are recorded."""
    await execute(mall, "UPDATE users SET suspended_until = '2026-12-01Z' WHERE id = :i", i=alice)
    before = await fingerprint_of_database(mall)
    for refused in (
        await complete(client, "alice", 1),
        await check_in(client, "alice"),
        await exchange(client, "alice", 1),
    ):
        assert (refused["code"], refused["until"]) == ("MEMBER_SUSPENDED", "2026-12-01T00:00:00Z")
    assert await fingerprint_of_database(mall) == before
    assert (await record(client, event(alice, "e1", mall.clock())))["recorded"] == 1
