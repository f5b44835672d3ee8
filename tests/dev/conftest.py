"""Directories for servers, programs that own them, and a count of who is still alive."""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import pytest

from dev import places

CHECKOUT = Path(__file__).parents[2]


@contextmanager
def opened_directory() -> Iterator[Path]:
    directory = Path(tempfile.mkdtemp(prefix="points mall ", dir="/tmp"))
    directory.chmod(0o755)
    yield directory
    shutil.rmtree(directory)


@pytest.fixture
def open_directory() -> Iterator[Path]:
    """A directory everyone may enter (pytest's own are closed, so PostgreSQL would move out)."""
    with opened_directory() as directory:
        yield directory


@pytest.fixture(scope="session")
def shared_directory() -> Iterator[Path]:
    """The same for many tests: creating a cluster takes ten times as long as starting it."""
    with opened_directory() as directory:
        yield directory


@pytest.fixture
def data_dir(shared_directory: Path) -> Iterator[Path]:
    """A used data directory with a space in its path; nothing of it may be alive in the end."""
    yield from checked_data_dir(shared_directory / "data")


@pytest.fixture
def fresh_data_dir(open_directory: Path) -> Iterator[Path]:
    """The same without any data yet."""
    yield from checked_data_dir(open_directory / "data")


def checked_data_dir(directory: Path) -> Iterator[Path]:
    yield directory
    remaining = living_processes(directory)
    commands = [process.info["cmdline"] for process in remaining]
    for process in remaining:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    places.remove_sockets(directory)
    assert commands == []


def living_processes(directory: Path) -> list[psutil.Process]:
    marks = (places.place_name(directory), str(directory))
    return [
        process
        for process in psutil.process_iter(["cmdline", "status"])
        if process.info["status"] != psutil.STATUS_ZOMBIE
        and any(mark in " ".join(process.info["cmdline"] or []) for mark in marks)
        and process.pid != os.getpid()
    ]


@pytest.fixture
def living(data_dir: Path) -> Callable[[], list[psutil.Process]]:
    """List the living processes that belong to the data directory."""
    return lambda: living_processes(data_dir)


@pytest.fixture
def eventually() -> Callable[..., None]:
    """Wait until something is true."""

    def wait(is_true: Callable[[], object], timeout_s: float = 10.0) -> None:
        deadline = time.monotonic() + timeout_s
        while not is_true():
            assert time.monotonic() < deadline, "it never became true"
            time.sleep(0.05)

    return wait


Program = subprocess.Popen[str]


@pytest.fixture
def run_program() -> Iterator[Callable[..., Program]]:
    """Run Python code in a process of its own, in its own session; kill it in the end."""
    programs: list[Program] = []

    def run(code: str, *arguments: object, **options: object) -> Program:
        settings: dict[str, object] = {"executable": sys.executable, "cwd": CHECKOUT, **options}
        program = subprocess.Popen(
            [str(settings["executable"]), "-c", code, *(str(word) for word in arguments)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
            **settings,  # pyright: ignore[reportCallIssue, reportArgumentType]
        )
        programs.append(program)
        return program

    yield run
    for program in programs:
        program.kill()
        program.wait()
        # Not read to its end: a test that failed may have left someone who holds the other one.
        assert program.stdout is not None
        program.stdout.close()
