"""Expiring lots by the job while members exchange, against one plain statement on an idle copy.

`python -m benchmarks.expiry` runs it alone, with as many members as the lots need.
"""

import argparse
import asyncio
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random
from time import perf_counter
from urllib.parse import parse_qs, urlsplit

import asyncpg

from benchmarks.exchanges import exchange_requests, is_settled, sign_everyone_in
from benchmarks.load import Answers, drive
from benchmarks.servers import Bench, bench

LOTS_A_MEMBER = 5
_ITEMS = 1_000
_CONNECTIONS = 8
_LONGEST_S = 3_600
_POLL_S = 0.1
_UNTIL_GONE_S, _UNTIL_STARTED_S = 1.0, 5.0
_ROOT = Path(__file__).parent.parent

_ADD_DUE = """
    WITH lots AS (
        INSERT INTO points_records (id, user_id, points, original_points, source, status,
                                    expires_at, created_at)
        SELECT uuidv7(), member, 10, 10, 'due', 'active', now() - interval '1 second',
               now() - interval '1 year'
        FROM generate_series(1, $1::int) member, generate_series(1, $2::int)
    ), members AS (
        UPDATE users SET points = points + 10 * $2, lifetime_earned = lifetime_earned + 10 * $2,
                         audit_sequence = audit_sequence + 1
        WHERE id <= $1 RETURNING id, audit_sequence, points
    )
    INSERT INTO points_audit_log (user_id, sequence, action, amount, points_before, points_after,
                                  source, details, created_at, created_by)
    SELECT id, audit_sequence, 'earn', 10 * $2, points - 10 * $2, points, 'due', '{}', now(),
           'bench'
    FROM members
"""
_PLAIN = """
    WITH due AS (
        UPDATE points_records SET status = 'expired'
        WHERE status = 'active' AND expires_at <= now()
        RETURNING id, user_id, points
    ), lost AS (
        SELECT user_id, sum(points) AS points, jsonb_object_agg(id, points) AS lots
        FROM due GROUP BY user_id
    ), members AS (
        UPDATE users SET points = users.points - lost.points,
                         lifetime_expired = lifetime_expired + lost.points,
                         audit_sequence = audit_sequence + 1
        FROM lost WHERE users.id = lost.user_id
        RETURNING users.id, audit_sequence, users.points, lost.points AS lost, lots
    )
    INSERT INTO points_audit_log (user_id, sequence, action, amount, points_before, points_after,
                                  source, details, created_at, created_by)
    SELECT id, audit_sequence, 'expire', -lost, points + lost, points, 'expiry',
           jsonb_build_object('lots', lots), now(), 'system'
    FROM members
"""
_COUNT_DUE = "SELECT count(*) FROM points_records WHERE status = 'active' AND expires_at <= now()"
_ASK = "INSERT INTO outbox (job, payload) VALUES ('expire_points', '{}') RETURNING id"
_TOOK = "SELECT extract(epoch FROM done_at - sent_at)::float8 FROM outbox WHERE id = $1"


@dataclass(frozen=True, slots=True)
class Expiry:
    """What ending the lots took, and how long exchanges took before and meanwhile."""

    lots: int
    duration_s: float
    plain_duration_s: float
    before: Answers
    during: Answers

    def __str__(self) -> str:
        """Lines of the report."""
        rate = (
            f"{'expiry':<24} {self.plain_duration_s / self.duration_s:.3f}   ({self.lots:,} lots,"
            f" {self.lots / self.duration_s:,.0f}/s against"
            f" {self.lots / self.plain_duration_s:,.0f}/s by one statement on an idle copy)"
        )
        waits = (
            f"    exchanges at p{share * 100:.0f}: {self.during.percentile_ms(share):.1f} ms"
            f" during it, {self.before.percentile_ms(share):.1f} ms before:"
            f" {self.during.percentile_ms(share) / self.before.percentile_ms(share):.2f} times"
            for share in (0.5, 0.99)
        )
        return "\n".join((rate, *waits))


def run_expiry(bench: Bench, *, lots: int, duration_s: int) -> Expiry:
    """Expire that many lots of the members who exchange; raises when any was not."""
    members = lots // LOTS_A_MEMBER
    if members > bench.users:
        raise ValueError(f"{lots:,} lots need {members:,} members, not {bench.users:,}")
    return asyncio.run(_measure(bench, members, duration_s))


async def _measure(bench: Bench, members: int, duration_s: int) -> Expiry:
    requests = exchange_requests(bench.tokens[:members], _ITEMS, Random(7))
    with _worker(bench):
        await _exchange(bench, requests, duration_s)  # the worker starts meanwhile
        before = await _exchange(bench, requests, duration_s)
    await _add_due_lots(bench, members)
    plain_duration_s = await _expire_plainly(bench, members)
    with _worker(bench):
        # Copying has cut all connections, which the servers notice now, while the worker starts.
        await _exchange(bench, requests, _UNTIL_STARTED_S, may_fail=True)
        return await _expire_by_job(bench, requests, before, plain_duration_s)


