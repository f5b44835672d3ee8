"""Subscriptions over HTTP: server-sent events and multipart."""

import asyncio
import json
import logging
import time
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import AbstractContextManager, ExitStack, nullcontext
from typing import Any

import httpx2
import pytest

from resolvers.answers import StreamAnswer
from resolvers.media_types import wanted
from resolvers.stream_messages import Message
from tests.resolvers.serving import ENDLESS, make_endpoint, serve, wait_until_endless_ends

EVENTS = "text/event-stream"
MULTIPART = "multipart/mixed;boundary=graphql;subscriptionSpec=1.0,application/json"
COUNT = "subscription { count(to: 2) }"


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
async def address() -> AsyncIterator[str]:
    async with serve(make_endpoint()) as address:
        yield address


@pytest.fixture
async def client(address: str) -> AsyncIterator[httpx2.AsyncClient]:
    async with httpx2.AsyncClient(base_url=f"http://{address}") as client:
        yield client


async def ask(client: httpx2.AsyncClient, query: str, accept: str) -> httpx2.Response:
    return await client.post("", json={"query": query}, headers={"accept": accept})


def events(response: httpx2.Response) -> list[tuple[str, Any]]:
    """Return each event's kind and its data."""
    lines = response.text.split("\r\n")
    kinds = [line.removeprefix("event: ") for line in lines if line.startswith("event: ")]
    data = [line.removeprefix("data: ") for line in lines if line.startswith("data: ")]
    return [(kind, json.loads(text or "null")) for kind, text in zip(kinds, data, strict=True)]


async def test_a_subscription_is_a_stream_of_events(client: httpx2.AsyncClient) -> None:
    expected = [
        ("next", {"data": {"count": 1}}),
        ("next", {"data": {"count": 2}}),
        ("complete", None),
    ]
    response = await ask(client, COUNT, EVENTS)
    assert response.headers["content-type"] == EVENTS
    assert events(response) == expected
    response = await client.get("", params={"query": COUNT}, headers={"accept": EVENTS})
    assert events(response) == expected


async def test_a_query_is_a_stream_of_one_event(client: httpx2.AsyncClient) -> None:
    response = await ask(client, "{ hello }", EVENTS)
    assert events(response) == [("next", {"data": {"hello": "world"}}), ("complete", None)]


async def test_a_stream_that_cannot_start_is_answered_with_json(client: httpx2.AsyncClient) -> None:
    response = await ask(client, "subscription { nothing }", EVENTS)
    assert response.status_code == 400
    assert response.json()["errors"][0]["extensions"] == {"code": "GRAPHQL_VALIDATION_FAILED"}


async def test_a_refused_subscription_ends_with_its_error(client: httpx2.AsyncClient) -> None:
    first, last = events(await ask(client, "subscription { refused }", EVENTS))
    assert first[1]["errors"][0]["extensions"]["code"] == "FORBIDDEN"
    assert last == ("complete", None)


async def test_apollo_gets_parts(client: httpx2.AsyncClient) -> None:
    response = await ask(client, COUNT, MULTIPART)
    assert response.headers["content-type"].startswith("multipart/mixed;boundary=graphql")
    parts = [part.rpartition("\r\n\r\n")[2].strip() for part in response.text.split("--graphql")]
    payloads = [json.loads(part) for part in parts if part.startswith('{"payload"')]
    assert payloads == [{"payload": {"data": {"count": number}}} for number in (1, 2)]
    response = await ask(client, "{ hello }", MULTIPART)
    assert response.json() == {"data": {"hello": "world"}}


@pytest.mark.parametrize("accept", [EVENTS, MULTIPART])
async def test_no_proxy_holds_a_stream_back(client: httpx2.AsyncClient, accept: str) -> None:
    response = await ask(client, COUNT, accept)
    assert response.headers.get_list("x-accel-buffering") == ["no"]


async def test_a_subscription_needs_a_stream(client: httpx2.AsyncClient) -> None:
    response = await ask(client, COUNT, "application/json")
    assert response.status_code == 400
    assert response.json()["errors"][0]["extensions"] == {"code": "BAD_USER_INPUT"}


async def test_the_source_ends_when_the_client_leaves(client: httpx2.AsyncClient) -> None:
    body, headers = {"query": "subscription { endless }"}, {"accept": EVENTS}
    async with client.stream("POST", "", json=body, headers=headers) as response:
        async for _ in response.aiter_text():
            break
        assert len(ENDLESS) == 1
    await wait_until_endless_ends()


async def test_a_stream_ends_with_its_token_however_much_there_is_to_say() -> None:
    ends_at_s = time.time() + 0.2

    async def admit(context: object) -> AbstractContextManager[float]:
        del context
        return nullcontext(ends_at_s)

    endpoint = make_endpoint(admit=admit)
    async with serve(endpoint) as address, httpx2.AsyncClient(base_url=f"http://{address}") as who:
        *_, before, last = events(await ask(who, "subscription { count(to: 2000000000) }", EVENTS))
    assert before[1]["errors"][0]["extensions"] == {"code": "UNAUTHENTICATED"}
    assert last == ("complete", None)


async def test_a_stream_ends_with_its_token_though_nobody_reads(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("resolvers.answers._LAST_WORDS_S", 0.05)
    transport = wanted(EVENTS.encode()).stream
    assert transport
    place, given_back = ExitStack(), list[bool]()
    place.callback(given_back.append, True)

    async def messages() -> AsyncGenerator[Message]:
        while True:
            yield Message('{"data":null}')

    async def never(_: object = None) -> Any:
        await asyncio.Event().wait()

    answer = StreamAnswer(messages(), transport, place, time.time())
    async with asyncio.timeout(5):
        await answer({"type": "http", "asgi": {"spec_version": "2.4"}}, never, never)
    assert given_back == [True]


async def test_a_stream_does_not_hold_up_a_stop(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever reads it is cut off at once, not when the time for what is under way is over."""
    monkeypatch.setattr("commands.web.GRACE_S", 2)
    body, headers = {"query": "subscription { endless }"}, {"accept": EVENTS}
    async with httpx2.AsyncClient() as client:
        async with serve(make_endpoint()) as address:
            request = client.build_request("POST", f"http://{address}", json=body, headers=headers)
            response = await client.send(request, stream=True)
            lines = response.aiter_lines()
            assert await anext(lines) == "event: next"
            logging.getLogger("uvicorn.error").addHandler(caplog.handler)
        with pytest.raises(httpx2.RemoteProtocolError):
            async for _ in lines:
                pass
    logging.getLogger("uvicorn.error").removeHandler(caplog.handler)
    await wait_until_endless_ends()
    assert "graceful shutdown exceeded" not in caplog.text
