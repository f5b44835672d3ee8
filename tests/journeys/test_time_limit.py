"""A request that takes too long, or that nobody waits for any more, is given up with its SQL."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
from sqlalchemy import text
from structlog.testing import capture_logs

from schema.ids import encode_id
from services.mall import Mall
from services.transaction import transaction
from settings import GraphQLSettings, Settings
from tests.client import Client
from tests.factories import add_item, add_user, give_points, points_of
from tests.journeys.steps import exchange

ITEMS = "{ items { nodes { name } } }"
EXCHANGE = """mutation ($input: OneClickExchangeInput!) {
  oneClickExchange(input: $input) { __typename }
}"""


@pytest.fixture
def limit_s() -> float:
    """How long a request may run."""
    return 1.5


@pytest.fixture
def settings(settings: Settings, limit_s: float) -> Settings:
    """Stores that wait for a lock far longer than the limit: only the limit ends a wait."""
    stores = settings.stores.model_copy(update={"database_lock_timeout_s": 60.0})
    graphql = GraphQLSettings(request_timeout_s=limit_s)
    return replace(settings, stores=stores, graphql=graphql)


@asynccontextmanager
async def locked(mall: Mall, what: str) -> AsyncIterator[None]:
    """Nobody else gets at this until the block ends."""
    async with transaction(mall.stores.write) as session:
        await session.execute(text(what))
        yield


async def waiting(mall: Mall) -> int:
    """How many statements wait for a lock, as PostgreSQL sees it."""
    async with mall.stores.engine.connect() as looking:
        statement = text(
            "SELECT count(*) FROM pg_stat_activity"
            " WHERE wait_event_type = 'Lock' AND datname = current_database()"
        )
        return int((await looking.execute(statement)).scalar_one())


async def until_waiting(mall: Mall, number: int) -> None:
    async with asyncio.timeout(20):
        while await waiting(mall) != number:  # noqa: ASYNC110 - PostgreSQL tells nobody
            await asyncio.sleep(0.01)


async def test_a_slow_query_is_given_up_with_its_statement(mall: Mall, client: Client) -> None:
    await add_item(mall)
    async with locked(mall, "LOCK TABLE exchange_items IN ACCESS EXCLUSIVE MODE"):
        asking = asyncio.create_task(client.error_code(ITEMS))
        await until_waiting(mall, 1)
        assert await asking == "SERVICE_UNAVAILABLE"
        await until_waiting(mall, 0)
    assert len((await client.data(ITEMS))["items"]["nodes"]) == 1


@pytest.mark.parametrize("limit_s", [60.0])
async def test_a_query_nobody_waits_for_is_given_up(mall: Mall, client: Client) -> None:
    """Long before its time is over; and it is no failure of the mall."""
    table = "LOCK TABLE exchange_items IN ACCESS EXCLUSIVE MODE"
    with capture_logs() as lines:
        async with locked(mall, table):
            asking = asyncio.create_task(client.post(ITEMS))
            await until_waiting(mall, 1)
            asking.cancel()
            await asyncio.gather(asking, return_exceptions=True)
            await until_waiting(mall, 0)
    assert [line["outcome"] for line in lines if line["event"] == "request"] == ["ok"]


async def test_a_batch_goes_on_for_all_who_are_in_it(mall: Mall, client: Client) -> None:
    """Whoever was told that it took too long learns by their key what became of it."""
    names = ["alice", "bob"]
    for name in names:
        await give_points(mall, await add_user(mall, name), 1_000)
    item_id = await add_item(mall, points=300, stock=5)
    asked = {"itemId": encode_id("ExchangeItem", item_id), "idempotencyKey": "key"}
    async with locked(mall, "SELECT 1 FROM exchange_items FOR UPDATE"):
        codes = await asyncio.gather(
            *(client.error_code(EXCHANGE, {"input": asked}, as_=name) for name in names)
        )
        assert codes == ["SERVICE_UNAVAILABLE"] * 2
        assert await waiting(mall) >= 1
    await until_waiting(mall, 0)
    for name in names:
        again = await exchange(client, name, item_id, key="key")
        assert (again["replayed"], again["remainingPoints"]) == (True, 700)


async def test_a_change_is_made_though_nobody_waits_for_it(mall: Mall, client: Client) -> None:
    """Only its answer is lost."""
    user_id = await add_user(mall, "alice")
    await give_points(mall, user_id, 1_000)
    item_id = await add_item(mall, points=300, stock=5)
    asked = {"itemId": encode_id("ExchangeItem", item_id), "idempotencyKey": "key"}
    async with locked(mall, "SELECT 1 FROM exchange_items FOR UPDATE"):
        asking = asyncio.create_task(client.post(EXCHANGE, {"input": asked}, client.token("alice")))
        await until_waiting(mall, 1)
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
        await asyncio.sleep(0.5)  # as long as a query is not given up at once
    again = await exchange(client, "alice", item_id, key="key")
    assert again["replayed"] is True
    assert await points_of(mall, user_id) == 700
