"""What the mall leaves in Redis, which it may share with others (docs/running/stores.md)."""

from dataclasses import replace

import pytest
from dramatiq import Message

from jobs.broker import open_broker
from models.stores import NAMESPACE
from services.mall import Mall
from services.persisted import hash_of
from settings import LimitSettings, Settings
from tests.boards import build
from tests.client import Client
from tests.journeys.sockets import watching

_QUERY = "{ pointsRules { __typename } }"
_BOARD = "subscription { leaderboardChanged(period: ALL_TIME) { totalUsers } }"


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """Limits as they are when nothing is set."""
    return replace(settings, limits=LimitSettings())


async def test_every_key_begins_with_the_namespace(mall: Mall, client: Client) -> None:
    """Of boards, limits, connections, documents and jobs; else no cluster keeps them together."""
    await build(mall)
    persisted = {"persistedQuery": {"version": 1, "sha256Hash": hash_of(_QUERY)}}
    await client.http.post("/graphql", json={"query": _QUERY, "extensions": persisted})
    broker = open_broker(mall.settings)
    broker.declare_queue("any")
    broker.enqueue(Message("any", "none", (), {}, {}))
    broker.close()
    async with watching(client, _BOARD, as_="alice") as alices:
        await alices.told()
        keys = await mall.stores.redis.keys("*")
    assert [key for key in keys if not key.startswith(f"{NAMESPACE}:")] == []
    kinds = {key.split(":")[1] for key in keys}
    assert kinds >= {"boards-2", "limits", "connections", "persisted", "any"}
