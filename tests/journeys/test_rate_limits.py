"""What clients read who ask too often, over HTTP, sockets and the plain routes."""

import json
from dataclasses import replace

import pytest
from httpx2 import Response
from websockets.exceptions import ConnectionClosed

from schema.ids import encode_id
from services.mall import Mall
from settings import LimitSettings, Settings
from tests.client import Client
from tests.conftest import SECRET
from tests.factories import add_item, execute, give_points
from tests.journeys.sockets import dial, exchange, greeting
from tests.measured import scrape
from tests.serving import serving

_LIMITS = ", ".join(
    (
        "operations=20/86400",
        "exchanges=3/86400",
        "shares=2/86400",
        "anonymous_operations=4/86400",
        "sign_ups=2/86400",
        "connections=2/86400",
        "dev_tokens=1/86400",
        "share_pages=1/86400",
    )
)
_LIMITED = "RATE_LIMITED"
_EXACT = {"Accept": "application/graphql-response+json"}
_SHARE = "mutation { createShare(input: {kind: INVITE}) { __typename } }"
_ITEMS = "{ items { nodes { id } } }"


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """Limits that a test gets to, none of which drips in anew while it runs."""
    return replace(settings, limits=LimitSettings(rate_limits=_LIMITS))


async def ask(
    client: Client, query: str, as_: str | None = None, address: str = "192.0.2.1"
) -> Response:
    """The answer as a strict client gets it, through a proxy on this machine."""
    headers = _EXACT | {"X-Forwarded-For": address}
    if as_ is not None:
        headers["Authorization"] = f"Bearer {client.token(as_)}"
    return await client.http.post("/graphql", json={"query": query}, headers=headers)


async def codes(client: Client, times: int, query: str, **options: str) -> list[str | None]:
    """How each of several requests ends."""
    return [code_of(await ask(client, query, **options)) for _ in range(times)]


def code_of(answer: Response) -> str | None:
    """Of the first error; None where there is none."""
    errors = answer.json().get("errors")
    return errors[0]["extensions"]["code"] if errors else None


async def test_who_asks_too_often_is_told_when_to_come_back(client: Client) -> None:
    """In the status, a header and the error; what was refused before counted against nothing."""
    await ask(client, "{ me { id } }", as_="alice")
    assert await codes(client, 4, _SHARE, as_="alice") == [None, None, _LIMITED, _LIMITED]
    refused = await ask(client, _SHARE, as_="alice")
    retry_after_s = refused.json()["errors"][0]["extensions"]["retryAfter"]
    assert refused.status_code == 429
    assert refused.headers["retry-after"] == str(retry_after_s)
    assert 0 < retry_after_s <= 86_400 / 2
    assert refused.json().keys() == {"errors"}
    # 20 operations less me and two shares: the three that were refused took none of them.
    left = await codes(client, 18, "{ balance { available } }", as_="alice")
    assert left == [None] * 17 + [_LIMITED]
    assert code_of(await ask(client, "{ me { id } }", as_="bob")) is None


async def test_refusals_are_counted_by_limit(client: Client) -> None:
    """Nobody's that were let in, and of each limit from the start."""
    assert (await scrape(client.http)).value("limit_refusals_total", limit="shares") == 0
    await codes(client, 5, _SHARE, as_="alice")
    await codes(client, 5, _ITEMS)
    found = await scrape(client.http)
    counted = found.by("limit_refusals_total", "limit")
    assert counted == {"shares": 3, "anonymous_operations": 1}
    assert found.value("limits_counted_alone") == 0


async def test_lenient_clients_read_it_with_200(client: Client) -> None:
    """As they read every error; the header is there all the same."""
    token = client.token("alice")
    headers = {"Authorization": f"Bearer {token}"}
    for _ in range(3):
        answer = await client.http.post("/graphql", json={"query": _SHARE}, headers=headers)
    assert (answer.status_code, code_of(answer)) == (200, _LIMITED)
    assert int(answer.headers["retry-after"]) > 0


async def test_an_alias_is_no_way_around(client: Client, mall: Mall) -> None:
    """Four exchanges in one operation are four; more than the limit, so all of its tokens."""
    item = encode_id("ExchangeItem", await add_item(mall))
    await ask(client, "{ me { id } }", as_="alice")
    await give_points(mall, 1, 10_000)

    def exchanges(key: str, count: int) -> str:
        asked = f'itemId: "{item}", idempotencyKey: "{key}'
        fields = [
            f'a{each}: oneClickExchange(input: {{{asked}{each}"}}) {{ __typename }}'
            for each in range(count)
        ]
        return f"mutation {{ {' '.join(fields)} }}"

    assert code_of(await ask(client, exchanges("a", 2), as_="alice")) is None
    refused = await ask(client, exchanges("b", 2), as_="alice")
    assert code_of(refused) == _LIMITED
    assert code_of(await ask(client, exchanges("c", 1), as_="alice")) is None
    (made,) = await execute(mall, "SELECT count(*) FROM exchanges")
    assert made == (3,)


