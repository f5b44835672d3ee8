"""`worker` and `scheduler` as processes: they stop when asked to, and say what keeps them."""

import asyncio
import json
import signal
import sys
from asyncio.subprocess import DEVNULL, PIPE
from dataclasses import replace
from pathlib import Path

import pytest

from jobs.worker import GRACE_S
from services.mall import Mall
from settings import ServerSettings, Settings
from tests.commands import run_command
from tests.concurrency.servers import environment_of
from tests.factories import execute

_ROOT = Path(__file__).parents[2]
_BOTH = pytest.mark.parametrize("command", ["worker", "scheduler"])


async def _start(settings: Settings, command: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "cli.py", command),
        cwd=_ROOT,
        env=environment_of(settings),
        stdin=DEVNULL,
        stdout=DEVNULL,
        stderr=PIPE,
    )


async def _said(process: asyncio.subprocess.Process, event: str) -> None:
    """Wait until it logs that."""
    assert process.stderr is not None
    async with asyncio.timeout(30):
        async for line in process.stderr:
            if json.loads(line)["event"] == event:
                return
    pytest.fail(f"{event} was never said")


@_BOTH
async def test_stops_when_asked_to(command: str, mall: Mall, settings: Settings) -> None:
    """With exit code 0, well within its grace."""
    talkative = replace(settings, server=ServerSettings(log_level="info"))
    process = await _start(talkative, command)
    try:
        await _said(process, "worker_runs" if command == "worker" else "scheduler_leads")
        process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(GRACE_S + 10):
            assert await process.wait() == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


@_BOTH
async def test_says_that_the_database_is_outdated(
    command: str, mall: Mall, settings: Settings
) -> None:
    """In one line that says what to do."""
    await execute(mall, "UPDATE alembic_version SET version_num = '0001'")
    done = await run_command(settings, command)
    said = "the database is outdated: run `cli.py migrate` first\n"
    assert (done.returncode, done.stdout, done.stderr) == (2, "", said)


@_BOTH
async def test_says_that_the_database_is_away(command: str, settings: Settings) -> None:
    """In one line; whoever started it starts it again."""
    nowhere = settings.stores.model_copy(
        update={"database_url": "postgresql+asyncpg://mall@127.0.0.1:1/mall"}
    )
    done = await run_command(replace(settings, stores=nowhere), command)
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr.startswith("not available: ")
    assert done.stderr.count("\n") == 1


_LOGS = """
import logging
from services.monitoring.logs import configure_logging
from settings import load_settings
configure_logging(load_settings())
logging.getLogger("httpx2").info("POST https://apns/3/device/secret")
logging.getLogger("dramatiq.worker").error("the broker is %s", "away")
"""


async def test_of_libraries_only_warnings_and_errors_are_logged(settings: Settings) -> None:
    """Whatever the mall's level: below it httpx2 names the tokens of devices."""
    talkative = replace(settings, server=ServerSettings(log_level="debug"))
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", _LOGS), cwd=_ROOT, env=environment_of(talkative), stderr=PIPE
    )
    _, said = await process.communicate()
    (line,) = map(json.loads, said.splitlines())
    assert (line["level"], line["logger"]) == ("error", "dramatiq.worker")
    assert line["event"] == "the broker is away"


async def test_migrating_waits_for_no_scheduler(mall: Mall, settings: Settings) -> None:
    """An upgrade begins with `migrate`, beside everything that runs (docs/running.md)."""
    talkative = replace(settings, server=ServerSettings(log_level="info"))
    process = await _start(talkative, "scheduler")
    try:
        await _said(process, "scheduler_leads")
        async with asyncio.timeout(60):
            done = await run_command(mall.settings, "migrate")
        assert done.returncode == 0, done.stderr
    finally:
        process.kill()
        await process.wait()
