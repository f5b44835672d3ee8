"""Servers that still run although whoever started them was killed."""

import time
from signal import Signals

import psutil

from dev.errors import DevError
from dev.processes import StopStep

_POLL_S = 0.05


class OrphansRemainError(DevError):
    """Processes of an earlier start do not end."""

    def __init__(self, program: str, pids: list[int]) -> None:
        super().__init__(f"{program} of an earlier start does not end: processes {pids}")
        self.program = program
        self.pids = pids


def stop_orphans(program: str, mark: str, steps: tuple[StopStep, ...]) -> None:
    """Stop, step by step, the processes of the program whose command line contains the mark.

    Raises OrphansRemainError.
    """
    for step in steps:
        _send_to_first(_processes(program, mark), step.signal)
        if _await_none(program, mark, step.grace_s):
            return
    remaining = [process.pid for process in _processes(program, mark)]
    if remaining:
        raise OrphansRemainError(program, remaining)


def is_alive(pid: int, program: str, mark: str) -> bool:
    """Tell whether this process lives, is of the program and has the mark in its command line."""
    return any(process.pid == pid for process in _processes(program, mark))


def _processes(program: str, mark: str) -> list[psutil.Process]:
    # By command line: a working directory is hidden from root in a container, this never is.
    return [
        process
        for process in psutil.process_iter(["name", "cmdline", "status"])
        if process.info["name"] == program
        and process.info["status"] != psutil.STATUS_ZOMBIE
        and _may_bear(process.info["cmdline"], mark)
    ]


def _may_bear(command_line: list[str] | None, mark: str) -> bool:
    # An empty one is of a process about to die, which may still hold its files and shared memory.
    return command_line is not None and (not command_line or mark in " ".join(command_line))


def _send_to_first(processes: list[psutil.Process], signal: Signals) -> None:
    """Signal the processes that are no children of others: they see to their children."""
    pids = {process.pid for process in processes}
    for process in processes:
        try:
            if process.ppid() not in pids:
                process.send_signal(signal)
        except psutil.NoSuchProcess:
            continue  # it ended by itself, which is what was wanted


def _await_none(program: str, mark: str, timeout_s: float) -> bool:
    deadline = time.monotonic() + timeout_s
    while _processes(program, mark):
        if time.monotonic() > deadline:
            return False
        time.sleep(_POLL_S)
    return True
