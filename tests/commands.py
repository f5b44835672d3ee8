"""Running the commands of the mall as an operator does: as processes of their own."""

import asyncio
import os
import subprocess
import sys
from pathlib import Path

from settings import Settings

_ROOT = Path(__file__).parents[1]


async def run_command(
    settings: Settings, *arguments: str, typed: str = ""
) -> subprocess.CompletedProcess[str]:
    """What `python cli.py` did on these stores; `typed` is what it reads."""
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("MALL_")},
        "MALL_DATABASE_URL": str(settings.stores.database_url),
        "MALL_REDIS_URL": str(settings.stores.redis_url),
    }
    return await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "cli.py", *arguments],
        cwd=_ROOT,
        env=environment,
        input=typed,
        capture_output=True,
        text=True,
        check=False,
    )
