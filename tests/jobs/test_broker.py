"""What Dramatiq is told of a broker that is there and does not answer."""

import asyncio
import socket
from collections.abc import Iterator
from dataclasses import replace

import pytest
import redis
from dramatiq import Broker, Message
from dramatiq.errors import BrokerConnectionError

from jobs.broker import open_broker
from settings import Settings


@pytest.fixture
def silent_url() -> Iterator[str]:
    """A Redis that takes connections and says nothing, as one that is stopped."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        yield f"redis://127.0.0.1:{listening.getsockname()[1]}"


@pytest.fixture
def broker(settings: Settings, silent_url: str) -> Iterator[Broker]:
    stores = settings.stores.model_copy(update={"redis_url": silent_url, "redis_timeout_s": 0.2})
    opened = open_broker(replace(settings, stores=stores))
    yield opened
    opened.close()


async def test_a_broker_that_does_not_answer_is_lost(broker: Broker) -> None:
    """Dramatiq waits for one that is lost; what else it is told it takes for a bug of its own."""
    broker.declare_queue("prompt")
    message = Message(queue_name="prompt", actor_name="a", args=(), kwargs={}, options={})
    with pytest.raises(redis.ConnectionError):
        await asyncio.to_thread(broker.enqueue, message)
    with pytest.raises(BrokerConnectionError):
        await asyncio.to_thread(next, broker.consume("prompt"))
