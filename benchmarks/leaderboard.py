"""`leaderboard` and `myRank` per second among a million members, against bare Redis commands.

`python -m benchmarks.leaderboard` runs it alone; it also says how long building the boards took, by
the command and by itself after FLUSHALL.
"""

import argparse
import asyncio
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from pathlib import Path
from random import Random
from statistics import median
from time import perf_counter
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import orjson
from redis.asyncio import Redis
from sqlalchemy import text

from benchmarks.load import Answers, Check, drive, post
from benchmarks.ratio import Ratio
from benchmarks.servers import Bench, bench
from models.leaderboard import LeaderboardPeriod
from models.stores import create_engine
from services.leaderboard.boards import BOARDS_KEY, Board
from settings import StoreSettings

CONNECTIONS = 64
_READERS, _ITEMS = 2_000, 10
_ROOT = Path(__file__).parent.parent
_TOP = b'{"query": "{ leaderboard(top: 10) { entries { rank points user { username } } } }"}'
_OWN = b'{"query": "{ myRank { rank points topPercentage pointsToNext } }"}'
_BOARD = Board(LeaderboardPeriod.ALL_TIME).key

_LOST_FOR_S_MAX = 120
_LOOK_EVERY_S = 0.02

# Different points for most, some ties: as members have them, on all boards. Nothing verifies these
# books.
_SPREAD = (
    """
    UPDATE users SET ranked_points = 1 + (id * 7919) % 1000003,
                     ranked_at = now() - make_interval(secs => id % 86400)
    """,
    """
    INSERT INTO daily_earnings (user_id, day, points, last_at)
    SELECT id, CAST(now() AT TIME ZONE 'Asia/Shanghai' AS date), ranked_points, ranked_at
    FROM users
    ON CONFLICT (user_id, day) DO UPDATE SET points = excluded.points, last_at = excluded.last_at
    """,
)
_JSON = {"Content-Type": "application/json"}
Ask = Callable[[Redis], Awaitable[Any]]


def run_leaderboard(bench: Bench, *, rounds: int, duration_s: int) -> list[Ratio]:
    """One web process against bare commands over as many connections, in turn."""
    random, tokens = Random(17), bench.tokens[:_READERS]
    build_s = _build(bench)
    print(f"  boards of {bench.users:,} members were built in {build_s:.1f} s", flush=True)
    members = asyncio.run(_some_members(bench))
    back_s = _come_back(bench, members)
    print(f"  after FLUSHALL they were the same again in {back_s:.1f} s", flush=True)

    async def top(redis: Redis) -> None:
        await redis.zrange(_BOARD, 0, 9, withscores=True)

    async def own(redis: Redis) -> None:
        await redis.zrank(_BOARD, random.choice(members))

    def ask_top() -> bytes:
        return post("/graphql", _TOP)

    def ask_own() -> bytes:
        return post("/graphql", _OWN, random.choice(tokens))

    return [
        _run(
            bench, "leaderboard(top: 10)", ask_top, _shows("leaderboard"), top, rounds, duration_s
        ),
        _run(bench, "myRank", ask_own, _shows("myRank"), own, rounds, duration_s),
    ]


def _run(
    bench: Bench,
    name: str,
    request: Callable[[], bytes],
    check: Check,
    ask: Ask,
    rounds: int,
    duration_s: int,
) -> Ratio:
    pairs: list[tuple[float, float]] = []
    for _ in range(rounds):
        ours = asyncio.run(_drive(bench.ports[0], request, check, duration_s))
        pairs.append((ours, asyncio.run(_bare(bench, ask, duration_s))))
        print(f"  {name}: {pairs[-1][0]:,.0f}/s against {pairs[-1][1]:,.0f}/s", flush=True)
    ratios = tuple(ours / bare for ours, bare in pairs)
    ours, bare = (median(column) for column in zip(*pairs, strict=True))
    name = f"{name} of {bench.users:,}, bare commands"
    return Ratio(name, ours, bare, median(ratios), ratios)


async def _drive(port: int, request: Callable[[], bytes], check: Check, duration_s: int) -> float:
    answers: Answers = await drive(
        [port], request, check, connections=CONNECTIONS, duration_s=duration_s
    )
    if answers.bad_count:
        raise RuntimeError(f"{answers.bad_count} bad answers, the first: {answers.bad}")
    return answers.per_second


