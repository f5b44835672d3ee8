"""Runs commands beside the embedded servers: restarts who dies, stops everyone in the end."""

import errno
import os
import signal
import socket
import sys
import time
from collections import defaultdict, deque
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import FrameType

from dev.errors import DevError
from dev.processes import (
    Child,
    ChildError,
    ChildExitedError,
    Process,
    RunningChild,
    StopStep,
    at_once,
    await_ready,
    ending,
    kill_group,
    log_tail,
    spawn,
    start,
    stop,
)

_MOST_DEATHS = 5
_DEATHS_WINDOW_S = 60.0
_FIRST_PAUSE_S = 0.1  # doubles with every death in the window: a store may be restarting, too
_POLL_S = 0.1
_ECHO_S = 0.5
_STOP_GRACE_S = 10.0


class PortTakenError(DevError):
    """Another program listens on the port."""

    def __init__(self, host: str, port: int) -> None:
        super().__init__(
            f"port {port} on {host} is taken: stop the program that listens there "
            f"or choose another port"
        )
        self.host = host
        self.port = port


class DiesTooOftenError(ChildError):
    """A child died again and again."""

    def __init__(self, name: str, deaths: int, log: Path | None) -> None:
        super().__init__(
            f"{name} died {deaths} times within {_DEATHS_WINDOW_S:g} s: giving up\n"
            f"{log_tail(log)}".rstrip()
        )
        self.name = name
        self.deaths = deaths


@dataclass(frozen=True, slots=True)
class ProcessSpec:
    """A command to keep running.

    ``environment`` is added to this process's. Without ``log`` output goes where this process's
    goes. The command has ``stop_grace_s`` to end after SIGTERM.
    """

    name: str
    argv: Sequence[str]
    environment: Mapping[str, str] = field(default_factory=dict[str, str])
    log: Path | None = None
    is_ready: Callable[[], bool] = at_once
    ready_timeout_s: float = 60.0
    stop_grace_s: float = _STOP_GRACE_S


@dataclass(slots=True)
class _Requests:
    """Who asked to stop: a first signal stops gently, a later one in a hurry."""

    first_at_s: float | None = None
    hurried: bool = False

    def receive(self, _signal: int, _frame: FrameType | None) -> None:
        now = time.monotonic()
        if self.first_at_s is None:
            self.first_at_s = now
        # make passes on a signal that its whole group already got: that is no second wish.
        elif now - self.first_at_s > _ECHO_S:
            self.hurried = True

    def stopping(self) -> bool:
        return self.first_at_s is not None

    def in_a_hurry(self) -> bool:
        return self.hurried


def run_children(
    specs: Sequence[ProcessSpec],
    *,
    servers: Sequence[RunningChild] = (),
    on_ready: Callable[[], None] | None = None,
) -> int:
    """Start the commands in order and keep them and the servers running until asked to stop.

    SIGINT, SIGTERM or SIGHUP stops the commands and then the servers, in reverse order, within the
    sum of their stop steps; a second signal kills harder. Returns the exit code: 0 when asked to
    stop, 1 when a child failed for good. ``on_ready`` is called once, when all are ready.
    Must be called from the main thread.
    """
    family = list(servers)
    with _received_signals() as requests, ExitStack() as stack:
        for server in family:
            stack.callback(stop, server, requests.in_a_hurry)
        try:
            _start_all(specs, family, stack, requests)
            if on_ready is not None and not requests.stopping():
                on_ready()
            _watch(family, requests)
        except DevError as error:
            _say(str(error))
            return 1
    return 0


def port_is_free(host: str, port: int) -> bool:
    """Tell whether a server could listen there now; raises OSError when the host is no good."""
    kinds = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    return all(_can_bind(family, address) for family, _, _, _, address in kinds)


def require_free_port(host: str, port: int) -> None:
    """Raise PortTakenError when another program listens there."""
    if not port_is_free(host, port):
        raise PortTakenError(host, port)


def _can_bind(family: int, address: tuple[object, ...]) -> bool:
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        # As servers do: a port whose last connections are still fading is free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(address)
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                return False
            raise
    return True


def _start_all(
    specs: Sequence[ProcessSpec],
    family: list[RunningChild],
    stack: ExitStack,
    requests: _Requests,
) -> None:
    for spec in specs:
        if requests.stopping():
            return
        running = start(_child(spec))
        stack.callback(stop, running, requests.in_a_hurry)
        family.append(running)
        await_ready(running, requests.stopping)


def _child(spec: ProcessSpec) -> Child:
    return Child(
        name=spec.name,
        spawn=partial(_spawn, spec),
        is_ready=spec.is_ready,
        ready_timeout_s=spec.ready_timeout_s,
        stop_steps=(StopStep(signal.SIGTERM, spec.stop_grace_s),),
        log=spec.log,
    )


def _spawn(spec: ProcessSpec) -> Process:
    return spawn(spec.argv, log=spec.log, environment={**os.environ, **spec.environment})


def _watch(family: Sequence[RunningChild], requests: _Requests) -> None:
    """Restart who dies until asked to stop; raises DiesTooOftenError or ChildNotReadyError."""
    deaths_s: defaultdict[str, deque[float]] = defaultdict(deque)
    while not requests.stopping():
        # The servers come first: what needs them can only start after them.
        dead = next((running for running in family if running.process.poll() is not None), None)
        if dead is None:
            time.sleep(_POLL_S)
        else:
            _restart(dead, deaths_s[dead.child.name], requests)


def _restart(dead: RunningChild, deaths_s: deque[float], requests: _Requests) -> None:
    kill_group(dead.process)
    count = _count_death(deaths_s)
    how = ending(dead.process)
    if count > _MOST_DEATHS:
        raise DiesTooOftenError(dead.child.name, count, dead.child.log)
    _say(f"{dead.child.name} {how}: restarting")
    _pause(_FIRST_PAUSE_S * 2 ** (count - 1), requests)
    if requests.stopping():
        return
    dead.process = dead.child.spawn()
    _await_restarted(dead, requests)


def _await_restarted(running: RunningChild, requests: _Requests) -> None:
    try:
        if await_ready(running, requests.stopping):
            _say(f"{running.child.name} runs again")
    except ChildExitedError:
        return  # the next round finds it dead and counts that


def _count_death(deaths_s: deque[float]) -> int:
    now = time.monotonic()
    deaths_s.append(now)
    while now - deaths_s[0] > _DEATHS_WINDOW_S:
        deaths_s.popleft()
    return len(deaths_s)


def _pause(duration_s: float, requests: _Requests) -> None:
    until = time.monotonic() + duration_s
    while time.monotonic() < until and not requests.stopping():
        time.sleep(_POLL_S)


@contextmanager
def _received_signals() -> Generator[_Requests]:
    requests = _Requests()
    names = [signal.SIGINT, signal.SIGTERM]
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # nohup means it
        names.append(signal.SIGHUP)
    before = {name: signal.signal(name, requests.receive) for name in names}
    try:
        yield requests
    finally:
        for name, handler in before.items():
            signal.signal(name, handler)


def _say(message: str) -> None:
    print(message, file=sys.stderr, flush=True)
