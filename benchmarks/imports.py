"""Importing files by the commands, against a bare COPY of the same file into a table as wide."""

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import asyncpg

from benchmarks.memory import read_peak_mib
from benchmarks.servers import Bench

_ROOT = Path(__file__).parent.parent
_LOOK_EVERY_S = 0.1
_ADD_POOL = """
    INSERT INTO exchange_items (name, points, stock, total_stock, type, config)
    VALUES ('imported codes', 10, 0, 0, 'coupon', '{}') RETURNING id
"""


@dataclass(frozen=True, slots=True)
class Import:
    """What importing a file took, and what a bare COPY of it took."""

    name: str
    lines: int
    duration_s: float
    bare_duration_s: float
    peak_mib: float

    def __str__(self) -> str:
        """A line of the report."""
        return (
            f"{self.name:<24} {self.bare_duration_s / self.duration_s:.3f}   ({self.lines:,} lines,"
            f" {self.lines / self.duration_s:,.0f}/s against"
            f" {self.lines / self.bare_duration_s:,.0f}/s; peak {self.peak_mib:,.0f} MiB)"
        )


def run_imports(bench: Bench, directory: Path, *, lines: int) -> list[Import]:
    """A file of coupon codes and one of opening balances; raises when a line was not imported."""
    codes, balances = directory / "codes.csv", directory / "balances.csv"
    _write(codes, "code", (f"BENCH-{number:012d}" for number in range(lines)))
    _write(balances, "user,points", (f"new-{n},{n % 5_000 + 1}" for n in range(lines)))
    item_id = asyncio.run(_fetch_value(bench.database_url, _ADD_POOL))
    pool = ("coupons", "import", "--item", str(item_id))
    return [
        _measure(bench, "coupons import", pool, codes, "code text", lines),
        _measure(
            bench,
            "points import",
            ("points", "import"),
            balances,
            "member text, points bigint",
            lines,
        ),
    ]


def _write(path: Path, header: str, lines: Iterable[str]) -> None:
    with path.open("w") as file:
        file.write(f"{header}\n")
        file.writelines(f"{line}\n" for line in lines)


def _measure(
    bench: Bench, name: str, command: tuple[str, ...], path: Path, columns: str, lines: int
) -> Import:
    bare_duration_s = asyncio.run(_copy(bench.database_url, path, columns))
    started_at_s = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "cli.py", *command, str(path)],
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
    if process.returncode or f"{lines:,} imported" not in said:
        raise RuntimeError(f"{name} went wrong: {said}")
    return Import(name, lines, duration_s, bare_duration_s, peak_mib)


def watch(process: subprocess.Popen[str]) -> float:
    """Wait for its end; the most memory it was seen to have held, in MiB."""
    peak_mib = 0.0
    while process.poll() is None:
        peak_mib = max(peak_mib, read_peak_mib(process.pid))
        time.sleep(_LOOK_EVERY_S)
    return peak_mib


async def connect(database_url: str) -> asyncpg.Connection:
    """A connection without the limits of the mall's own."""
    sockets = parse_qs(urlsplit(database_url).query)["host"][0]
    return await asyncpg.connect(host=sockets, user="postgres", database="mall")


async def _fetch_value(database_url: str, sql: str) -> object:
    connection = await connect(database_url)
    try:
        return await connection.fetchval(sql)
    finally:
        await connection.close()


async def _copy(database_url: str, path: Path, columns: str) -> float:
    connection = await connect(database_url)
    try:
        await connection.execute(f"CREATE TABLE bare_copy ({columns})")
        started_at_s = time.perf_counter()
        await connection.copy_to_table("bare_copy", source=str(path), format="csv", header=True)
        duration_s = time.perf_counter() - started_at_s
        await connection.execute("DROP TABLE bare_copy")
        return duration_s
    finally:
        await connection.close()
