"""Telling many who watch a board what moved, while the mall is at work.

Members exchange and complete tasks at a steady rate; now and then the first of the board is given
a point, and every frame says how many they have: from the answer that confirms the commit to the
frame that shows it is the delay. The same frames go through a bare `websockets` server in the same
run.
`python -m benchmarks.live` runs this one alone.
"""

import argparse
import asyncio
import os
import sys
import tempfile
import time
from bisect import bisect_left
from collections.abc import Generator, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path

from benchmarks.exchanges import sign_everyone_in
from benchmarks.movements import Giver, move, movement_requests
from benchmarks.servers import Bench, bench, free_port, listeners, started
from benchmarks.subscribers import Arrivals, masked, subscribe
from services.leaderboard.rebuild import rebuild
from services.mall import open_mall
from settings import load_settings

_CHAMPION = 1
"""The user who is the first of the board."""
_MARK_EVERY_S = 0.5
_LATEST_S = 5.0
_BOARD = {
    "id": "1",
    "type": "subscribe",
    "payload": {
        "query": "subscription { leaderboardChanged(top: 10) {"
        " totalUsers entries { rank points user { username avatarUrl } } } }"
    },
}


@dataclass(frozen=True, slots=True)
class LiveFound:
    """Delays in milliseconds; memory of the servers' processes, a connection, in KiB."""

    subscribers: int
    movements_per_second: float
    frames: int
    delays_ms: tuple[float, float]
    bare_delays_ms: tuple[float, float]
    connection_kib: float
    bare_connection_kib: float

    def __str__(self) -> str:
        """Lines of the report."""
        p50, p99 = self.delays_ms
        bare_p50, bare_p99 = self.bare_delays_ms
        return (
            f"{self.subscribers:,} subscribers, {self.movements_per_second:,.0f} movements/s,"
            f" {self.frames:,} frames\n"
            f"  commit to frame   p50 {p50:,.0f} ms, p99 {p99:,.0f} ms (boards are read 4 times a"
            f" second)\n"
            f"  bare websockets   p50 {bare_p50:,.0f} ms, p99 {bare_p99:,.0f} ms\n"
            f"  a connection      {self.connection_kib:,.0f} KiB against"
            f" {self.bare_connection_kib:,.0f} KiB"
        )


def run_live(
    running: Bench,
    requests: Iterator[bytes],
    *,
    subscribers: int,
    per_second: int,
    duration_s: int,
) -> LiveFound:
    """Both in turn, for members who are signed in and make these requests (`movements`).

    Raises RuntimeError when a subscriber was not told, or a movement was refused.
    """
    asyncio.run(build_boards(running))
    with bare_sockets(len(running.ports)) as bare_ports:
        return asyncio.run(
            _measure(running, bare_ports, requests, subscribers, per_second, duration_s)
        )


@contextmanager
def bare_sockets(processes: int) -> Generator[tuple[int, ...]]:
    """The ports of so many bare `websockets` servers."""
    with ExitStack() as stack:
        ports = tuple(free_port() for _ in range(processes))
        for port in ports:
            command = [sys.executable, "-m", "benchmarks.bare_sockets", str(port)]
            stack.enter_context(started(command, port, {}))
        yield ports


async def build_boards(running: Bench) -> None:
    """Build the boards of a mall that was filled behind its back."""
    os.environ.update(running.environment)
    async with open_mall(load_settings()) as mall:
        if await rebuild(mall.stores, mall.clock, mall.zone) is None:
            raise RuntimeError("somebody else builds the boards")


async def _measure(
    running: Bench,
    bare_ports: Sequence[int],
    requests: Iterator[bytes],
    subscribers: int,
    per_second: int,
    duration_s: int,
) -> LiveFound:
    giver = Giver(running)
    await giver.give(_CHAMPION, 10**9)
    arrivals, says = Arrivals(), [{"type": "connection_init"}, _BOARD]
    before = _rss_kib(running.ports)
    transports = await subscribe(running.ports, "/graphql", [says] * subscribers, arrivals)
    connection_kib = (_rss_kib(running.ports) - before) / subscribers
    arrivals.forget()
    load = asyncio.create_task(move(running, requests, per_second, duration_s))
    marks = await _mark(giver, duration_s)
    moved = await load
    delays_ms = await _delays_ms(marks, arrivals)
    for transport in transports:
        transport.close()
    bare_delays_ms, bare_kib = await measure_bare(
        bare_ports, subscribers, arrivals.longest_frame, len(marks)
    )
    return LiveFound(
        subscribers,
        moved / duration_s,
        arrivals.frames,
        delays_ms,
        bare_delays_ms,
        connection_kib,
        bare_kib,
    )


