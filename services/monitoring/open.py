"""Opening the metrics of a process: in its own memory, or in files that several share."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, nullcontext, suppress
from typing import Any

from models.stores import Stores
from services.monitoring.metrics import Metrics
from services.monitoring.shared_values import sharing_values
from settings import Settings

_SAMPLE_EVERY_S = 5.0


@asynccontextmanager
async def open_metrics(settings: Settings, stores: Stores) -> AsyncGenerator[Metrics]:
    """The metrics of this process, which has these stores."""
    directory = settings.observation.metrics_dir
    with nullcontext() if directory is None else sharing_values(directory):
        metrics = Metrics()
        _watch_pool(metrics, stores)
        sampling = asyncio.create_task(_sample(metrics, is_shared=directory is not None))
        try:
            yield metrics
        finally:
            sampling.cancel()
            with suppress(asyncio.CancelledError):
                await sampling


def _watch_pool(metrics: Metrics, stores: Stores) -> None:
    pool: Any = stores.engine.pool

    def sample() -> None:
        metrics.database_connections.labels("busy").set(pool.checkedout())
        metrics.database_connections.labels("idle").set(pool.checkedin())

    metrics.samples.append(sample)


async def _sample(metrics: Metrics, *, is_shared: bool) -> None:
    """Others read the gauges from files; who reads them here samples first."""
    while is_shared:
        metrics.sample()
        await asyncio.sleep(_SAMPLE_EVERY_S)
