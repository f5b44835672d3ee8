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

from prometheus_client import CollectorRegistry, generate_latest, values
from prometheus_client.mmap_dict import MmapedDict
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead

_GUARD = "guard.lock"
_KINDS = ("counter", "histogram", "gauge_livesum")
"""Of metrics, as the library names its files."""


@contextmanager
def sharing_values(directory: Path) -> Generator[None]:
    """Keep the values of metrics made from now on in the directory, until the block ends.

    Of the first process to come it clears what earlier ones left.
    """
    directory.mkdir(parents=True, exist_ok=True)
    # The library chooses when it is imported, by this variable alone: before settings are read.
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(directory)
    with _alive(directory):
        with _guarded(directory):
            _make_files(directory)
        shared: Any = values.MultiProcessValue()
        values.ValueClass = shared
        yield


@contextmanager
def keeping_values(directory: Path) -> Generator[None]:
    """Keep the values of processes that die while none other lives; has none of its own."""
    directory.mkdir(parents=True, exist_ok=True)
    with _alive(directory):
        yield


def read_shared(directory: Path) -> bytes:
    """What all processes have counted, and the gauges of those that live, for Prometheus."""
    registry = CollectorRegistry()
    MultiProcessCollector(registry, str(directory))
    with _guarded(directory):
        _bury_dead(directory)
        return generate_latest(registry)


def _make_files(directory: Path) -> None:
    """While nobody reads: the library cannot read a file that was made an instant ago."""
    for kind in _KINDS:
        MmapedDict(str(directory / f"{kind}_{os.getpid()}.db")).close()


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
    """One process at a time comes, or reads and looks who has gone."""
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