async def _add_due_lots(bench: Bench, members: int) -> None:
    connection = await _connect(bench, "mall")
    await connection.execute(_ADD_DUE, members, LOTS_A_MEMBER, timeout=_LONGEST_S)
    await connection.execute("VACUUM ANALYZE points_records, users, points_audit_log")
    await connection.close()


async def _expire_by_job(
    bench: Bench, requests: Iterator[bytes], before: Answers, plain_duration_s: float
) -> Expiry:
    connection = await _connect(bench, "mall")
    lots = int(await connection.fetchval(_COUNT_DUE) or 0)
    identifier = await connection.fetchval(_ASK)
    is_over = asyncio.Event()

    def next_request() -> bytes:
        if is_over.is_set():
            raise StopIteration
        return next(requests)

    exchanging = asyncio.create_task(_exchange(bench, next_request, _LONGEST_S))
    try:
        took_s: float | None = None
        while took_s is None:
            await asyncio.sleep(_POLL_S)
            took_s = await connection.fetchval(_TOOK, identifier)
    finally:
        is_over.set()
        during = await exchanging
    remaining = await connection.fetchval(_COUNT_DUE)
    await connection.close()
    if remaining:
        raise RuntimeError(f"{remaining:,} lots were not expired")
    return Expiry(lots, took_s, plain_duration_s, before, during)


async def _exchange(
    bench: Bench,
    requests: Iterator[bytes] | Callable[[], bytes],
    duration_s: float,
    *,
    may_fail: bool = False,
) -> Answers:
    """Few at a time: how long an answer takes is asked, not how many there are in a second."""
    next_request = requests if callable(requests) else requests.__next__
    answers = await drive(
        bench.ports, next_request, is_settled, connections=_CONNECTIONS, duration_s=duration_s
    )
    if answers.bad_count and not may_fail:
        raise RuntimeError(f"{answers.bad_count} bad answers, the first: {answers.bad}")
    return answers


async def _expire_plainly(bench: Bench, members: int) -> float:
    """How long one statement takes for the same on a copy that nobody else uses."""
    administrator = await _connect(bench, "postgres")
    await administrator.execute("ALTER DATABASE mall ALLOW_CONNECTIONS false")
    try:
        await administrator.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'mall'"
        )
        await asyncio.sleep(
            _UNTIL_GONE_S
        )  # until they are gone; the servers connect again by themselves
        await administrator.execute(
            "CREATE DATABASE idle_copy TEMPLATE mall STRATEGY file_copy", timeout=_LONGEST_S
        )
    finally:
        await administrator.execute("ALTER DATABASE mall ALLOW_CONNECTIONS true")
    copy = await _connect(bench, "idle_copy")
    started_at_s = perf_counter()
    tag = await copy.execute(_PLAIN, timeout=_LONGEST_S)
    duration_s = perf_counter() - started_at_s
    remaining = await copy.fetchval(_COUNT_DUE)
    await copy.close()
    await administrator.execute("DROP DATABASE idle_copy")
    await administrator.close()
    if tag != f"INSERT 0 {members}" or remaining:
        raise RuntimeError(f"the plain statement did {tag} and left {remaining} lots")
    return duration_s


async def _connect(bench: Bench, database: str) -> asyncpg.Connection:
    sockets = parse_qs(urlsplit(bench.database_url).query)["host"][0]
    return await asyncpg.connect(host=sockets, user="postgres", database=database)


@contextmanager
def _worker(bench: Bench) -> Generator[None]:
    command = [sys.executable, "cli.py", "worker"]
    process = subprocess.Popen(command, cwd=_ROOT, env={**os.environ, **bench.environment})
    try:
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=60)


def main() -> None:
    """Run it alone."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.expiry")
    parser.add_argument("--lots", type=int, default=100_000)
    parser.add_argument("--seconds", type=int, default=10, help="of exchanges before it")
    options = parser.parse_args()
    members = options.lots // LOTS_A_MEMBER
    with tempfile.TemporaryDirectory(prefix="mall-bench-") as directory:
        Path(directory).chmod(0o755)  # the database server may run as a user of its own
        print(f"Filling a mall with {members:,} members ...", flush=True)
        with bench(Path(directory), users=members, items=_ITEMS) as running:
            sign_everyone_in(running)
            print(run_expiry(running, lots=options.lots, duration_s=options.seconds))


if __name__ == "__main__":
    main()
