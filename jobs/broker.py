"""The broker that carries messages from the relay to the workers: Dramatiq's, on Redis or RabbitMQ.

A message is a job's name and ids of outbox rows, nothing more. Losing one, or carrying it twice,
costs time and no truth: the outbox is what says whether a job is done. That is why Dramatiq's own
retries, results and age limits are left out.
"""

from collections.abc import Callable, Sequence
from typing import Any

import redis
from dramatiq import Broker, Message, actor
from dramatiq.brokers.rabbitmq import RabbitmqBroker
from dramatiq.brokers.redis import RedisBroker
from redis.backoff import NoBackoff
from redis.retry import Retry

from jobs.job import Job, Queue
from models.stores import NAMESPACE
from settings import Settings, SettingsError

Perform = Callable[[str, Sequence[int]], None]
"""Runs the rows of one message; blocks until they are done."""

# With Dramatiq's defaults a killed worker's messages were not seen again in 200 s.
_HEARTBEAT_TIMEOUT_MS = 15_000
_MAINTENANCE_CHANCE = 100_000  # of a million commands
_BLOCKED_FOR_S = 10
_ACTOR = "run_{queue}"


class _Client(redis.Redis):
    """Says of a Redis that does not answer in time what Dramatiq understands: that it is lost.

    It takes any other exception for a bug of its own, and gives up what it was about to confirm.
    """

    def execute_command(self, *args: Any, **options: Any) -> Any:
        """What Redis answers; raises ConnectionError where it does not."""
        try:
            return super().execute_command(*args, **options)
        except redis.TimeoutError as error:
            raise redis.ConnectionError(str(error)) from error


def open_broker(settings: Settings) -> Broker:
    """The broker of these settings, not yet connected; raises SettingsError without a URL."""
    url = settings.jobs.broker_url or settings.stores.redis_url
    if url is None:
        raise SettingsError("set MALL_BROKER_URL or MALL_REDIS_URL")
    if url.startswith("amqp"):
        return RabbitmqBroker(url=_bounded(url), confirm_delivery=True, middleware=[])
    timeout_s = settings.stores.redis_timeout_s
    client = _Client.from_url(
        url,
        socket_timeout=timeout_s,
        socket_connect_timeout=timeout_s,
        retry=Retry(NoBackoff(), 0),
    )
    return RedisBroker(
        client=client,
        namespace=NAMESPACE,
        heartbeat_timeout=_HEARTBEAT_TIMEOUT_MS,
        maintenance_chance=_MAINTENANCE_CHANCE,
        middleware=[],
    )


def _bounded(url: str) -> str:
    """With a limit to how long RabbitMQ may let us wait when it is short of memory or disk."""
    if "blocked_connection_timeout" in url:
        return url
    return f"{url}{'&' if '?' in url else '?'}blocked_connection_timeout={_BLOCKED_FOR_S}"


def declare_actor(broker: Broker, queue: Queue, perform: Perform) -> None:
    """Let the worker of this broker run the messages of a queue."""
    declare = actor(broker=broker, actor_name=_ACTOR.format(queue=queue), queue_name=queue)
    declare(perform)


def send(broker: Broker, job: Job, ids: Sequence[int]) -> None:
    """Send rows of one job as messages of its batch size. Blocks; raises what the broker raises."""
    for start in range(0, len(ids), job.batch):
        broker.enqueue(
            Message(
                queue_name=job.queue,
                actor_name=_ACTOR.format(queue=job.queue),
                args=(job.name, list(ids[start : start + job.batch])),
                kwargs={},
                options={},
            )
        )
