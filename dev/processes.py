"""Child processes: in sessions of their own, bound to this process's life, stopped in steps."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path

from dev.errors import DevError

Process = subprocess.Popen[bytes]

_LAUNCH = Path(__file__).with_name("launch.py")
_POLL_S = 0.05
_HURRIED_GRACE_S = 1.0
_KILLED_GRACE_S = 5.0
_TAIL_LINES = 20
_TAIL_BYTES = 16 * 1024


class ChildError(DevError):
    """A child process does not do what it should."""


class ChildExitedError(ChildError):
    """A child ended before it was ready."""

    def __init__(self, name: str, ending: str, log_tail: str) -> None:
        super().__init__(f"{name} {ending} before it was ready\n{log_tail}".rstrip())
        self.name = name
        self.log_tail = log_tail


class ChildNotReadyError(ChildError):
    """A child runs but did not become ready in time."""

    def __init__(self, name: str, timeout_s: float, log_tail: str) -> None:
        super().__init__(f"{name} was not ready within {timeout_s:g} s\n{log_tail}".rstrip())
        self.name = name
        self.timeout_s = timeout_s
        self.log_tail = log_tail


class ChildSurvivesError(ChildError):
    """A child is still there after SIGKILL."""

    def __init__(self, name: str, pid: int) -> None:
        super().__init__(f"{name} (process {pid}) survived SIGKILL")
        self.name = name
        self.pid = pid


class NotInMainThreadError(ChildError):
    """Children must be started from the main thread."""

    def __init__(self, program: str) -> None:
        # Linux ties the death signal to the creating thread: its end would stop the child.
        super().__init__(f"{program} must be started from the main thread")
        self.program = program


@dataclass(frozen=True, slots=True)
class Account:
    """A user of this machine to run a program as."""

    name: str
    user_id: int
    group_id: int


@dataclass(frozen=True, slots=True)
class StopStep:
    """A signal and how long the child has to end after it."""

    signal: signal.Signals
    grace_s: float


def at_once() -> bool:
    """Be ready as soon as started."""
    return True


def never() -> bool:
    """Neither interrupted nor in a hurry."""
    return False


@dataclass(frozen=True, slots=True)
class Child:
    """How to start a process, tell that it is ready and stop it; servers and commands alike.

    ``spawn`` starts it and returns at once; it is called again after a death.
    """

    name: str
    spawn: Callable[[], Process]
    is_ready: Callable[[], bool] = at_once
    ready_timeout_s: float = 60.0
    stop_steps: tuple[StopStep, ...] = (StopStep(signal.SIGTERM, 10.0),)
    log: Path | None = None


@dataclass(slots=True)
class RunningChild:
    """A child and its present process; a restart replaces the process."""

    child: Child
    process: Process


def spawn(
    argv: Sequence[str | Path],
    *,
    death_signal: signal.Signals = signal.SIGTERM,
    log: Path | None = None,
    environment: Mapping[str, str] | None = None,
    working_directory: Path | None = None,
    account: Account | None = None,
) -> Process:
    """Start a program in its own session; on Linux it gets ``death_signal`` when this process dies.

    Output is appended to ``log``, or goes where this process's goes. Raises NotInMainThreadError.
    """
    if threading.current_thread() is not threading.main_thread():
        raise NotInMainThreadError(str(argv[0]))
    ids = (account.user_id, account.group_id) if account else (-1, -1)
    launch = [sys.executable, "-I", "-S", _LAUNCH, os.getpid(), int(death_signal), *ids]
    with log.open("ab") if log else nullcontext() as output:
        return subprocess.Popen(
            [str(word) for word in (*launch, *argv)],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env=environment,
            cwd=working_directory,
            start_new_session=True,
        )


def start(child: Child) -> RunningChild:
    """Start a child without waiting for it to be ready."""
    return RunningChild(child, child.spawn())


def await_ready(running: RunningChild, interrupted: Callable[[], bool] = never) -> bool:
    """Wait until the child is ready; False when interrupted before.

    Raises ChildExitedError or ChildNotReadyError, with the end of the child's log.
    """
    child, deadline = running.child, time.monotonic() + running.child.ready_timeout_s
    while not interrupted():
        if running.process.poll() is not None:
            kill_group(running.process)
            raise ChildExitedError(child.name, ending(running.process), log_tail(child.log))
        if child.is_ready():
            return True
        if time.monotonic() > deadline:
            raise ChildNotReadyError(child.name, child.ready_timeout_s, log_tail(child.log))
        time.sleep(_POLL_S)
    return False


def stop(running: RunningChild, in_a_hurry: Callable[[], bool] = never) -> None:
    """Stop a child step by step, then kill what is left of it; nothing happens to a stopped one.

    In a hurry every step has at most a second. Raises ChildSurvivesError.
    """
    process = running.process
    if process.returncode is not None:
        return  # its process group was seen to when its end was noticed
    try:
        for step in running.child.stop_steps:
            if process.poll() is None:
                process.send_signal(step.signal)
                _await_end(process, step.grace_s, in_a_hurry)
    finally:
        # Also when a second Ctrl-C interrupts the waiting; and for children that it left behind.
        kill_group(process)
    if not _await_end(process, _KILLED_GRACE_S, never):
        raise ChildSurvivesError(running.child.name, process.pid)


def kill_group(process: Process) -> None:
    """Kill the child and whatever it left behind in its process group."""
    with suppress(ProcessLookupError, PermissionError):  # gone; macOS says EPERM of zombies
        os.killpg(process.pid, signal.SIGKILL)


def _await_end(process: Process, grace_s: float, in_a_hurry: Callable[[], bool]) -> bool:
    began = time.monotonic()
    while process.poll() is None:
        limit_s = min(grace_s, _HURRIED_GRACE_S) if in_a_hurry() else grace_s
        if time.monotonic() - began > limit_s:
            return False
        time.sleep(_POLL_S)
    return True


def ending(process: Process) -> str:
    """How a process that is no more ended, in words."""
    code = process.returncode
    if code < 0:
        return f"was killed by {signal.Signals(-code).name}"
    return f"ended with exit code {code}"


def log_tail(log: Path | None) -> str:
    """Return the last lines of a log, nothing when there is no log."""
    if log is None or not log.exists():
        return ""
    with log.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - _TAIL_BYTES))
        lines = file.read().decode(errors="replace").splitlines()
    return "\n".join(lines[-_TAIL_LINES:])
