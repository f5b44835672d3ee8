"""Ten thousand generated operations: none of them is answered with what is the mall's own fault."""

import asyncio
import json
import random
import re
from collections import Counter
from typing import Any

import pytest
from graphql import IntValueNode, OperationDefinitionNode, StringValueNode, parse, print_ast
from hypothesis import HealthCheck, Phase, given, seed
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis_graphql import from_schema
from structlog.testing import capture_logs

from resolvers import learning
from resolvers.root import build_schema, graphql_schema
from schema.ids import encode_id
from services.mall import Mall
from tests.client import Client
from tests.factories import add_item, add_task, add_user, give_points

OPERATIONS = 10_000
SHARE_OF_QUERIES = 0.7
AT_ONCE = 16
INTERNAL_TEXTS = ("Traceback", "SELECT ", "INSERT ", "sqlalchemy", "asyncpg", "redis", 'File "/')

_ids = st.sampled_from(
    [encode_id(kind, 1) for kind in ("User", "ExchangeItem", "Task", "Exchange", "PointsRecord")]
    + ["", "VXNlcjox", "not an id", "\u0000"]
)
_moments = st.sampled_from(
    [
        "2026-11-20T04:00:00Z",
        "2026-11-21T12:00:00.5+08:00",
        "0001-01-01T00:00:00Z",
        "9999-12-31T23:59:59.999999Z",
    ]
)
_days = st.sampled_from(["2026-11-20", "0001-01-01", "9999-12-31"])
SCALARS: dict[str, Any] = {
    "Points": st.integers(-(2**53), 2**53).map(lambda value: IntValueNode(value=str(value))),
    "DateTime": _moments.map(lambda value: StringValueNode(value=value)),
    "Date": _days.map(lambda value: StringValueNode(value=value)),
    "JSON": st.text(max_size=5).map(lambda value: StringValueNode(value=value)),
    "ID": _ids.map(lambda value: StringValueNode(value=value)),
}


def root_fields(kind: str, number: int) -> list[str]:
    """The root fields of so many generated documents, each as text; always the same ones."""
    schema = graphql_schema(build_schema())
    root = schema.query_type if kind == "query" else schema.mutation_type
    assert root is not None
    found: dict[str, None] = {}

    @seed(7)
    @hypothesis_settings(
        max_examples=number,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(from_schema(schema, fields=list(root.fields), custom_scalars=SCALARS))
    def collect(text: object) -> None:
        for definition in parse(str(text)).definitions:
            assert isinstance(definition, OperationDefinitionNode)
            found.update((print_ast(field), None) for field in definition.selection_set.selections)

    collect()
    return list(found)


def operations() -> list[str]:
    """Ever other combinations: generating each by itself would take five minutes."""
    chance = random.Random(7)
    pools = {"query": root_fields("query", 250), "mutation": root_fields("mutation", 120)}
    found: dict[str, None] = {}
    while len(found) < OPERATIONS:
        kind = "query" if chance.random() < SHARE_OF_QUERIES else "mutation"
        fields = chance.sample(pools[kind], chance.randint(1, 2))
        aliased = [f"a{place}: {_without_alias(field)}" for place, field in enumerate(fields)]
        found[f"{kind} {{ {' '.join(aliased)} }}"] = None
    return list(found)


def _without_alias(field: str) -> str:
    return re.sub(r"^\w+: ", "", field)


async def arrange(mall: Mall) -> None:
    for name in ("alice", "root"):
        await give_points(mall, await add_user(mall, name), 100_000)
    await add_item(mall, stock=100)
    await add_task(mall)


# graphql-core drops the siblings of a field whose arguments are refused before they have begun.
@pytest.mark.filterwarnings("ignore:coroutine .* was never awaited:RuntimeWarning")
async def test_ten_thousand_operations(
    mall: Mall, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a member, as an operator and as nobody; the books are verified afterwards."""
    monkeypatch.setattr(learning, "REST", 0)  # or it waits for minutes: all of them are new
    await arrange(mall)
    tokens = [client.token("alice"), client.token("root", "operator", "member"), None]
    codes = Counter[str]()
    ran = 0
    waiting = list(enumerate(operations()))

    async def work() -> None:
        nonlocal ran
        while waiting:
            number, query = waiting.pop()
            token = tokens[number % len(tokens)]
            headers = {"Authorization": f"Bearer {token}"} if token else {}
            answer = await client.http.post("/graphql", json={"query": query}, headers=headers)
            told = answer.json()
            found = [error["extensions"]["code"] for error in told.get("errors", ())]
            assert answer.status_code < 500, (query, told)
            assert "INTERNAL" not in found, (query, told)
            messages = json.dumps([error["message"] for error in told.get("errors", ())])
            assert not any(text in messages for text in INTERNAL_TEXTS), (query, messages)
            codes.update(found)
            ran += told.get("data") is not None

    with capture_logs():
        async with asyncio.TaskGroup() as group:
            for _ in range(AT_ONCE):
                group.create_task(work())
    assert ran > OPERATIONS / 10, codes
    assert {"UNAUTHENTICATED", "FORBIDDEN", "BAD_USER_INPUT"} <= codes.keys()
