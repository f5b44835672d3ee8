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
import uuid
from bisect import bisect_left
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import cycle
from operator import itemgetter
from pathlib import Path

import orjson
import psutil

from benchmarks.exchanges import sign_everyone_in
from benchmarks.load import post
from benchmarks.movements import ask, move
from benchmarks.servers import SECRET, Bench, bench, free_port, started
from benchmarks.subscribers import Arrivals, masked, subscribe
from schema.ids import encode_id
from services.leaderboard.rebuild import rebuild
from services.mall import open_mall
from services.users.claims import Role
from services.users.tokens import issue_token
from settings import load_settings

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
_GRANT = """
mutation ($input: GrantPointsInput!) {
  grantPoints(input: $input) { __typename ... on GrantPointsSuccess { balance { available } } }
}
"""


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


def run_live(running: Bench, *, subscribers: int, per_second: int, duration_s: int) -> LiveFound:
    """Both in turn, for members who are signed in.

    Raises RuntimeError when a subscriber was not told, or a movement was refused.
    """
    asyncio.run(_build_boards(running))
    with ExitStack() as stack:
        bare_ports = tuple(free_port() for _ in running.ports)
        for port in bare_ports:
            command = [sys.executable, "-m", "benchmarks.bare_sockets", str(port)]
            stack.enter_context(started(command, port, {}))
        return asyncio.run(_measure(running, bare_ports, subscribers, per_second, duration_s))


async def _build_boards(running: Bench) -> None:
    os.environ.update(running.environment)
    async with open_mall(load_settings()) as mall:
        if await rebuild(mall.stores, mall.clock, mall.zone) is None:
            raise RuntimeError("somebody else builds the boards")


async def _measure(
    running: Bench, bare_ports: Sequence[int], subscribers: int, per_second: int, duration_s: int
) -> LiveFound:
    champion = _Champion(running)
    await champion.rise(10**9)
    arrivals, says = Arrivals(), [{"type": "connection_init"}, _BOARD]
    before = _rss_kib(running.ports)
    transports = await subscribe(running.ports, subscribers, "/graphql", says, arrivals)
    connection_kib = (_rss_kib(running.ports) - before) / subscribers
    arrivals.forget()
    load = asyncio.create_task(move(running, per_second, duration_s))
    marks = await _mark(champion, duration_s)
    moved = await load
    delays_ms = await _delays_ms(marks, arrivals)
    for transport in transports:
        transport.close()
    bare_delays_ms, bare_kib = await _measure_bare(bare_ports, subscribers, arrivals, len(marks))
    return LiveFound(
        subscribers,
        moved / duration_s,
        arrivals.frames,
        delays_ms,
        bare_delays_ms,
        connection_kib,
        bare_kib,
    )


class _Champion:
    """The first of the board, who is given points."""

    def __init__(self, running: Bench) -> None:
        self._ports = cycle(running.ports)
        self._token = issue_token(SECRET, "bench-till", [Role.SERVICE])
        self._run = uuid.uuid4().hex
        self._given = 0

    async def rise(self, points: int) -> tuple[float, int]:
        """Give them points; when that was answered, and how many they have on the board."""
        self._given += 1
        wanted = {"userId": encode_id("User", 1), "points": points, "source": "bench-champion"}
        key = f"{self._run}-{self._given}"
        variables = {"input": {**wanted, "idempotencyKey": key}}
        body = orjson.dumps({"query": _GRANT, "variables": variables})
        reader, writer = await asyncio.open_connection("127.0.0.1", next(self._ports))
        answer = await ask(reader, writer, post("/graphql", body, self._token))
        answered_at_s = time.perf_counter()
        writer.close()
        if b"GrantPointsSuccess" not in answer:
            raise RuntimeError(f"no points for the first: {answer!r}")
        return answered_at_s, self._given


async def _mark(champion: _Champion, duration_s: float) -> list[tuple[float, int]]:
    """When each point was given, and the how many-eth it was."""
    marks: list[tuple[float, int]] = []
    end_s = time.perf_counter() + duration_s
    while time.perf_counter() < end_s:
        marks.append(await champion.rise(1))
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
    return _percentiles(delays)


def _percentiles(delays: list[float]) -> tuple[float, float]:
    ordered = sorted(delays)
    return ordered[len(ordered) // 2], ordered[int(len(ordered) * 0.99)]


async def _measure_bare(
    ports: Sequence[int], subscribers: int, ours: Arrivals, marks: int
) -> tuple[tuple[float, float], float]:
    """The delays of as many frames of the same size through bare servers; KiB a connection."""
    arrivals = Arrivals()
    before = _rss_kib(ports)
    watching = await subscribe(ports, subscribers, "/", [], arrivals)
    connection_kib = (_rss_kib(ports) - before) / subscribers
    tellers = await subscribe(ports, len(ports), "/tell", [], arrivals)
    prepared = masked(ours.longest_frame)
    delays: list[float] = []
    for _ in range(marks):
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
    return _percentiles(delays), connection_kib


def _first(arrivals: Arrivals) -> list[float]:
    return [seen[0][0] for seen in arrivals.seen if seen]


def _rss_kib(ports: Sequence[int]) -> float:
    """What the processes of ours that listen there hold in memory."""
    return sum(
        process.memory_info().rss / 1024
        for process in psutil.Process().children()
        for connection in process.net_connections("tcp")
        if connection.status == psutil.CONN_LISTEN and connection.laddr.port in ports
    )


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
                subscribers=options.subscribers,
                per_second=options.per_second,
                duration_s=options.seconds,
            )
    print(found)


if __name__ == "__main__":
    main()
