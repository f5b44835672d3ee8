"""The supervisor: everyone runs, who dies comes back, and in the end nobody is left."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from redis import Redis

from dev import valkey
from dev.supervisor import (
    PortTakenError,
    ProcessSpec,
    port_is_free,
    require_free_port,
    run_children,
)

Program = subprocess.Popen[str]
Run = Callable[..., Program]
Living = Callable[[], list[psutil.Process]]

# A command that starts a child of its own.
PARENT = """
import subprocess, sys
subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)", sys.argv[1]]).wait()
"""

# A command that does not end on SIGTERM by itself.
SLOW = """
import pathlib, signal, sys, time
def stop(*_):
    print("slow stops", flush=True)
    time.sleep(30)
signal.signal(signal.SIGTERM, stop)
pathlib.Path(sys.argv[1], "slow.ready").touch()
time.sleep(60)
"""

# A supervisor of both beside the stores. Every command line names the data directory: that is how
# the living are counted.
SUPERVISOR = """
import sys
from pathlib import Path
from dev.embedded import embedded_stores
from dev.supervisor import ProcessSpec, run_children
data_dir = Path(sys.argv[1])
web, worker = ([sys.executable, "-c", code, str(data_dir)] for code in sys.argv[2:4])
mark = data_dir / "slow.ready"
mark.unlink(missing_ok=True)
with embedded_stores(data_dir, durable=False, shared_buffers_mb=16) as stores:
    sys.exit(run_children(
        [
            ProcessSpec("web", web),
            ProcessSpec("worker", worker, is_ready=mark.exists, stop_grace_s=float(sys.argv[4])),
        ],
        servers=stores.servers,
        on_ready=lambda: print("ready", stores.redis_url, flush=True),
    ))
"""


def await_line(program: Program, start: str) -> str:
    assert program.stdout is not None
    for line in program.stdout:
        if line.startswith(start):
            return line
    pytest.fail(f"{start!r} was never said")


def child_of(supervisor: Program, mark: str) -> psutil.Process:
    children = psutil.Process(supervisor.pid).children()
    return next(child for child in children if mark in " ".join(child.cmdline()))


@pytest.fixture
def slow_grace_s() -> float:
    return 1.0


@pytest.fixture
def supervisor(data_dir: Path, run_program: Run, slow_grace_s: float) -> Program:
    program = run_program(SUPERVISOR, data_dir, PARENT, SLOW, slow_grace_s)
    await_line(program, "ready unix:///")
    return program


@pytest.mark.parametrize("which", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_to_the_group_leaves_nothing(
    which: signal.Signals, supervisor: Program, living: Living
):
    began = time.monotonic()
    os.killpg(supervisor.pid, which)
    assert supervisor.wait(timeout=15) == 0
    assert time.monotonic() - began > 1.0  # the slow worker had its time
    assert living() == []


@pytest.mark.parametrize("slow_grace_s", [20.0])
def test_a_second_signal_kills_harder(supervisor: Program, living: Living):
    supervisor.send_signal(signal.SIGINT)
    await_line(supervisor, "slow stops")
    time.sleep(0.6)
    began = time.monotonic()
    supervisor.send_signal(signal.SIGINT)
    assert supervisor.wait(timeout=15) == 0
    assert time.monotonic() - began < 5
    assert living() == []


def test_killing_the_supervisor_leaves_nothing(
    supervisor: Program, living: Living, eventually: Callable[..., None]
):
    slow = child_of(supervisor, "slow stops")
    web = child_of(supervisor, "Popen")
    eventually(web.children)
    grandchild = web.children()[0]
    supervisor.kill()
    supervisor.wait()
    await_line(supervisor, "slow stops")
    # These two alone: one sits out the SIGTERM, of the other its parent takes no care.
    slow.kill()
    grandchild.kill()
    eventually(lambda: not living())


def test_restarts_who_is_killed(data_dir: Path, supervisor: Program):
    url = valkey.running_url(data_dir)
    for name, mark in (("web", "Popen"), ("Valkey", "valkey-server"), ("PostgreSQL", "-D")):
        killed = child_of(supervisor, mark)
        killed.kill()
        assert "SIGKILL: restarting" in await_line(supervisor, name)
        await_line(supervisor, f"{name} runs again")
        assert child_of(supervisor, mark) != killed
    assert valkey.running_url(data_dir) == url
    assert url is not None
    with Redis.from_url(url) as client:
        assert client.ping()
    supervisor.send_signal(signal.SIGTERM)
    assert supervisor.wait(timeout=15) == 0


def test_gives_up_on_who_dies_again_and_again(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("dev.supervisor._FIRST_PAUSE_S", 0.001)
    code = "import sys, time; print('the reason', file=sys.stderr); time.sleep(0.1); sys.exit(3)"
    spec = ProcessSpec("broken", [sys.executable, "-c", code], log=tmp_path / "broken.log")
    before = psutil.Process().children()
    steady = ProcessSpec("steady", [sys.executable, "-c", "import time; time.sleep(60)"])
    assert run_children([steady, spec]) == 1
    said = capfd.readouterr().err
    assert said.count("broken ended with exit code 3: restarting") == 5
    assert "broken died 6 times within 60 s: giving up" in said
    assert "the reason" in said
    assert psutil.Process().children() == before


def test_who_never_gets_ready_stops_everyone(capfd: pytest.CaptureFixture[str]):
    before = psutil.Process().children()
    sleep = [sys.executable, "-c", "import time; time.sleep(60)"]
    spec = ProcessSpec("idle", sleep, is_ready=lambda: False, ready_timeout_s=0.2)
    assert run_children([ProcessSpec("steady", sleep), spec]) == 1
    assert "idle was not ready within 0.2 s" in capfd.readouterr().err
    assert psutil.Process().children() == before


def test_signal_handlers_are_given_back(capfd: pytest.CaptureFixture[str]):
    before = signal.getsignal(signal.SIGINT)
    stopper = "import os, signal; os.kill(os.getppid(), signal.SIGTERM); signal.pause()"
    assert run_children([ProcessSpec("stopper", [sys.executable, "-c", stopper])]) == 0
    assert signal.getsignal(signal.SIGINT) is before
    assert capfd.readouterr().err == ""


def test_a_command_gets_its_environment(tmp_path: Path):
    code = (
        "import os, signal; print(os.environ['MALL_MARK'], 'HOME' in os.environ, flush=True);"
        "os.kill(os.getppid(), signal.SIGTERM); signal.pause()"
    )
    log = tmp_path / "seen.log"
    run_children([ProcessSpec("seen", [sys.executable, "-c", code], {"MALL_MARK": "x"}, log)])
    assert log.read_text() == "x True\n"


def test_a_taken_port_is_named():
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert not port_is_free("127.0.0.1", port)
        with pytest.raises(PortTakenError, match=f"port {port} on 127.0.0.1 is taken"):
            require_free_port("127.0.0.1", port)
    require_free_port("127.0.0.1", port)
    assert port_is_free("localhost", 0)