async def _mark(giver: Giver, duration_s: float) -> list[tuple[float, int]]:
    """When each point was given, and the how many-eth it was."""
    marks: list[tuple[float, int]] = []
    end_s = time.perf_counter() + duration_s
    while time.perf_counter() < end_s:
        marks.append((await giver.give(_CHAMPION, 1), len(marks)))
        await asyncio.sleep(_MARK_EVERY_S)
    return marks


async def _delays_ms(marks: Sequence[tuple[float, int]], arrivals: Arrivals) -> tuple[float, float]:
    """The median and the 99th percentile of all marks' delays to all subscribers."""
    await asyncio.sleep(_LATEST_S)
    last = max(points for seen in arrivals.seen for _, points in seen)
    delays: list[float] = []
    for answered_at_s, number in marks:
        points = last - (marks[-1][1] - number)
        for seen in arrivals.seen:
            place = bisect_left(seen, points, key=itemgetter(1))
            if place == len(seen):
                raise RuntimeError("a subscriber was not told")
            delays.append((seen[place][0] - answered_at_s) * 1000)
    return percentiles(delays)


def percentiles(delays: list[float]) -> tuple[float, float]:
    """The median and the 99th percentile."""
    ordered = sorted(delays)
    return ordered[len(ordered) // 2], ordered[int(len(ordered) * 0.99)]


async def measure_bare(
    ports: Sequence[int], subscribers: int, frame: bytes, rounds: int
) -> tuple[tuple[float, float], float]:
    """The delays of so many such frames to all through bare servers; KiB a connection."""
    arrivals = Arrivals()
    before = _rss_kib(ports)
    watching = await subscribe(ports, "/", [[]] * subscribers, arrivals)
    connection_kib = (_rss_kib(ports) - before) / subscribers
    tellers = await subscribe(ports, "/tell", [[]] * len(ports), arrivals)
    prepared = masked(frame)
    delays: list[float] = []
    for _ in range(rounds):
        arrivals.forget()
        told_at_s = time.perf_counter()
        for teller in tellers:
            teller.write(prepared)
        async with asyncio.timeout(_LATEST_S):
            while arrivals.frames < subscribers:  # noqa: ASYNC110 - they only count
                await asyncio.sleep(0.001)
        delays += [(arrived_at_s - told_at_s) * 1000 for arrived_at_s in _first(arrivals)]
        await asyncio.sleep(_MARK_EVERY_S / 5)
    for transport in (*watching, *tellers):
        transport.close()
    return percentiles(delays), connection_kib


def _first(arrivals: Arrivals) -> list[float]:
    return [seen[0][0] for seen in arrivals.seen if seen]


def _rss_kib(ports: Sequence[int]) -> float:
    """What the processes that listen there hold in memory."""
    return sum(process.memory_info().rss / 1024 for process in listeners(ports))


def main() -> None:
    """Run it alone, in a mall of its own."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.live")
    parser.add_argument("--users", type=int, default=10_000)
    parser.add_argument("--subscribers", type=int, default=1_000)
    parser.add_argument("--per-second", type=int, default=200, help="exchanges and tasks")
    parser.add_argument("--seconds", type=int, default=20)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="mall-bench-") as directory:
        Path(directory).chmod(0o755)  # the database server may run as a user of its own
        with bench(Path(directory), users=options.users, items=1_000) as running:
            sign_everyone_in(running)
            found = run_live(
                running,
                movement_requests(running),
                subscribers=options.subscribers,
                per_second=options.per_second,
                duration_s=options.seconds,
            )
    print(found)


if __name__ == "__main__":
    main()
