"""`make run` as it is: web, worker and scheduler run, and whatever ends it leaves nothing."""

import os
import signal
import socket
import subprocess
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

Program = subprocess.Popen[str]

_DEV = "import sys; from cli import main; sys.argv = ['cli.py', 'dev']; main()"
_COMMANDS = ("serve", "worker", "scheduler")


@pytest.fixture
def running(data_dir: Path, run_program: Callable[..., Program]) -> Program:
    """A mall that is open."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("MALL_")}
    environment = {**inherited, "MALL_DATA_DIR": str(data_dir), "MALL_PORT": str(port)}
    program = run_program(_DEV, env=environment)
    assert f"The mall is open at http://127.0.0.1:{port}" in await_line(program, "The mall is")
    return program


def await_line(program: Program, start: str) -> str:
    """The next line that begins so."""
    assert program.stdout is not None
    for line in program.stdout:
        if line.startswith(start):
            return line
    pytest.fail(f"{start!r} was never said")


def commands_of(program: Program) -> dict[str, psutil.Process]:
    """The commands of the mall that it runs, by name."""
    found = dict[str, psutil.Process]()
    for child in psutil.Process(program.pid).children():
        with suppress(psutil.NoSuchProcess):
            words = child.cmdline()
            # None at the instant in which the launcher becomes the command.
            if words and words[-1] in _COMMANDS:
                found[words[-1]] = child
    return found


@pytest.mark.parametrize("which", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_whatever_ends_it_leaves_nothing(
    which: signal.Signals, running: Program, eventually: Callable[..., None]
) -> None:
    """Ctrl-C, SIGTERM, and even a kill that cannot be noticed."""
    eventually(lambda: set(commands_of(running)) == set(_COMMANDS))
    family = psutil.Process(running.pid).children(recursive=True)
    running.send_signal(which)
    assert running.wait(timeout=120) == (-which if which is signal.SIGKILL else 0)
    eventually(lambda: not any(process.is_running() for process in family), 30)


def test_a_worker_that_is_killed_is_started_again(running: Program) -> None:
    """And so is a scheduler, while the web process serves on."""
    before = commands_of(running)
    for name in ("worker", "scheduler"):
        before[name].kill()
        assert "SIGKILL: restarting" in await_line(running, f"{name} was killed")
        await_line(running, f"{name} runs again")
    after = commands_of(running)
    assert set(after) == set(_COMMANDS)
    assert {name for name in _COMMANDS if after[name] != before[name]} == {"worker", "scheduler"}
    running.send_signal(signal.SIGTERM)
    assert running.wait(timeout=60) == 0
