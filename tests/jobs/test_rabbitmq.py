"""The same through RabbitMQ, where it is installed: killed with its workers, it loses nothing."""

import asyncio
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from services.mall import Mall, open_mall
from settings import JobSettings, Settings
from tests.factories import execute
from tests.jobs.asking import STEPS, all_done, ask, prepare, traces, until
from tests.jobs.workers import Start, working

pytestmark = pytest.mark.xdist_group("rabbitmq")

# What Debian puts on the path changes to a user of its own, who may not enter this directory.
_PACKAGED = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")
_SERVER = _PACKAGED if _PACKAGED.exists() else shutil.which("rabbitmq-server")
_ERLANG = "-kernel inet_dist_use_interface {127,0,0,1}"
_START_S, _ROWS = 60.0, 400


def _free_port() -> int:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return listening.getsockname()[1]


@dataclass
class Rabbit:
    """A broker of the test's own, with its files in one directory.

    Erlang starts a daemon beside it, that maps names of nodes to ports and outlives them.
    """

    directory: Path
    port: int = field(default_factory=_free_port)
    mapper_port: int = field(default_factory=_free_port)
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"amqp://guest:guest@127.0.0.1:{self.port}/%2F"

    def start(self) -> None:
        """Start it; it takes connections some seconds later."""
        (self.directory / "plugins").write_text("[].\n")
        environment = os.environ | {
            "HOME": str(self.directory),
            "RABBITMQ_NODENAME": f"mall{self.port}@localhost",
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODE_PORT": str(self.port),
            "RABBITMQ_DIST_PORT": str(_free_port()),
            "RABBITMQ_MNESIA_BASE": str(self.directory / "data"),
            "RABBITMQ_LOG_BASE": str(self.directory / "log"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(self.directory / "plugins"),
            "RABBITMQ_CONFIG_FILE": str(self.directory / "none"),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": _ERLANG,
            "ERL_EPMD_PORT": str(self.mapper_port),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
        }
        self.process = subprocess.Popen(
            [str(_SERVER)],
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    async def is_there(self) -> bool:
        """Whether it takes connections."""
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", self.port)
        except OSError:
            return False
        writer.close()
        return True

    def kill(self) -> None:
        """End it and all it started at once, with no time to put anything in order."""
        if self.process is not None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
            self.process = None

    def end(self) -> None:
        """Leave nothing behind."""
        self.kill()
        environment = os.environ | {"ERL_EPMD_PORT": str(self.mapper_port)}
        for _ in range(50):  # it refuses until it has noticed that the node is gone
            done = subprocess.run(
                ["epmd", "-kill"], env=environment, capture_output=True, check=False
            )
            if done.returncode == 0:
                return
            time.sleep(0.1)
        raise RuntimeError(f"epmd lives on: {done.stdout!r}")


@pytest.fixture
def rabbit(tmp_path: Path) -> Iterator[Rabbit]:
    """A running broker, or none and the test is skipped."""
    if _SERVER is None:
        pytest.skip("RABBITMQ NOT TRIED: rabbitmq-server is not on this machine")
    broker = Rabbit(tmp_path)
    broker.start()
    yield broker
    broker.end()


@pytest.fixture
def settings(settings: Settings, rabbit: Rabbit) -> Settings:
    """Jobs go through RabbitMQ; what is lost is sent again soon."""
    return replace(settings, jobs=JobSettings(broker_url=rabbit.url, job_resend_s=2.0))


@pytest.fixture
async def running_mall(settings: Settings) -> AsyncIterator[Mall]:
    """A mall whose clock runs."""
    async with open_mall(settings) as mall:
        await prepare(mall)
        yield mall


async def test_rabbitmq_and_its_workers_are_killed(
    running_mall: Mall, rabbit: Rabbit, start_worker: Start
) -> None:
    """While jobs are open: each has its effect once, and no worker has to be started again."""
    mall = running_mall
    await until(rabbit.is_there, _START_S)
    async with working(mall):
        await ask(mall, "trace", range(_ROWS))
        await ask(mall, "steps", [9_000], takes_s=0.5)
        doomed = await asyncio.to_thread(start_worker)
        await ask(mall, "trace", range(_ROWS, 2 * _ROWS))
        doomed.kill()
        rabbit.kill()
        await ask(mall, "trace", range(2 * _ROWS, 3 * _ROWS))
        rabbit.start()
        await until(rabbit.is_there, _START_S)
        await all_done(mall, _START_S)
    found = await traces(mall)
    assert found[: 3 * _ROWS] == list(range(3 * _ROWS))
    assert len(found) >= 3 * _ROWS + STEPS
    assert await execute(mall, "SELECT id FROM outbox WHERE attempts > 0") == []
