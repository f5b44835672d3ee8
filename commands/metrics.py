"""Where the metrics of processes are read that serve nothing else, and kept of those that are many.

A web process serves its own (`routes.metrics`).
"""

import asyncio
import os
import socket
import tempfile
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import uvicorn

from app import create_metrics_app
from services.mall import Mall
from services.monitoring.shared_values import keeping_values
from settings import Settings, SettingsError

_DIRECTORY = "MALL_METRICS_DIR"


@contextmanager
def kept_metrics(settings: Settings) -> Generator[None]:
    """Let the web processes of a server share their metrics, and outlive each of them.

    Where no directory is set they get one that is gone with the server.
    """
    if settings.server.processes == 1:
        yield
        return
    with tempfile.TemporaryDirectory(prefix="points-mall-metrics-") as own:
        directory = settings.observation.metrics_dir or Path(own)
        os.environ[_DIRECTORY] = str(directory)
        with keeping_values(directory):
            yield


class _Server(uvicorn.Server):
    """Leaves the signals to the worker or scheduler beside it."""

    @contextmanager
    def capture_signals(self) -> Generator[None]:
        """Capture none."""
        yield


@asynccontextmanager
async def serving_metrics(mall: Mall) -> AsyncGenerator[None]:
    """Serve `/metrics` on the port that is set for it, if there is one, until the block ends.

    Raises SettingsError when the port is taken.
    """
    observation = mall.settings.observation
    if observation.metrics_port == 0:
        yield
        return
    listening = _listen(observation.metrics_host, observation.metrics_port)
    app = create_metrics_app(mall)
    config = uvicorn.Config(app, access_log=False, lifespan="off", ws="none", log_config=None)
    server = _Server(config)
    serving = asyncio.create_task(server.serve(sockets=[listening]))
    try:
        yield
    finally:
        server.should_exit = True
        await serving


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
    except OSError as error:
        listening.close()
        reason = f"MALL_METRICS_PORT {port} on {host}: {error.strerror}"
        raise SettingsError(reason) from error
    return listening
