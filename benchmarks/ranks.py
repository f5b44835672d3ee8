"""Telling thousands of members their own rank, while the mall is at work.

Each watches `rankChanged` on a socket of their own. Four times a second one of them is given enough
points to be the first, by which all others fall: from the answer that confirms the commit to their
own frame is the delay. What watching costs the stores and the processes is the difference to the
same load without anybody who watches. Frames of the same size go through a bare `websockets` server
in the same run.
`python -m benchmarks.ranks` runs this one alone.
"""

import argparse
import asyncio
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import asyncpg
from redis.asyncio import Redis
from sqlalchemy import make_url

from benchmarks.exchanges import sign_everyone_in
from benchmarks.live import bare_sockets, build_boards, measure_bare, percentiles
from benchmarks.movements import Giver, move, movement_requests
from benchmarks.servers import Bench, bench, listeners
from benchmarks.subscribers import Arrivals, subscribe

_MARK_EVERY_S = 0.25
_LATEST_S = 10.0
_MOST_POINTS = 10**11
_STEP_POINTS = 10**6  # more than the load gives anyone
_BARE_ROUNDS = 20
_TRANSACTIONS = "SELECT sum(xact_commit)::bigint FROM pg_stat_database"
_RANK = {
    "id": "1",
    "type": "subscribe",
    "payload": {"query": "subscription { rankChanged { previousRank rank points } }"},
}


@dataclass(frozen=True, slots=True)
class Cost:
    """A second of it: processor seconds of a web process, commands and transactions of all."""

    processor_share: float
    redis_commands: float
    transactions: float


@dataclass(frozen=True, slots=True)
class RanksFound:
    """Delays in milliseconds."""

    watchers: int
    frames_per_second: float
    delays_ms: tuple[float, float]
    bare_delays_ms: tuple[float, float]
    watched: Cost
    unwatched: Cost

    def __str__(self) -> str:
        """Lines of the report."""
        (p50, p99), (bare_p50, bare_p99) = self.delays_ms, self.bare_delays_ms
        watched, unwatched = self.watched, self.unwatched
        return (
            f"{self.watchers:,} members watch their rank, {self.frames_per_second:,.0f} frames/s\n"
            f"  commit to frame   p50 {p50:,.0f} ms, p99 {p99:,.0f} ms (ranks are read 4 times a"
            f" second)\n"
            f"  bare websockets   p50 {bare_p50:,.0f} ms, p99 {bare_p99:,.0f} ms\n"
            f"  a second          with and without watchers: processor"
            f" {watched.processor_share:.0%} and {unwatched.processor_share:.0%} of a web process,"
            f" commands in Redis {watched.redis_commands:,.0f} and"
            f" {unwatched.redis_commands:,.0f},"
            f" transactions {watched.transactions:,.0f} and {unwatched.transactions:,.0f}"
        )


def run_ranks(
    running: Bench,
    requests: Iterator[bytes],
    *,
    watchers: int,
    per_second: int,
    duration_s: int,
) -> RanksFound:
    """Both in turn, for members who are signed in and make these requests (`movements`).

    Raises RuntimeError when a watcher was not told, or a movement was refused.
    """
    asyncio.run(build_boards(running))
    with bare_sockets(len(running.ports)) as bare_ports:
        load = _Load(running, requests, per_second, duration_s)
        return asyncio.run(_measure(load, bare_ports, watchers))


@dataclass(frozen=True, slots=True)
class _Load:
    """What the mall does meanwhile."""

    running: Bench
    requests: Iterator[bytes]
    per_second: int
    duration_s: int

    async def run(self, users: Sequence[int]) -> tuple[dict[int, float], Cost]:
        """When each of these users in turn became the first; what all of it cost."""
        before, started_at_s = await _counted(self.running), time.perf_counter()
        moving = asyncio.create_task(
            move(self.running, self.requests, self.per_second, self.duration_s)
        )
        marks = await _mark(Giver(self.running), users, self.duration_s)
        await moving
        elapsed_s = time.perf_counter() - started_at_s
        after = await _counted(self.running)
        processor, commands, transactions = (
            (now - then) / elapsed_s for now, then in zip(after, before, strict=True)
        )
        return marks, Cost(processor / len(self.running.ports), commands, transactions)


