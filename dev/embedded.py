"""The embedded stores of a data directory: started once, shared by whoever comes later."""

import fcntl
import os
import signal
import threading
import time
from collections.abc import Generator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from dev import places, postgres, valkey
from dev.errors import DevError
from dev.postgres import PostgresOptions, postgres_child
from dev.processes import RunningChild, await_ready, start, stop
from dev.valkey import valkey_child

_ATTACH_TIMEOUT_S = 60.0  # a first start creates the cluster; on a slow disk that takes a while
_POLL_S = 0.1


class StoresBusyError(DevError):
    """Another process owns the data directory but its servers do not answer."""

    def __init__(self, data_dir: Path, owner: str, waited_s: float) -> None:
        super().__init__(
            f"{data_dir} is in use ({owner or 'owner unknown'}) "
            f"but its servers did not answer within {waited_s:g} s"
        )
        self.data_dir = data_dir
        self.owner = owner
        self.waited_s = waited_s


@dataclass(frozen=True, slots=True)
class StoreUrls:
    """Where the stores are, whether they were started here and, if so, their processes."""

    database_url: str
    redis_url: str
    started: bool
    servers: tuple[RunningChild, ...] = ()


@contextmanager
def embedded_stores(
    data_dir: Path,
    *,
    durable: bool = True,
    max_connections: int = 200,
    shared_buffers_mb: int = 256,
    settings: Mapping[str, str] | None = None,
) -> Generator[StoreUrls]:
    """Attach to the stores of the data directory, or start them and stop them in the end.

    Must be entered from the main thread. While the stores are owned here, SIGTERM raises
    KeyboardInterrupt as SIGINT does, so that they are stopped.
    Raises StoresBusyError, ChildError, PostgresError, ValkeyMissingError, PlaceError and
    OrphansRemainError.
    """
    data_dir = data_dir.absolute()
    data_dir.mkdir(parents=True, exist_ok=True)
    options = PostgresOptions(durable, max_connections, shared_buffers_mb, settings or {})
    with ExitStack() as stack:
        lock = stack.enter_context((data_dir / "lock").open("a+b"))
        attached = _attach_unless_free(lock, data_dir)
        if attached is None:
            stack.enter_context(_terminated_like_interrupted())
            attached = _start(stack, data_dir, options)
            _note(lock, "ready")
        yield attached


def _attach_unless_free(lock: BinaryIO, data_dir: Path) -> StoreUrls | None:
    """Return the owner's stores, or None with the lock held: then this process is the owner."""
    deadline = time.monotonic() + _ATTACH_TIMEOUT_S
    seen: StoreUrls | None = None
    while not _take(lock):
        owner = _owner(lock)
        attached = _running(data_dir) if owner.endswith("ready") else None
        # Twice: an owner that was just killed holds the lock, and its servers answer, a bit longer.
        if attached is not None and attached == seen:
            return attached
        if time.monotonic() > deadline:
            raise StoresBusyError(data_dir, owner, _ATTACH_TIMEOUT_S)
        seen = attached
        time.sleep(_POLL_S)
    _note(lock, "starting")
    return None


def _owner(lock: BinaryIO) -> str:
    lock.seek(0)
    return lock.read().decode()


def _take(lock: BinaryIO) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _note(lock: BinaryIO, state: str) -> None:
    lock.truncate(0)  # opened for appending: what is written next is all there is
    lock.write(f"process {os.getpid()} {state}".encode())
    lock.flush()


def _running(data_dir: Path) -> StoreUrls | None:
    database_url = postgres.running_url(data_dir)
    redis_url = valkey.running_url(data_dir)
    if database_url is None or redis_url is None:
        return None
    return StoreUrls(database_url, redis_url, started=False)


def _start(stack: ExitStack, data_dir: Path, options: PostgresOptions) -> StoreUrls:
    sockets = places.make_sockets(data_dir)
    stack.callback(places.remove_sockets, data_dir)
    servers: list[RunningChild] = []
    for child in (postgres_child(data_dir, sockets, options), valkey_child(data_dir, sockets)):
        servers.append(start(child))
        # Each is stopped even when a second Ctrl-C interrupts the stopping of the other.
        stack.callback(stop, servers[-1])
    for server in servers:
        await_ready(server)
    postgres.create_database(sockets)
    return StoreUrls(
        postgres.database_url(sockets),
        valkey.redis_url(sockets),
        started=True,
        servers=tuple(servers),
    )


@contextmanager
def _terminated_like_interrupted() -> Generator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread may set handlers; starting will refuse by itself
        return
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
