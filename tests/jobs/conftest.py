"""Worker processes, killed at will."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from settings import Settings
from tests.concurrency.servers import environment_of
from tests.jobs.workers import Start

_ROOT = Path(__file__).parents[2]


@pytest.fixture
def start_worker(settings: Settings, tmp_path: Path) -> Iterator[Start]:
    """Start worker processes; those that live in the end are killed."""
    started: list[subprocess.Popen[bytes]] = []
    environment = environment_of(settings) | {"MALL_JOB_RESEND_S": "1"}

    def start() -> subprocess.Popen[bytes]:
        with (tmp_path / "worker.log").open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "tests.jobs.counting_worker"],
                cwd=_ROOT,
                env=environment,
                stdout=subprocess.PIPE,
                stderr=log,
            )
        assert process.stdout is not None
        assert process.stdout.readline() == b"works\n"
        started.append(process)
        return process

    yield start
    for process in started:
        with suppress(ProcessLookupError):
            process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()