async def _measure(load: _Load, bare_ports: Sequence[int], watchers: int) -> RanksFound:
    marked = range(watchers, 0, -1)  # the last of them: all others fall
    before, unwatched = await load.run(marked)
    arrivals, running = Arrivals(), load.running
    says = [[_greeting(token), _RANK] for token in running.tokens[:watchers]]
    transports = await subscribe(running.ports, "/graphql", says, arrivals)
    arrivals.forget()
    marks, watched = await load.run(marked[len(before) :])
    frames = arrivals.frames
    delays_ms = await _delays_ms(marks, arrivals)
    for transport in transports:
        transport.close()
    bare_delays_ms, _ = await measure_bare(
        bare_ports, watchers, arrivals.longest_frame, _BARE_ROUNDS
    )
    return RanksFound(
        watchers, frames / load.duration_s, delays_ms, bare_delays_ms, watched, unwatched
    )


def _greeting(token: str) -> object:
    return {"type": "connection_init", "payload": {"Authorization": f"Bearer {token}"}}


async def _mark(giver: Giver, users: Sequence[int], duration_s: int) -> dict[int, float]:
    """Make one after another the first; when each was."""
    marks: dict[int, float] = {}
    end_s = time.perf_counter() + duration_s
    for user in users:
        if time.perf_counter() > end_s:
            return marks
        marks[user] = await giver.give(user, _points_of(user))
        await asyncio.sleep(_MARK_EVERY_S)
    raise RuntimeError("too few watchers for so long")


async def _delays_ms(marks: Mapping[int, float], arrivals: Arrivals) -> tuple[float, float]:
    """The median and the 99th percentile of the delays to those who were given the points."""
    await asyncio.sleep(_LATEST_S)
    delays: list[float] = []
    for user, answered_at_s in marks.items():
        seen = arrivals.seen[user - 1]
        told_at_s = next((at_s for at_s, points in seen if points >= _points_of(user)), None)
        if told_at_s is None:
            raise RuntimeError("a watcher was not told")
        delays.append((told_at_s - answered_at_s) * 1000)
    return percentiles(delays)


def _points_of(user: int) -> int:
    return _MOST_POINTS - user * _STEP_POINTS


async def _counted(running: Bench) -> tuple[float, float, float]:
    """Processor seconds of the web processes, commands to Redis, transactions so far."""
    times = [process.cpu_times() for process in listeners(running.ports)]
    async with Redis.from_url(running.environment["MALL_REDIS_URL"]) as redis:
        commands = (await redis.info("stats"))["total_commands_processed"]
    url = make_url(running.database_url).set(drivername="postgresql")
    connection = await asyncpg.connect(url.render_as_string(hide_password=False))
    transactions: int = await connection.fetchval(_TRANSACTIONS)
    await connection.close()
    return sum(each.user + each.system for each in times), commands, transactions


def main() -> None:
    """Run it alone, in a mall of its own."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.ranks")
    parser.add_argument("--users", type=int, default=10_000)
    parser.add_argument("--watchers", type=int, default=2_000)
    parser.add_argument("--per-second", type=int, default=200, help="exchanges and tasks")
    parser.add_argument("--seconds", type=int, default=20)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="mall-bench-") as directory:
        Path(directory).chmod(0o755)  # the database server may run as a user of its own
        with bench(Path(directory), users=options.users, items=1_000) as running:
            sign_everyone_in(running)
            found = run_ranks(
                running,
                movement_requests(running),
                watchers=options.watchers,
                per_second=options.per_second,
                duration_s=options.seconds,
            )
    print(found)


if __name__ == "__main__":
    main()
