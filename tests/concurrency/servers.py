"""Server processes as they run in production: started, killed, started again on the same port."""

import asyncio
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import httpx2
from pydantic import SecretStr
from pydantic_settings import BaseSettings

from dev.processes import RunningChild
from settings import Settings
from tests.databases import SECRET

ROOT = Path(__file__).parents[2]
_START_TIMEOUT_S = 90.0  # four processes on a machine that is busy otherwise
_STOP_TIMEOUT_S = 60.0  # a supervisor that has just begun to replace a process waits for it
_PORTS = range(20_000, 32_000)  # none that the system gives to outgoing connections
SERVE, WORK, SCHEDULE = (("cli.py", name) for name in ("serve", "worker", "scheduler"))


def noon_zone() -> str:
    """A time zone in which midnight is far away: no day of the mall ends during a test."""
    return f"Etc/GMT{datetime.now(UTC).hour - 12:+d}"


def environment_of(settings: Settings, port: int = 0) -> dict[str, str]:
    """The variables that tell a process of the mall these settings, and no others."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("MALL_")}
    return {
        **inherited,
        **_variables(settings.jobs),
        **_variables(settings.notifications),
        **_variables(settings.limits),
        **_variables(settings.server),
        **_variables(settings.observation),
        "MALL_TIMEZONE": settings.mall.timezone,
        "MALL_DATABASE_URL": str(settings.stores.database_url),
        "MALL_REDIS_URL": str(settings.stores.redis_url),
        "MALL_JWT_SECRET": SECRET,
        "MALL_LOG_LEVEL": settings.server.log_level,
        "MALL_PORT": str(port),
    }


def _variables(group: BaseSettings) -> dict[str, str]:
    """What of a group is set, not left as it is by default."""
    values = group.model_dump(exclude_unset=True, exclude_none=True)
    return {f"MALL_{name.upper()}": _text(value) for name, value in values.items()}


def _text(value: object) -> str:
    return value.get_secret_value() if isinstance(value, SecretStr) else str(value)


async def restart_store(child: RunningChild, down_s: float) -> None:
    """Kill a server of the stores outright, and start it again after a while."""
    os.kill(child.process.pid, signal.SIGKILL)
    child.process.wait()
    await asyncio.sleep(down_s)
    child.process = child.child.spawn()


def verify_books(settings: Settings) -> subprocess.CompletedProcess[str]:
    """Run `ledger verify` as an operator would."""
    return subprocess.run(
        [sys.executable, "cli.py", "ledger", "verify"],
        cwd=ROOT,
        env=environment_of(settings),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


class ServerProcess:
    """`python cli.py serve`, or another program, on a port of its own; its log in a file."""

    def __init__(self, settings: Settings, directory: Path, program: Sequence[str] = SERVE) -> None:
        self._program = program
        self.port = _free_port()
        self.address = f"http://127.0.0.1:{self.port}"
        self._environment = environment_of(settings, self.port)
        self._log = directory / f"server-{self.port}.log"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the process; `ready` says when it serves."""
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, *self._program],
                cwd=ROOT,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    async def ready(self) -> None:
        """Wait until it answers."""
        deadline_s = time.monotonic() + _START_TIMEOUT_S
        async with httpx2.AsyncClient(base_url=self.address, timeout=1) as http:
            while not await _is_alive(http):
                assert self._process is not None, "not started"
                assert self._process.poll() is None, self.log
                assert time.monotonic() < deadline_s, self.log
                await asyncio.sleep(0.05)

    def kill(self) -> None:
        """End it without any warning, as the kernel does when memory runs out."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """End it as an operator does."""
        self._end(signal.SIGTERM)

    def _end(self, how: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.send_signal(how)
        try:
            process.wait(_STOP_TIMEOUT_S)
        finally:  # a test that fails leaves nothing behind
            process.kill()
            process.wait()

    @property
    def pid(self) -> int:
        """The number of the process, which runs."""
        assert self._process is not None, "not started"
        return self._process.pid

    @property
    def log(self) -> str:
        """What it logged so far."""
        return self._log.read_text()


async def _is_alive(http: httpx2.AsyncClient) -> bool:
    try:
        return (await http.get("/livez")).is_success
    except httpx2.TransportError:
        return False


def _free_port() -> int:
    while True:
        port = random.choice(_PORTS)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
