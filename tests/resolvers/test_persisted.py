"""Documents by their hash, over every transport; and the list of those that alone are run."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from redis.asyncio import Redis
from structlog.testing import capture_logs

from resolvers.operation_requests import OperationRequest
from resolvers.persisted import PersistedQueries, SafelistError, read_safelist
from services.persisted import PersistedTexts, hash_of
from tests.node import installed, run
from tests.resolvers.serving import make_endpoint, serve
from tests.resolvers.test_websocket import greeted, read

HELLO = "query Hello { hello }"
NOT_FOUND = ["PERSISTED_QUERY_NOT_FOUND"]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
async def redis(redis_url: str) -> AsyncIterator[Redis]:
    async with Redis.from_url(redis_url) as redis:
        yield redis


class Minutes:
    """A clock that stands still."""

    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def extension(digest: object, version: object = 1) -> dict[str, Any]:
    return {"persistedQuery": {"version": version, "sha256Hash": digest}}


async def ask(address: str, query: str | None, digest: object, **headers: str) -> httpx2.Response:
    body = {"extensions": extension(digest)} | ({"query": query} if query else {})
    async with httpx2.AsyncClient() as client:
        return await client.post(f"http://{address}", json=body, headers=headers)


def codes(answer: httpx2.Response) -> list[str]:
    return [error["extensions"]["code"] for error in answer.json()["errors"]]


async def test_a_text_sent_once_is_known_by_its_hash_in_every_process(redis: Redis) -> None:
    digest = hash_of(HELLO)
    texts = PersistedTexts(redis)
    async with (
        serve(make_endpoint(texts=texts)) as one,
        serve(make_endpoint(texts=texts)) as other,
    ):
        answer = await ask(one, None, digest)
        assert (answer.status_code, codes(answer)) == (200, NOT_FOUND)
        assert answer.json()["errors"][0]["message"] == "PersistedQueryNotFound"
        for address, query in ((one, HELLO), (one, None), (other, None)):
            assert (await ask(address, query, digest)).json() == {"data": {"hello": "world"}}
    key = (await redis.keys("*:persisted:*"))[0]
    assert 0 < await redis.ttl(key) <= 7 * 86_400


async def test_what_the_store_lost_is_kept_again_when_it_is_sent_again(redis: Redis) -> None:
    """By a process that knows it: else each other one would have to be met by chance.

    By hash alone it is not written anew, nor twice in a moment for who sends it every time.
    """
    digest, texts, clock = hash_of(HELLO), PersistedTexts(redis), Minutes()
    queries = PersistedQueries(texts, clock=clock)

    async def ask_for(query: str) -> None:
        asked = OperationRequest(query, None, None, extension(digest))
        resolved = await queries.resolve(asked)
        assert resolved.query == HELLO
        await queries.keep(resolved)

    for query, is_a_minute_later, is_kept in (
        (HELLO, False, True),
        (HELLO, False, False),
        ("", True, False),
        (HELLO, False, True),
        (HELLO, False, False),
    ):
        await redis.flushdb()
        clock.now_s += 60 * is_a_minute_later
        await ask_for(query)
        assert (await texts.find(digest) == HELLO) is is_kept


async def test_get_and_sockets_know_it_too(redis: Redis) -> None:
    digest = hash_of(HELLO)
    subscription = "subscription { count(to: 1) }"
    async with serve(make_endpoint(texts=PersistedTexts(redis))) as address:
        async with greeted(address) as socket:
            for query in (HELLO, subscription):
                payload = {"extensions": extension(hash_of(query))}
                message = {"id": "1", "type": "subscribe", "payload": payload}
                await socket.send(json.dumps(message))
                refused = await read(socket)
                assert refused["type"] == "error"
                assert refused["payload"][0]["message"] == "PersistedQueryNotFound"
                for more in ({"query": query}, {}):
                    await socket.send(json.dumps({**message, "payload": {**payload, **more}}))
                    assert (await read(socket))["type"] == "next"
                    assert (await read(socket))["type"] == "complete"
        async with httpx2.AsyncClient() as client:
            parameters = {"extensions": json.dumps(extension(digest))}
            answer = await client.get(f"http://{address}", params=parameters)
            assert answer.json() == {"data": {"hello": "world"}}


@pytest.mark.parametrize(
    ("query", "digest", "code"),
    [
        (HELLO, hash_of("{ hello }"), "BAD_USER_INPUT"),
        (HELLO, hash_of(HELLO).upper(), "BAD_USER_INPUT"),
        (None, 7, "BAD_USER_INPUT"),
        (None, "", "BAD_USER_INPUT"),
        (None, "x" * 1000, "BAD_USER_INPUT"),
        (None, "no hash", "PERSISTED_QUERY_NOT_FOUND"),
        ("{ nothing }", hash_of("{ nothing }"), "GRAPHQL_VALIDATION_FAILED"),
        ("{ nothing", hash_of("{ nothing"), "GRAPHQL_PARSE_FAILED"),
    ],
)
async def test_what_is_wrong_is_refused_and_not_kept(
    redis: Redis, query: str | None, digest: object, code: str
) -> None:
    async with serve(make_endpoint(texts=PersistedTexts(redis))) as address:
        assert codes(await ask(address, query, digest)) == [code]
        exact = await ask(address, query, digest, accept="application/graphql-response+json")
        assert (exact.status_code, codes(exact)) == (400, [code])
    assert await redis.keys("*:persisted:*") == []


async def test_what_the_store_says_is_checked(redis: Redis) -> None:
    """Whoever writes to it chooses no document for others."""
    digest = hash_of(HELLO)
    texts = PersistedTexts(redis)
    await texts.keep(digest, HELLO)
    (key,) = await redis.keys("*:persisted:*")
    await redis.set(key, 'mutation { setName(name: "x") }')
    async with serve(make_endpoint(texts=texts)) as address:
        assert codes(await ask(address, None, digest)) == NOT_FOUND


async def test_without_the_store_each_process_knows_what_it_was_sent() -> None:
    nowhere = PersistedTexts(Redis(port=1, socket_timeout=1))
    async with serve(make_endpoint(texts=nowhere)) as address:
        with capture_logs() as logs:
            assert codes(await ask(address, None, hash_of(HELLO))) == NOT_FOUND
            for query in (HELLO, None):
                answer = await ask(address, query, hash_of(HELLO))
                assert answer.json() == {"data": {"hello": "world"}}
    # Once: nobody else waits for a store that has just been found away.
    assert [log["event"] for log in logs] == ["persisted_text_not_read"]


async def test_a_text_too_long_to_be_kept_is_prepared_once() -> None:
    endpoint = make_endpoint()
    text = HELLO + " " * 17_000
    async with serve(endpoint) as address:
        answer = await ask(address, text, hash_of(text))
    assert answer.json() == {"data": {"hello": "world"}}
    assert endpoint.documents.misses == 1


@pytest.mark.parametrize("method", ["POST", "GET"])
async def test_apollo_client_sends_a_text_once(redis: Redis, method: str) -> None:
    source = Path(__file__).parent / "apollo_persisted"
    endpoint = make_endpoint(texts=PersistedTexts(redis))
    async with installed(source, "ask.mjs") as script, serve(endpoint) as address:
        command = ("node", script.name, f"http://{address}", method)
        status, output, errors = await run(*command, cwd=script.parent)
    assert status == 0, errors
    said = json.loads(output)
    assert said["told"] == ["world", "world"]
    # By hash, then with the text, then by hash.
    assert [has_text for _, has_text, _ in said["sent"]] == [False, True, False]
    assert said["sent"][0][0] == said["sent"][2][0] == method


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    operation = {"id": hash_of(HELLO), "name": "Hello", "type": "query", "body": HELLO}
    content = {"format": "apollo-persisted-query-manifest", "version": 1, "operations": [operation]}
    path = tmp_path / "manifest.json"
    path.write_text(json.dumps(content))
    return path


async def test_only_known_documents_run_where_that_is_enforced(manifest: Path) -> None:
    other, introspection = "{ hello }", "{ __schema { queryType { name } } }"
    async with serve(make_endpoint(safelist=read_safelist("enforce", manifest))) as address:
        for query in (None, HELLO):
            answer = await ask(address, query, hash_of(HELLO))
            assert answer.json() == {"data": {"hello": "world"}}
        assert codes(await ask(address, None, hash_of(other))) == NOT_FOUND
        async with httpx2.AsyncClient() as client:
            for query in (other, introspection, HELLO + " "):
                assert codes(await ask(address, query, hash_of(query))) == ["FORBIDDEN"]
                answer = await client.post(f"http://{address}", json={"query": query})
                assert codes(answer) == ["FORBIDDEN"]
            answer = await client.post(f"http://{address}", json={"query": HELLO})
            assert answer.json() == {"data": {"hello": "world"}}
        async with greeted(address) as socket:
            payload = {"query": other}
            await socket.send(json.dumps({"id": "1", "type": "subscribe", "payload": payload}))
            assert (await read(socket))["payload"][0]["extensions"]["code"] == "FORBIDDEN"


async def test_others_are_noted_where_that_is_wanted(manifest: Path) -> None:
    async with serve(make_endpoint(safelist=read_safelist("log", manifest))) as address:
        with capture_logs() as logs:
            for query in (HELLO, "query Other { hello }"):
                assert (await ask(address, query, hash_of(query))).json()["data"]
    assert [log["event"] for log in logs] == ["operation_not_in_safelist"]


@pytest.mark.parametrize(
    ("sent", "logged"),
    [("Other", "Other"), ("Bearer eyJ.secret alice@example.com", None), ("x" * 65, None)],
)
async def test_what_is_logged_of_others_can_be_a_name(
    manifest: Path, sent: str, logged: str | None
) -> None:
    """Whatever else clients send in its place, in whatever length."""
    query = "query Other { hello }"
    async with (
        serve(make_endpoint(safelist=read_safelist("log", manifest))) as address,
        httpx2.AsyncClient() as client,
    ):
        with capture_logs() as logs:
            body = {"query": query, "operationName": sent}
            await client.post(f"http://{address}", json=body)
    (noted,) = logs
    assert (noted["operation"], noted["hash"]) == (logged, hash_of(query))


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"format": "other", "operations": []}'])
def test_what_is_no_manifest_stops_the_start(tmp_path: Path, content: str) -> None:
    path = tmp_path / "manifest.json"
    path.write_text(content)
    with pytest.raises(SafelistError):
        read_safelist("log", path)
    with pytest.raises(SafelistError):
        read_safelist("enforce", tmp_path / "nowhere.json")
    with pytest.raises(SafelistError):
        read_safelist("enforce", None)