async def _bare(bench: Bench, ask: Ask, duration_s: int) -> float:
    """Commands per second of as many clients that do nothing else."""
    end_s, count = perf_counter() + duration_s, 0

    async def client() -> None:
        nonlocal count
        async with Redis.from_url(bench.environment["MALL_REDIS_URL"]) as redis:
            while perf_counter() < end_s:
                await ask(redis)
                count += 1

    await asyncio.gather(*(client() for _ in range(CONNECTIONS)))
    return count / duration_s


def _shows(field: str) -> Check:
    def check(body: bytes) -> bool:
        answer = orjson.loads(body)
        return "errors" not in answer and bool(answer["data"][field])

    return check


def _build(bench: Bench) -> float:
    """Give members different points, build the boards by the command; seconds that it took."""
    asyncio.run(_spread(bench.database_url))
    began_s = perf_counter()
    command = [sys.executable, "cli.py", "leaderboard", "rebuild"]
    subprocess.run(
        command, cwd=_ROOT, env=dict(bench.environment), check=True, stderr=subprocess.DEVNULL
    )
    return perf_counter() - began_s


async def _spread(database_url: str) -> None:
    engine = create_engine(
        StoreSettings(database_url=database_url, database_statement_timeout_s=600)
    )
    async with engine.begin() as connection:
        for statement in _SPREAD:
            await connection.execute(text(statement))
    await engine.dispose()


async def _some_members(bench: Bench) -> list[bytes]:
    async with Redis.from_url(bench.environment["MALL_REDIS_URL"]) as redis:
        step = max(1, bench.users // _READERS)
        pipeline = redis.pipeline(transaction=False)
        for rank in range(0, bench.users, step):
            pipeline.zrange(_BOARD, rank, rank)
        return [line[0] for line in await pipeline.execute() if line]


def _come_back(bench: Bench, members: Sequence[bytes]) -> float:
    """Empty Redis below a web process that members ask, and a worker; seconds until it is whole.

    Twice, and the second time counts: at first the worker may still be starting. Raises when the
    ranks are others than before.
    """
    environment = {**os.environ, **bench.environment}
    worker = subprocess.Popen([sys.executable, "cli.py", "worker"], cwd=_ROOT, env=environment)
    try:
        asyncio.run(_lose(bench))
        lost_for_s = asyncio.run(_lose(bench))
    finally:
        worker.send_signal(signal.SIGTERM)
        worker.wait(timeout=60)
    if asyncio.run(_some_members(bench)) != members:
        raise RuntimeError("the ranks are others than before FLUSHALL")
    return lost_for_s


async def _lose(bench: Bench) -> float:
    asking = asyncio.create_task(_ask_on(bench.ports[0]))
    try:
        async with Redis.from_url(bench.environment["MALL_REDIS_URL"]) as redis:
            began_s = perf_counter()
            await redis.flushall()
            while (lost_for_s := perf_counter() - began_s) < _LOST_FOR_S_MAX:
                if await redis.hexists(BOARDS_KEY, "server"):
                    return lost_for_s
                await asyncio.sleep(_LOOK_EVERY_S)
            raise RuntimeError(f"the boards did not come back in {_LOST_FOR_S_MAX} s")
    finally:
        asking.cancel()
        await asyncio.wait([asking])


async def _ask_on(port: int) -> None:
    """One member who looks at the board ten times a second, as an answer comes."""

    def ask() -> None:
        asked = Request(f"http://127.0.0.1:{port}/graphql", _TOP, _JSON)
        with suppress(HTTPError), urlopen(asked, timeout=30) as answer:
            answer.read()

    while True:
        await asyncio.to_thread(ask)
        await asyncio.sleep(0.1)


def main() -> None:
    """Run it alone."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.leaderboard")
    parser.add_argument("--members", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=10)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="mall-bench-") as directory:
        Path(directory).chmod(0o755)
        with bench(Path(directory), users=options.members, items=_ITEMS, processes=1) as running:
            for ratio in run_leaderboard(
                running, rounds=options.rounds, duration_s=options.seconds
            ):
                print(ratio)


if __name__ == "__main__":
    main()
