"""Training: how long it takes and how much memory it holds, at 1 M and 10 M interactions.

By the command that an operator runs, on the database, with how both follow the number.
`python -m benchmarks.recommendations_training` runs it alone.
"""

import argparse
import asyncio
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import text

from benchmarks.imports import watch
from benchmarks.servers import Bench, bench
from models.stores import create_engine
from settings import StoreSettings

MEMBERS, ITEMS = 200_000, 10_000
_ROOT = Path(__file__).parent.parent
_A_PIECE = 500_000

# Views, for nothing else about them has to be right. Popularity falls with the square of a chance,
# and members of one remainder share a part of the catalogue, so that there is something to learn.
# Activity has a long tail, too: the work grows with the squares of how much each member took.
_VIEWS = text(
    """
    INSERT INTO events (event_id, user_id, type, occurred_at, attributes, viewed_item_id,
                        recorded_at)
    SELECT 'bench-' || n, user_id, 'view', now() - random() * interval '90 days', '{}', item_id,
           now()
    FROM (
        SELECT n, user_id,
               1 + CAST(floor(power(random(), 2) * CAST(:items AS integer) / 10) AS bigint) * 10
                   + user_id % 10 AS item_id
        FROM (
            SELECT n, 1 + CAST(
                floor(power(random(), 1.5) * CAST(:users AS integer)) AS bigint) AS user_id
            FROM generate_series(CAST(:first AS bigint), CAST(:last AS bigint)) n
        ) viewer
    ) viewed
    """
)


@dataclass(frozen=True, slots=True)
class Training:
    """One training: how much there was, how long it took, the most memory it held."""

    interactions: int
    pairs: int
    duration_s: float
    peak_mib: float

    def __str__(self) -> str:
        """A line of the report."""
        return (
            f"training on {self.interactions:>11,} views   {self.duration_s:7.1f} s"
            f"   peak {self.peak_mib:6,.0f} MiB   ({self.pairs:,} pairs of member and item)"
        )


def run_training(bench: Bench, *, sizes: Sequence[int]) -> list[Training]:
    """Fill up to each of the sizes, which rise, and train; raises when a training went wrong."""
    found: list[Training] = []
    filled = 0
    for size in sizes:
        asyncio.run(_view(bench, filled, size))
        filled = size
        found.append(_measure(bench, size))
        print(f"  {found[-1]}", flush=True)
    return found


def growth(found: Sequence[Training]) -> str:
    """By how much the last training was larger than the first, and what that cost."""
    first, last = found[0], found[-1]
    return (
        f"{last.interactions / first.interactions:.0f} times the views:"
        f" {last.duration_s / first.duration_s:.1f} times the time,"
        f" {last.peak_mib / first.peak_mib:.1f} times the memory"
    )


async def _view(bench: Bench, filled: int, size: int) -> None:
    engine = create_engine(
        StoreSettings(database_url=bench.database_url, database_statement_timeout_s=600)
    )
    for first in range(filled + 1, size + 1, _A_PIECE):
        last = min(first + _A_PIECE - 1, size)
        facts = {"first": first, "last": last, "users": bench.users, "items": ITEMS}
        async with engine.begin() as connection:
            await connection.execute(_VIEWS, facts)
    async with engine.connect() as connection:
        await connection.execution_options(isolation_level="AUTOCOMMIT")
        await connection.execute(text("VACUUM ANALYZE events"))
    await engine.dispose()


def _measure(bench: Bench, size: int) -> Training:
    started_at_s = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "cli.py", "recommendations", "train"],
        cwd=_ROOT,
        env={**os.environ, **bench.environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdout is not None
    peak_mib = watch(process)
    said = process.stdout.read()
    duration_s = time.perf_counter() - started_at_s
    match = re.search(r"is ready: ([\d,]+) interactions", said)
    if process.returncode or match is None:
        raise RuntimeError(f"training went wrong: {said}")
    return Training(size, int(match[1].replace(",", "")), duration_s, peak_mib)


def main() -> None:
    """Run it alone."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.recommendations_training")
    parser.add_argument("--interactions", type=int, nargs="+", default=[1_000_000, 10_000_000])
    parser.add_argument("--members", type=int, default=MEMBERS)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="mall-bench-") as directory:
        Path(directory).chmod(0o755)  # the database server may run as a user of its own
        print(f"Filling a mall with {options.members:,} members ...", flush=True)
        with bench(Path(directory), users=options.members, items=ITEMS, processes=1) as running:
            print(growth(run_training(running, sizes=options.interactions)))


if __name__ == "__main__":
    main()
