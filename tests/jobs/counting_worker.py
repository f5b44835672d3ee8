"""A worker process of the test's jobs: `python -m tests.jobs.counting_worker`, killed at will."""

import asyncio
import sys

from jobs.worker import work
from services.mall import open_mall
from settings import load_settings
from tests.jobs.asking import JOBS


async def _main() -> None:
    async with open_mall(load_settings()) as mall:
        sys.stdout.write("works\n")
        sys.stdout.flush()
        await work(mall, JOBS, asyncio.Event())


if __name__ == "__main__":
    sys.exit(asyncio.run(_main()))
