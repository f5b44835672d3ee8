"""The number of SQL statements of each operation, counted where they leave the process."""

import uuid
from dataclasses import replace
from typing import Any

from pydantic import SecretStr
from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncEngine
from starlette.testclient import TestClient

from app import create_app
from benchmarks.servers import SECRET, Bench
from schema.ids import encode_id
from settings import AccessSettings, load_settings

_OPERATIONS = {
    "balance": "{ balance { available pending expiringSoon } }",
    "balance with lots": "{ balance { available lots { nodes { id } } } }",
    "tasks": "{ tasks { id status } }",
    "expirySummary": "{ expirySummary { expiringPoints } }",
    "pointsHistory": "{ pointsHistory { nodes { id } } }",
    "items": "{ items { nodes { id exchangeCount canExchange } } }",
    "items by a search": (
        '{ items(filter: {search: "item"}, orderBy: RELEVANCE) {'
        " nodes { id exchangeCount canExchange } } }"
    ),
    "quickExchangeOptions": "{ quickExchangeOptions { options { item { id } exchangeCount } } }",
    "checkIn": "mutation { checkIn(input: {}) { ... on CheckInSuccess { streak } } }",
    "completeTask": (
        "mutation ($task: ID!) { completeTask(input: {taskId: $task}) {"
        " ... on CompleteTaskSuccess { pointsEarned } } }"
    ),
    "oneClickExchange": (
        "mutation ($item: ID!, $key: String!) {"
        " oneClickExchange(input: {itemId: $item, idempotencyKey: $key}) {"
        " ... on OneClickExchangeSuccess { exchange { id status } } } }"
    ),
    "exchanges": (
        "{ exchanges { nodes { item { id } reward { __typename } paidFrom { points } } } }"
    ),
}


class _Counter:
    """Counts what an engine sends, BEGIN and COMMIT included."""

    def __init__(self, engine: AsyncEngine) -> None:
        self.statements = 0
        for name in ("before_cursor_execute", "begin", "commit"):
            event.listen(engine.sync_engine, name, self._count)

    def _count(self, connection: Any, *_: Any) -> None:
        # A session for reading begins and commits nothing that PostgreSQL would hear of.
        is_autocommit = connection.get_execution_options().get("isolation_level") == "AUTOCOMMIT"
        self.statements += 0 if is_autocommit and not _ else 1


def count_statements(bench: Bench) -> dict[str, int]:
    """How many statements each operation of a member costs, once the member is known."""
    settings = load_settings()
    stores = settings.stores.model_copy(
        update={"database_url": bench.database_url, "redis_url": "redis://unused"}
    )
    access = AccessSettings(jwt_secret=SecretStr(SECRET))
    app = create_app(replace(settings, stores=stores, access=access))
    with TestClient(app) as client:
        client.headers["Authorization"] = f"Bearer {bench.tokens[0]}"
        client.post("/graphql", json={"query": "{ me { id } }"}).raise_for_status()
        counter = _Counter(app.state.mall.stores.engine)
        return {name: _count(client, counter, query) for name, query in _OPERATIONS.items()}


def _count(client: TestClient, counter: _Counter, query: str) -> int:
    variables = {
        "task": encode_id("Task", 1),
        "item": encode_id("ExchangeItem", 1),
        "key": uuid.uuid4().hex,
    }
    counter.statements = 0
    answer = client.post("/graphql", json={"query": query, "variables": variables}).json()
    if "errors" in answer:
        raise RuntimeError(f"{query}: {answer['errors']}")
    return counter.statements
