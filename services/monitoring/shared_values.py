"""Values of metrics that several processes share by files, so that one scrape reads them all.

prometheus-client keeps a file per process and kind of metric. Counters of a process that died stay
in the sums, its gauges do not. Who is alive is known by a lock that the kernel takes back with the
process, not by its number, which another may have by now.
"""

import fcntl
import os
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry, values
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead

_GUARD = "guard.lock"


@contextmanager
def sharing_values(directory: Path) -> Generator[None]:
    """Keep the values of metrics made from now on in the directory, until the block ends.

    Of the first process to come it clears what earlier ones left.
    """
    directory.mkdir(parents=True, exist_ok=True)
    # The library chooses when it is imported, by this variable alone: before settings are read.
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(directory)
    with _alive(directory):
        shared: Any = values.MultiProcessValue()
        values.ValueClass = shared
        yield


@contextmanager
def keeping_values(directory: Path) -> Generator[None]:
    """Keep the values of processes that die while none other lives; has none of its own."""
    directory.mkdir(parents=True, exist_ok=True)
    with _alive(directory):
        yield


def read_shared(directory: Path) -> CollectorRegistry:
    """What all processes have counted, and the gauges of those that live."""
    with _guarded(directory):
        _bury_dead(directory)
    registry = CollectorRegistry()
    MultiProcessCollector(registry, str(directory))
    return registry


@contextmanager
def _alive(directory: Path) -> Generator[None]:
    path = directory / f"{os.getpid()}.alive"
    with _guarded(directory):
        if not _bury_dead(directory):
            for left in directory.glob("*.db"):
                left.unlink()
        sign = path.open("w")
        fcntl.flock(sign, fcntl.LOCK_EX)
    with sign:
        yield


@contextmanager
def _guarded(directory: Path) -> Generator[None]:
    """One process at a time comes, or looks who has gone."""
    with (directory / _GUARD).open("w") as guard:
        fcntl.flock(guard, fcntl.LOCK_EX)
        yield


def _bury_dead(directory: Path) -> int:
    """Drop the gauges of processes that are gone; returns how many live."""
    living = 0
    for path in directory.glob("*.alive"):
        with path.open() as sign:
            if _is_held(sign.fileno()):
                living += 1
                continue
            mark_process_dead(int(path.stem), str(directory))
            path.unlink()
    return living


def _is_held(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    return False
