"""Both stores of a data directory: one owner, any number of guests."""

import os
import shutil
import signal
import subprocess
import sys
import sysconfig
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from dev import embedded, places, postgres
from dev.embedded import StoresBusyError, embedded_stores

Program = subprocess.Popen[str]
Run = Callable[..., Program]

OWNER = """
import sys, time
from pathlib import Path
from dev.embedded import embedded_stores
with embedded_stores(Path(sys.argv[1]), durable=len(sys.argv) > 3, shared_buffers_mb=16) as stores:
    print(stores.started, stores.database_url, stores.redis_url, flush=True)
    time.sleep(float(sys.argv[2]))
"""


def first_words(program: Program) -> list[str]:
    assert program.stdout is not None
    words = program.stdout.readline().split()
    assert words[:1] in (["True"], ["False"]), (words, program.stdout.read())
    return words


def query(data_dir: Path, sql: str) -> str:
    sockets = places.recorded_sockets(data_dir)
    assert sockets is not None
    return postgres._query(sockets, sql)


def test_starts_both_and_leaves_nothing(data_dir: Path, living: Callable[[], list[psutil.Process]]):
    with embedded_stores(data_dir, durable=False, shared_buffers_mb=16) as stores:
        assert stores.started
        assert [server.child.name for server in stores.servers] == ["PostgreSQL", "Valkey"]
        assert stores.redis_url.startswith("unix:///")
        sockets = places.recorded_sockets(data_dir)
    assert living() == []
    assert sockets is not None
    assert not sockets.exists()


def test_a_relative_directory_is_enough(open_directory: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(open_directory)
    with embedded_stores(Path("here"), durable=False, shared_buffers_mb=16):
        assert query(Path("here"), "SELECT 1") == "1"


def test_a_guest_attaches_and_leaves_the_stores_alone(data_dir: Path, run_program: Run):
    with embedded_stores(data_dir, durable=False, shared_buffers_mb=16) as stores:
        guest = run_program(OWNER, data_dir, 0)
        assert first_words(guest) == ["False", stores.database_url, stores.redis_url]
        assert guest.wait() == 0
        assert query(data_dir, "SELECT 1") == "1"


def test_of_two_starters_one_owns(data_dir: Path, run_program: Run):
    starters = [run_program(OWNER, data_dir, 2) for _ in range(2)]
    words = [first_words(starter) for starter in starters]
    assert sorted(word[0] for word in words) == ["False", "True"]
    assert words[0][1:] == words[1][1:]
    assert [starter.wait() for starter in starters] == [0, 0]


def test_comes_back_after_the_owner_was_killed(data_dir: Path, run_program: Run):
    owner = run_program(OWNER, data_dir, 60, "durable")
    first_words(owner)
    query(data_dir, "DROP TABLE IF EXISTS kept; CREATE TABLE kept AS SELECT 42 AS answer")
    owner.kill()
    # At once: the servers are still stopping.
    with embedded_stores(data_dir, durable=False, shared_buffers_mb=16) as stores:
        assert stores.started
        assert query(data_dir, "SELECT answer FROM kept") == "42"


def test_comes_back_after_everything_was_killed(
    data_dir: Path, run_program: Run, living: Callable[[], list[psutil.Process]]
):
    owner = run_program(OWNER, data_dir, 60, "durable")
    first_words(owner)
    query(data_dir, "DROP TABLE IF EXISTS kept; CREATE TABLE kept AS SELECT 42 AS answer")
    for process in [psutil.Process(owner.pid), *living()]:
        if process.is_running():
            process.kill()
    with embedded_stores(data_dir, durable=False, shared_buffers_mb=16) as stores:
        assert stores.started
        assert query(data_dir, "SELECT answer FROM kept") == "42"


@pytest.mark.parametrize("which", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_both(
    which: signal.Signals,
    data_dir: Path,
    run_program: Run,
    living: Callable[[], list[psutil.Process]],
):
    owner = run_program(OWNER, data_dir, 60)
    first_words(owner)
    owner.send_signal(which)
    owner.wait(timeout=10)
    assert living() == []


def test_says_who_is_in_the_way(data_dir: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(embedded, "_ATTACH_TIMEOUT_S", 0.2)
    data_dir.mkdir(exist_ok=True)
    with (data_dir / "lock").open("a+b") as lock:
        assert embedded._take(lock)
        embedded._note(lock, "starting")
        with pytest.raises(StoresBusyError, match=str(os.getpid())), embedded_stores(data_dir):
            pass


def python_for(user: str, directory: Path) -> dict[str, object]:
    """Options to run Python as the user, or a skip that says why that cannot be."""
    # What redis needs before Python 3.11.3: a system's Python may be older than the environment's.
    (directory / "async_timeout.py").write_text("from asyncio import timeout as timeout\n")
    packages = f"{sysconfig.get_paths()['purelib']}:{directory}"
    options: dict[str, object] = {"user": user, "group": "nogroup", "extra_groups": []}
    options["env"] = {"PATH": os.environ["PATH"], "PYTHONPATH": packages, "HOME": "/"}
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    for python in (sys.executable, f"/usr/bin/python{version}", f"/usr/local/bin/python{version}"):
        try:
            subprocess.run([python, "-c", "import psutil, redis"], check=True, cwd="/", **options)
        except (OSError, subprocess.CalledProcessError):
            continue
        return {**options, "executable": python}
    pytest.skip(f"NOT TESTED as an ordinary user: {user} can run no Python {version} with psutil")


@pytest.mark.skipif(os.geteuid() != 0, reason="the other tests run as an ordinary user already")
def test_an_ordinary_user_runs_everything_alone(open_directory: Path, run_program: Run):
    options = python_for("nobody", open_directory)
    home = open_directory / "home"
    home.mkdir(mode=0o700)
    home.chmod(0o700)
    shutil.chown(home, "nobody", "nogroup")
    owner = run_program(OWNER, home / "data", 60, **options)
    words = first_words(owner)
    assert words[0] == "True"
    names = {child.name(): child.username() for child in psutil.Process(owner.pid).children()}
    assert names == {"postgres": "nobody", "valkey-server": "nobody"}
    owner.send_signal(signal.SIGINT)
    assert owner.wait(timeout=10) != 0
    assert not (home / "data" / "sockets").exists()
