"""`recommendations` in a large mall, against a bare route that runs one indexed select.

`python -m benchmarks.recommendations` runs it: 10,000 items, 200,000 members and 1,000,000
interactions unless it is told otherwise. It trains with the command first, and says how long.
"""

import argparse
import asyncio
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from statistics import median
from time import perf_counter

import orjson
from sqlalchemy import text

from benchmarks.load import Answers, drive, get, post
from benchmarks.ratio import Ratio
from benchmarks.servers import Bench, bench
from benchmarks.tastes import fill_tastes
from models.stores import create_engine
from settings import StoreSettings

MANY, FEW = 64, 4
"""Connections: many for how much can be answered, few for the time of one answer."""

_READERS, _NEWCOMERS = 2_000, 1_000
"""Members with a history and members without: the first and the last of the mall."""
_SHARE = 0.95
_ROOT = Path(__file__).parent.parent
_QUERY = b'{"query": "{ recommendations { item { id name points } score reason message } }"}'
_PRICES = text(
    """
    UPDATE exchange_items SET points = 1 + (id * 7919) % 5000,
        per_user_limit_count = CASE WHEN id % 2 = 0 THEN 3 END,
        per_user_limit_period = CASE WHEN id % 2 = 0 THEN 'month' END
    """
)


@dataclass(frozen=True, slots=True)
class Found:
    """Answers per second and 95th percentiles, both as ratios to the bare route's."""

    trained_s: float
    ratios: Sequence[Ratio]

    def __str__(self) -> str:
        """The lines of the report."""
        lines = [f"training: {self.trained_s:.1f} s", *map(str, self.ratios)]
        return "\n".join(lines)


def run_recommendations(
    bench: Bench, *, items: int, interactions: int, rounds: int, duration_s: int
) -> Found:
    """One web process against one bare process, in turn; every answer is checked."""
    asyncio.run(_fill(bench, items, interactions))
    began_s = perf_counter()
    command = [sys.executable, "cli.py", "recommendations", "train"]
    subprocess.run(command, cwd=_ROOT, env=dict(bench.environment), check=True)
    trained_s = perf_counter() - began_s
    random = Random(19)

    def readers() -> bytes:
        return post("/graphql", _QUERY, random.choice(bench.tokens[:_READERS]))

    def newcomers() -> bytes:
        return post("/graphql", _QUERY, random.choice(bench.tokens[-_NEWCOMERS:]))

    def bare() -> bytes:
        return get(f"/item?item={random.randint(1, items)}")

    def measure(
        ours: Callable[[], bytes], connections: int, figure: Callable[[Answers], float]
    ) -> list[tuple[float, float]]:
        return [
            (
                figure(_drive(bench.ports[0], ours, connections, duration_s)),
                figure(_drive(bench.bare_port, bare, connections, duration_s)),
            )
            for _ in range(rounds)
        ]

    of_all = f"of {items:,} items, {interactions:,} interactions, a bare select"
    ratios: list[Ratio] = []
    for whose, ours in (("members", readers), ("newcomers", newcomers)):
        per_second = measure(ours, MANY, lambda answers: answers.per_second)
        p95_ms = measure(ours, FEW, lambda answers: answers.percentile_ms(_SHARE))
        ratios.append(_ratio(f"recommendations to {whose} {of_all}", per_second))
        ratios.append(_ratio(f"their p95 {of_all}", p95_ms, unit=" ms"))
    return Found(trained_s, ratios)


def _ratio(name: str, pairs: Sequence[tuple[float, float]], unit: str = "/s") -> Ratio:
    ratios = tuple(mine / theirs for mine, theirs in pairs)
    mine, theirs = (median(column) for column in zip(*pairs, strict=True))
    return Ratio(name, mine, theirs, median(ratios), ratios, unit)


def _drive(port: int, request: Callable[[], bytes], connections: int, duration_s: int) -> Answers:
    async def run() -> Answers:
        return await drive(
            [port], request, _is_good, connections=connections, duration_s=duration_s
        )

    answers = asyncio.run(run())
    if answers.bad_count:
        raise RuntimeError(f"{answers.bad_count} bad answers, the first: {answers.bad}")
    return answers


def _is_good(body: bytes) -> bool:
    answer = orjson.loads(body)
    if "data" not in answer:
        return bool(answer)
    return "errors" not in answer and len(answer["data"]["recommendations"]) == 5


async def _fill(bench: Bench, items: int, interactions: int) -> None:
    engine = create_engine(
        StoreSettings(database_url=bench.database_url, database_statement_timeout_s=600)
    )
    async with engine.begin() as connection:
        await connection.execute(_PRICES)
    known = bench.users - _NEWCOMERS
    await fill_tastes(engine, users=known, items=items, interactions=interactions)
    await engine.dispose()


def main() -> None:
    """Run it alone."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.recommendations")
    parser.add_argument("--items", type=int, default=10_000)
    parser.add_argument("--members", type=int, default=200_000)
    parser.add_argument("--interactions", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=10)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="mall-bench-") as directory:
        Path(directory).chmod(0o755)
        size = {"users": options.members, "items": options.items}
        with bench(Path(directory), **size, processes=1) as running:
            print(
                run_recommendations(
                    running,
                    items=options.items,
                    interactions=options.interactions,
                    rounds=options.rounds,
                    duration_s=options.seconds,
                )
            )


if __name__ == "__main__":
    main()