async def test_nobody_in_particular_is_known_by_the_address(client: Client) -> None:
    """Of IPv6 by its first half; members are not."""
    one, other = "2001:db8:0:1::1", "2001:db8:0:1::2"
    assert await codes(client, 3, _ITEMS, address=one) == [None] * 3
    assert await codes(client, 2, _ITEMS, address=other) == [None, _LIMITED]
    assert await codes(client, 1, _ITEMS, address="2001:db8:0:2::1") == [None]
    assert await codes(client, 1, _ITEMS, as_="alice", address=one) == [None]


async def test_new_members_of_one_address_come_slowly(client: Client, mall: Mall) -> None:
    """Who is refused is not created; who is known already, or comes from elsewhere, is served."""
    me = "{ me { id } }"
    answers = [await codes(client, 1, me, as_=name) for name in ("alice", "bob", "carol")]
    assert answers == [[None], [None], [_LIMITED]]
    assert await execute(mall, "SELECT username FROM users ORDER BY id") == [("alice",), ("bob",)]
    assert await codes(client, 1, me, as_="alice") == [None]
    assert await codes(client, 1, me, as_="carol", address="198.51.100.7") == [None]


async def test_a_socket_counts_as_every_operation_on_it_does(client: Client) -> None:
    """An operation too many is refused, a connection too many closed: come back later."""
    hello = greeting(client.token("alice"))
    async with dial(client) as socket:
        await exchange(socket, hello)
        for number in range(3):
            asked = {"id": str(number), "type": "subscribe", "payload": {"query": _SHARE}}
            answer = await exchange(socket, asked)
            if number < 2:
                assert answer["type"] == "next"
                assert json.loads(await socket.recv())["type"] == "complete"
    assert answer["type"] == "error"
    assert answer["payload"][0]["extensions"]["code"] == _LIMITED
    assert answer["payload"][0]["extensions"]["retryAfter"] > 0
    async with dial(client) as socket:
        assert (await exchange(socket, hello))["type"] == "connection_ack"
    async with dial(client) as socket:
        with pytest.raises(ConnectionClosed) as closed:
            await exchange(socket, hello)
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1013


async def test_plain_routes_have_limits_too(client: Client) -> None:
    """Of their own, by address."""
    for method, path in (("POST", "/dev/token"), ("GET", "/s/nothing")):
        asked = {"json": {"username": "alice"}} if method == "POST" else {}
        first = await client.http.request(method, path, **asked)
        again = await client.http.request(method, path, **asked)
        elsewhere = {"X-Forwarded-For": "198.51.100.7"}
        other = await client.http.request(method, path, headers=elsewhere, **asked)
        assert (first.status_code, again.status_code) == (other.status_code, 429)
        assert int(again.headers["retry-after"]) > 0


@pytest.fixture
def trusted(settings: Settings) -> Settings:
    """A mall whose only proxy is elsewhere: this machine is a stranger."""
    return replace(
        settings, server=settings.server.model_copy(update={"trusted_proxies": "203.0.113.9"})
    )


async def test_strangers_do_not_say_where_they_are(trusted: Settings, mall: Mall) -> None:
    """What they claim by X-Forwarded-For is not believed."""
    async with serving(trusted, mall.clock) as address, Client(address, SECRET) as client:
        answers = [
            await codes(client, 1, _ITEMS, address=f"192.0.2.{number}") for number in range(5)
        ]
    assert answers == [[None]] * 4 + [[_LIMITED]]


async def test_what_operators_and_services_do_has_limits_of_its_own(client: Client) -> None:
    """A system that calls in is not held to what a person does."""
    token = client.token("till", "service")
    for _ in range(30):
        answer = await client.post(
            "mutation { recordEvents(input: {events: []}) { __typename } }", None, token
        )
        assert "errors" not in answer


async def test_a_process_that_counts_alone_says_so(settings: Settings, mall: Mall) -> None:
    """And what it refuses then is counted as ever."""
    stores = settings.stores.model_copy(update={"redis_url": "redis://127.0.0.1:1"})
    apart = replace(settings, stores=stores)
    async with serving(apart, mall.clock) as address, Client(address, SECRET) as client:
        answers = await codes(client, 5, _ITEMS)
        found = await scrape(client.http)
        new = [await codes(client, 1, "{ me { id } }", as_=name) for name in ("alice", "bob")]
        refused = await scrape(client.http)
    assert answers == [None] * 5
    assert found.value("limits_counted_alone") == 1
    assert found.by("limit_refusals_total", "limit") == {}
    assert new == [[None], [_LIMITED]]
    assert refused.by("limit_refusals_total", "limit") == {"sign_ups": 1}


async def test_emptying_redis_fills_the_buckets(client: Client, mall: Mall) -> None:
    """Which is all that is lost."""
    assert await codes(client, 3, _SHARE, as_="alice") == [None, None, _LIMITED]
    await mall.stores.redis.flushdb()
    assert await codes(client, 3, _SHARE, as_="alice") == [None, None, _LIMITED]
