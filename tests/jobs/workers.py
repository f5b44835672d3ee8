"""Workers of the test's jobs: in this process, and in processes of their own."""

import asyncio
import subprocess
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from jobs.worker import work
from services.mall import Mall
from tests.jobs.asking import JOBS

Start = Callable[[], subprocess.Popen[bytes]]
"""Starts a worker process, which has begun to work when this returns."""


@asynccontextmanager
async def working(mall: Mall) -> AsyncIterator[None]:
    """A worker in this process."""
    stop = asyncio.Event()
    worker = asyncio.create_task(work(mall, JOBS, stop))
    try:
        yield
    finally:
        stop.set()
        await worker
