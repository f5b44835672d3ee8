"""The embedded PostgreSQL: where it lives, what it survives and as whom it runs."""

import os
import signal
import stat
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

from dev import places, postgres
from dev.postgres import PostgresOptions, postgres_child
from dev.processes import (
    ChildExitedError,
    NotInMainThreadError,
    RunningChild,
    await_ready,
    start,
    stop,
)

FAST = PostgresOptions(durable=False, shared_buffers_mb=16)
is_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root may change users and owners")


def started(data_dir: Path, options: PostgresOptions = FAST) -> RunningChild:
    running = start(postgres_child(data_dir, places.make_sockets(data_dir), options))
    try:
        await_ready(running)
    except BaseException:
        stop(running)
        raise
    return running


def query(data_dir: Path, sql: str) -> str:
    sockets = places.recorded_sockets(data_dir)
    assert sockets is not None
    return postgres._query(sockets, sql)


async def test_serves_its_url_and_stops(
    data_dir: Path, living: Callable[[], list[psutil.Process]], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("PGPORT", "1")
    assert postgres.running_url(data_dir) is None
    running = started(data_dir)
    url = postgres.running_url(data_dir)
    assert url is not None
    assert url.startswith("postgresql+asyncpg://postgres@/mall?host=/")
    sockets = places.recorded_sockets(data_dir)
    assert sockets is not None
    postgres.create_database(sockets)
    postgres.create_database(sockets)
    engine = create_async_engine(url)
    async with engine.connect() as connection:
        assert await connection.scalar(text("SELECT upper('ä') || current_database()")) == "Ämall"
        assert await connection.scalar(text("SHOW listen_addresses")) == ""
        assert await connection.scalar(text("SHOW fsync")) == "off"
    await engine.dispose()
    stop(running)
    assert postgres.running_url(data_dir) is None
    assert living() == []


def test_keeps_rows_in_a_deep_directory(open_directory: Path):
    deep = open_directory.joinpath(*["a long name, with 'signs'"] * 6)
    running = started(deep, PostgresOptions(shared_buffers_mb=16))
    assert query(deep, "SHOW fsync") == "on"
    query(deep, "DROP TABLE IF EXISTS kept; CREATE TABLE kept AS SELECT 42 AS answer")
    stop(running)
    running = started(deep)
    assert query(deep, "SELECT answer FROM kept") == "42"
    stop(running)
    places.remove_sockets(deep)


def test_comes_back_after_being_killed(
    data_dir: Path, eventually: Callable[..., None], living: Callable[[], list[psutil.Process]]
):
    running = started(data_dir, PostgresOptions(shared_buffers_mb=16))
    query(data_dir, "DROP TABLE IF EXISTS kept; CREATE TABLE kept AS SELECT 42 AS answer")
    for process in living():
        process.kill()
    running.process.wait()
    eventually(lambda: not living())
    # Its pid is now that of a living program, as happens in containers.
    pid_file = data_dir / "postgres" / "postmaster.pid"
    lines = pid_file.read_text().split("\n")
    pid_file.write_text("\n".join([str(os.getpid()), *lines[1:]]))
    running = started(data_dir)
    assert query(data_dir, "SELECT answer FROM kept") == "42"
    stop(running)


def test_replaces_an_orphan(data_dir: Path):
    orphan = started(data_dir)
    running = started(data_dir)
    assert orphan.process.wait(timeout=5) == 0
    assert postgres.running_url(data_dir) is not None
    stop(running)


def test_a_killed_initdb_does_not_count(fresh_data_dir: Path):
    unfinished = fresh_data_dir / "postgres.new"
    unfinished.mkdir(parents=True)
    (unfinished / "PG_VERSION").write_text("18\n")
    stop(started(fresh_data_dir))
    assert not unfinished.exists()


def test_a_failed_start_shows_the_log(data_dir: Path):
    with pytest.raises(ChildExitedError, match="not_a_number"):
        started(data_dir, PostgresOptions(settings={"work_mem": "not_a_number"}))


def test_refuses_other_threads(data_dir: Path):
    raised: list[Exception] = []

    def attempt() -> None:
        try:
            started(data_dir)
        except NotInMainThreadError as error:
            raised.append(error)

    thread = threading.Thread(target=attempt)
    thread.start()
    thread.join()
    assert len(raised) == 1


@is_root
def test_refuses_a_socket_directory_of_someone_else(fresh_data_dir: Path):
    sockets = places.make_sockets(fresh_data_dir)
    os.chown(sockets, 12345, 12345)
    with pytest.raises(places.PlaceTakenError, match="12345"):
        places.make_sockets(fresh_data_dir)


def test_ignores_the_sockets_link_of_a_copied_directory(data_dir: Path, open_directory: Path):
    sockets = places.make_sockets(data_dir)
    (open_directory / "copy").mkdir()
    (open_directory / "copy" / "sockets").symlink_to(sockets)
    assert places.recorded_sockets(data_dir) == sockets
    assert places.recorded_sockets(open_directory / "copy") is None


@pytest.fixture
def closed_data_dir(open_directory: Path):
    """A data directory in a folder that only root may enter."""
    directory = open_directory / "home" / "data"
    directory.mkdir(parents=True)
    directory.parent.chmod(0o700)
    yield directory
    elsewhere = Path("/var/tmp") / places.place_name(directory)
    subprocess.run(["rm", "-rf", elsewhere], check=True)
    places.remove_sockets(directory)


@is_root
def test_root_leaves_closed_folders_closed(
    closed_data_dir: Path, capsys: pytest.CaptureFixture[str]
):
    parents = list(closed_data_dir.parents)
    modes = [stat.S_IMODE(parent.stat().st_mode) for parent in parents]
    running = started(closed_data_dir)
    elsewhere = Path("/var/tmp") / places.place_name(closed_data_dir)
    assert str(elsewhere) in capsys.readouterr().err
    owner = psutil.Process(running.process.pid).username()
    assert owner in {"points-mall", "nobody"}
    query(closed_data_dir, "DROP TABLE IF EXISTS kept; CREATE TABLE kept AS SELECT 42 AS answer")
    stop(running)
    running = started(closed_data_dir)
    assert query(closed_data_dir, "SELECT answer FROM kept") == "42"
    stop(running)
    assert [stat.S_IMODE(parent.stat().st_mode) for parent in parents] == modes


@is_root
def test_removing_the_data_directory_removes_the_data_elsewhere(closed_data_dir: Path):
    running = started(closed_data_dir)
    query(closed_data_dir, "DROP TABLE IF EXISTS kept; CREATE TABLE kept AS SELECT 42 AS answer")
    stop(running)
    (closed_data_dir / "postgres").unlink()
    running = started(closed_data_dir)
    assert query(closed_data_dir, "SELECT to_regclass('kept') IS NULL") == "t"
    stop(running)


@is_root
def test_copies_binaries_that_cannot_be_reached(
    closed_data_dir: Path, monkeypatch: pytest.MonkeyPatch
):
    wheel = postgres.install_directory().parent
    closed_wheel = closed_data_dir.parent / wheel.name
    closed_wheel.mkdir()
    closed_libraries = closed_data_dir.parent / f"{wheel.name}.libs"
    for original, closed in (
        (wheel / "pginstall18", closed_wheel / "pginstall18"),
        (wheel.with_name(closed_libraries.name), closed_libraries),
    ):
        if original.exists():
            subprocess.run(["cp", "-r", original, closed], check=True)
    monkeypatch.setattr(postgres, "install_directory", lambda: closed_wheel / "pginstall18")
    running = started(closed_data_dir)
    program = psutil.Process(running.process.pid).exe()
    assert program.startswith(f"/var/tmp/{places.place_name(closed_data_dir)}/install-")
    stop(running)


def test_dies_with_its_owner(
    data_dir: Path,
    run_program: Callable[..., subprocess.Popen[str]],
    eventually: Callable[..., None],
    living: Callable[[], list[psutil.Process]],
):
    owner = run_program(
        "import sys, time; from pathlib import Path; from dev import places, postgres\n"
        "from dev.processes import start, await_ready; data = Path(sys.argv[1])\n"
        "running = start(postgres.postgres_child(data, places.make_sockets(data)))\n"
        "await_ready(running); print('ready', flush=True); time.sleep(60)",
        data_dir,
    )
    assert owner.stdout is not None
    assert owner.stdout.readline() == "ready\n"
    assert len(living()) > 1
    owner.send_signal(signal.SIGKILL)
    owner.wait()
    eventually(lambda: not living())
