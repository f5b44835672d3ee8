"""The servers that benchmarks measure: embedded stores, web processes, pgbench."""

import asyncio
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Collection, Generator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import psutil

from benchmarks.data import fill
from dev.embedded import embedded_stores
from dev.postgres import install_directory
from models.migrations import migrate
from models.stores import create_engine
from services.users.claims import Role
from services.users.tokens import issue_token
from settings import StoreSettings

_ROOT = Path(__file__).parent.parent
SECRET = "a secret that signs nothing but benchmarks"


@dataclass(frozen=True, slots=True)
class Bench:
    """A filled database and the web processes that serve it."""

    database_url: str
    users: int
    ports: tuple[int, ...]
    bare_port: int
    tokens: Sequence[str] = field(repr=False)
    """A token for each user, in order: the same one in every request, as an app has it."""
    environment: Mapping[str, str] = field(repr=False)
    """The settings with which its processes, and commands, run."""

    def pgbench(self, script: str, *, clients: int, duration_s: int, **variables: int) -> float:
        """Transactions per second of a script in benchmarks/pgbench; raises when one failed."""
        sockets = parse_qs(urlsplit(self.database_url).query)["host"][0]
        defines = [f"-D{name}={value}" for name, value in variables.items()]
        command = [
            str(install_directory() / "bin" / "pgbench"),
            *("-h", sockets, "-U", "postgres", "-n", "-M", "prepared"),
            *("-c", str(clients), "-j", "1", "-T", str(duration_s)),
            *defines,
            *("-f", str(_ROOT / "benchmarks" / "pgbench" / script), "mall"),
        ]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        match = re.search(r"tps = ([\d.]+)", done.stdout)
        if (
            done.returncode
            or match is None
            or "number of failed transactions: 0 " not in done.stdout
        ):
            raise RuntimeError(f"pgbench failed:\n{done.stdout}\n{done.stderr}")
        return float(match[1])


@contextmanager
def bench(data_dir: Path, *, users: int, items: int, processes: int = 2) -> Generator[Bench]:
    """A fresh mall with that many users and items, served by `processes` on a port each."""
    with ExitStack() as stack:
        urls = stack.enter_context(embedded_stores(data_dir, shared_buffers_mb=1024))
        asyncio.run(_prepare(urls.database_url, users, items))
        environment = {
            "MALL_DATABASE_URL": urls.database_url,
            "MALL_REDIS_URL": urls.redis_url,
            "MALL_JWT_SECRET": SECRET,
            "MALL_LOG_LEVEL": "warning",
            "MALL_CONNECTIONS_PER_ADDRESS": "1000000",  # all come from here
            # Counted, never reached.
            "MALL_RATE_LIMIT_FACTOR": "100000",
            "MALL_GAINS_HELD_ABOVE": "1000000000000",
        }
        ports = tuple(free_port() for _ in range(processes))
        for port in ports:
            command = [sys.executable, "cli.py", "serve"]
            stack.enter_context(started(command, port, environment | {"MALL_PORT": str(port)}))
        bare_port = free_port()
        bare = [sys.executable, "-m", "benchmarks.bare", str(bare_port)]
        stack.enter_context(started(bare, bare_port, environment))
        yield Bench(urls.database_url, users, ports, bare_port, _tokens(users), environment)


def _tokens(users: int) -> list[str]:
    names = (f"bench-{user}" for user in range(1, users + 1))
    return [issue_token(SECRET, name, [Role.MEMBER]) for name in names]


async def _prepare(database_url: str, users: int, items: int) -> None:
    engine = create_engine(
        StoreSettings(database_url=database_url, database_statement_timeout_s=600)
    )
    try:
        await migrate(engine)
        await fill(engine, users=users, items=items)
    finally:
        await engine.dispose()


def listeners(ports: Collection[int]) -> list[psutil.Process]:
    """The processes of ours that listen there."""
    return [
        process
        for process in psutil.Process().children()
        for connection in process.net_connections("tcp")
        if connection.status == psutil.CONN_LISTEN and connection.laddr.port in ports
    ]


def free_port() -> int:
    """A port of this machine that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextmanager
def started(command: Sequence[str], port: int, environment: Mapping[str, str]) -> Generator[None]:
    """A process that answers at `/livez` of that port, until the block ends."""
    process = subprocess.Popen(command, cwd=_ROOT, env=os.environ | environment)
    try:
        _await_alive(port)
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=20)


def _await_alive(port: int) -> None:
    deadline_s = time.monotonic() + 30
    while True:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/livez", timeout=1):
                return
        except OSError:
            if time.monotonic() > deadline_s:
                raise
            time.sleep(0.1)
