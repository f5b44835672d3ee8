"""What is asked before an operation begins, and what is told of it afterwards."""

from collections.abc import AsyncIterator

import httpx2
import pytest
from graphql import OperationType
from structlog.testing import capture_logs

from resolvers.attempts import Asked, Observation
from tests.resolvers.serving import SECRET, AwayError, Caller, NotAllowedError, make_endpoint, serve
from tests.resolvers.test_websocket import greeted, read, subscribe

QUERY, MUTATION = OperationType.QUERY, OperationType.MUTATION
SUBSCRIPTION = OperationType.SUBSCRIPTION
GRAPHQL_RESPONSE = "application/graphql-response+json"
EVENTS = "text/event-stream"


class Hooks:
    """What was asked and what was told, each in order."""

    def __init__(self) -> None:
        self.asked: list[Asked] = []
        self.told: list[Observation] = []

    async def permit(self, context: Caller, asked: Asked) -> None:
        assert isinstance(context, Caller)
        self.asked.append(asked)
        match asked.name:
            case "Forbidden":
                raise NotAllowedError
            case "Away":
                raise AwayError
            case "Broken":
                raise RuntimeError(SECRET)
            case _:
                pass

    def outcomes(self) -> list[tuple[str | None, OperationType | None, str | None]]:
        told = [(each.name, each.kind, each.code) for each in self.told]
        assert all(each.duration_s > 0 for each in self.told)
        self.told.clear()
        return told


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def hooks() -> Hooks:
    return Hooks()


@pytest.fixture
async def address(hooks: Hooks) -> AsyncIterator[str]:
    endpoint = make_endpoint(permit=hooks.permit, observe=hooks.told.append, graphiql=True)
    async with serve(endpoint) as address:
        yield address


@pytest.fixture
async def client(address: str) -> AsyncIterator[httpx2.AsyncClient]:
    async with httpx2.AsyncClient(base_url=f"http://{address}") as client:
        yield client


async def ask(client: httpx2.AsyncClient, query: object, accept: str = "*/*") -> httpx2.Response:
    return await client.post("", json={"query": query}, headers={"accept": accept})


async def test_what_an_operation_asks_for_is_known_before(
    client: httpx2.AsyncClient, hooks: Hooks
) -> None:
    spread = "query Spread { ...F a: hello hello ... { thing { name } } } "
    await ask(client, spread + "fragment F on Query { hello agent }")
    await ask(client, 'mutation { setName(name: "x") }')
    await ask(client, "subscription { count(to: 1) }", EVENTS)
    fields = [(each.name, each.kind, set(each.root_fields)) for each in hooks.asked]
    assert fields == [
        ("Spread", QUERY, {"hello", "agent", "thing"}),
        (None, MUTATION, {"setName"}),
        (None, SUBSCRIPTION, {"count"}),
    ]
    assert sorted(hooks.asked[0].root_fields) == ["agent", "hello", "hello", "thing"]


@pytest.mark.parametrize(
    ("name", "code", "status", "plain_status"),
    [
        ("Forbidden", "FORBIDDEN", 403, 200),
        ("Away", "SERVICE_UNAVAILABLE", 503, 503),
        ("Broken", "INTERNAL", 500, 500),
    ],
)
async def test_what_is_not_permitted_never_begins(
    address: str,
    client: httpx2.AsyncClient,
    hooks: Hooks,
    name: str,
    code: str,
    status: int,
    plain_status: int,
) -> None:
    with capture_logs():
        exact = await ask(client, f"query {name} {{ hello }}", GRAPHQL_RESPONSE)
        plain = await ask(client, f"mutation {name} {{ hello: setName(name: 7) }}")
        plain = await ask(client, f'mutation {name} {{ setName(name: "x") }}')
        events = await ask(client, f"subscription {name} {{ count(to: 1) }}", EVENTS)
        async with greeted(address) as socket:
            for kind, field in (("query", "hello"), ("subscription", "endless")):
                await subscribe(socket, f"{kind} {name} {{ {field} }}")
                refused = await read(socket)
                assert refused["type"] == "error"
                assert [each["extensions"]["code"] for each in refused["payload"]] == [code]
                assert SECRET not in str(refused)
    assert [exact.status_code, plain.status_code, events.status_code] == [
        status,
        plain_status,
        status,
    ]
    for answer in (exact, plain, events):
        assert [each["extensions"]["code"] for each in answer.json()["errors"]] == [code]
        assert "data" not in answer.json()
        assert SECRET not in answer.text
    told = hooks.outcomes()
    assert told.pop(1) == (None, None, "GRAPHQL_VALIDATION_FAILED")
    kinds = [QUERY, MUTATION, SUBSCRIPTION, QUERY, SUBSCRIPTION]
    assert told == [(name, kind, code) for kind in kinds]


async def test_every_request_is_told_of_once(client: httpx2.AsyncClient, hooks: Hooks) -> None:
    await ask(client, "query A { hello }")
    await ask(client, "query B { hello broken forbidden }")
    await ask(client, "query C($text: String!) { echo(text: $text) }")
    await ask(client, "query D { hello }", EVENTS)
    await ask(client, "{ nothing }")
    await ask(client, None)
    await client.get("", headers={"accept": "text/html"})
    assert hooks.outcomes() == [
        ("A", QUERY, None),
        ("B", QUERY, "INTERNAL"),
        ("C", QUERY, "BAD_USER_INPUT"),
        ("D", QUERY, None),
        (None, None, "GRAPHQL_VALIDATION_FAILED"),
        (None, None, "BAD_USER_INPUT"),
    ]
    assert len(hooks.asked) == 4


async def test_only_kept_valid_documents_are_known(
    client: httpx2.AsyncClient, hooks: Hooks
) -> None:
    for query in ("{ hello }", "{ hello }", "{ nothing }", "{ nothing }"):
        await ask(client, query)
    assert [each.is_known for each in hooks.told] == [False, True, False, False]


async def test_operations_of_a_socket_are_told_of(address: str, hooks: Hooks) -> None:
    async with greeted(address) as socket:
        for query in ("query A { hello }", "query B { broken }", "{ nothing }"):
            await subscribe(socket, query)
            while (await read(socket))["type"] == "next":
                pass
        assert hooks.outcomes() == [
            ("A", QUERY, None),
            ("B", QUERY, "INTERNAL"),
            (None, None, "GRAPHQL_VALIDATION_FAILED"),
        ]
        await subscribe(socket, "subscription C { endless }")
        await read(socket)
        assert hooks.outcomes() == [("C", SUBSCRIPTION, None)]
    assert hooks.outcomes() == []
