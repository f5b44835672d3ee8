"""Everything that was measured, as Prometheus reads it."""

import asyncio
from pathlib import Path

from prometheus_client import generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4

from services.mall import Mall
from services.monitoring.metrics import Metrics
from services.monitoring.shared_figures import figure_families
from services.monitoring.shared_values import read_shared

CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4


async def exposition(mall: Mall) -> bytes:
    """What this process has measured, and those that share their values with it.

    With it the figures that are read from the tables. Never fails because a store is away: their
    figures are then missing, and `points_mall_figures_up` is 0.
    """
    mall.metrics.sample()
    figures = await mall.figures.latest()
    directory = mall.settings.observation.metrics_dir
    measured = await asyncio.to_thread(_measured, mall.metrics, directory)
    return measured + generate_latest(figure_families(figures))


def _measured(metrics: Metrics, directory: Path | None) -> bytes:
    return generate_latest(metrics.registry) if directory is None else read_shared(directory)
