"""How long `kpis` of a year takes, and keeping a day, against one plain aggregation of the same.

`python -m benchmarks.kpis` runs it alone; it also says how long `kpis rebuild` took.
"""

import argparse
import asyncio
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any
from zoneinfo import ZoneInfo

import asyncpg
import orjson

from benchmarks.imports import connect
from benchmarks.load import drive, post
from benchmarks.ratio import Ratio
from benchmarks.servers import SECRET, Bench, bench
from models.stores import open_stores
from services.calendar import day_start, local_day
from services.kpis.roll_up import keep_day
from services.transaction import transaction
from services.users.claims import Role
from services.users.tokens import issue_token
from settings import StoreSettings

DAYS, WINDOW_DAYS = 365, 30
_SEEN_EVERY_DAYS, _MOVED_EVERY_DAYS = 5, 73
_LONGEST_S = 1_800
_ROOT = Path(__file__).parent.parent
_ZONE = ZoneInfo("Asia/Shanghai")

# A fifth of the members is seen on a day; each is moved five times a year, and spends twice.
# $1 is when the first day begins. All in the order of time, as it would come.
_MOVED = f"""
    FROM generate_series(0, {DAYS - 1}) day,
         LATERAL generate_series(
             day % {_MOVED_EVERY_DAYS} + 1, {{users}}, {_MOVED_EVERY_DAYS}) member,
         LATERAL (SELECT $1::timestamptz + make_interval(days => day, secs => member % 86000) AS at,
                         100 + day / {_MOVED_EVERY_DAYS} AS number) moved
"""
_FILL = (
    "UPDATE users SET created_at = $1",
    f"""
    INSERT INTO points_audit_log (user_id, sequence, action, amount, points_before, points_after,
                                  source, details, created_at, created_by)
    SELECT member, number, CASE number % 2 WHEN 0 THEN 'earn' ELSE 'redeem' END,
           CASE number % 2 WHEN 0 THEN 10 ELSE -10 END, CASE number % 2 WHEN 0 THEN 0 ELSE 10 END,
           CASE number % 2 WHEN 0 THEN 10 ELSE 0 END, 'bench', '{{{{}}}}', at, 'bench'
    {_MOVED}
    """,
    f"""
    INSERT INTO exchanges (id, user_id, item_id, audit_sequence, points, status, created_at,
                           updated_at)
    SELECT uuidv7(), member, 1, number, 10, 'completed', at, at {_MOVED} WHERE number % 2 = 1
    """,
    f"""
    INSERT INTO lot_draws (user_id, sequence, position, points_record_id, points)
    SELECT member, number, 0, (SELECT id FROM points_records WHERE user_id = member LIMIT 1), 10
    {_MOVED} WHERE number % 2 = 1
    """,
    f"""
    INSERT INTO member_days (day, user_id)
    SELECT CAST($1::timestamptz + make_interval(days => day, hours => 12) AS date), member
    FROM generate_series(0, {DAYS - 1}) day,
         LATERAL generate_series(day % {_SEEN_EVERY_DAYS} + 1, {{users}}, {_SEEN_EVERY_DAYS}) member
    """,
)
_FILLED = "users, points_audit_log, exchanges, lot_draws, member_days"
_PLAIN = """
    WITH log AS (
        SELECT (created_at AT TIME ZONE $5)::date AS day,
               sum(amount) FILTER (WHERE action IN ('earn', 'reverse')) AS issued,
               -sum(amount) FILTER (WHERE action IN ('redeem', 'extend', 'refund')) AS redeemed
        FROM points_audit_log WHERE created_at >= $1 AND created_at < $2 GROUP BY 1
    ), seen AS (
        SELECT day, count(*) AS members FROM member_days WHERE day BETWEEN $3 AND $4 GROUP BY 1
    ), paid AS (
        SELECT (exchanges.created_at AT TIME ZONE $5)::date AS day, count(*) AS exchanges,
               sum(lot_draws.points * extract(epoch FROM exchanges.created_at - lot.created_at))
                   AS point_seconds
        FROM exchanges
        JOIN lot_draws ON lot_draws.user_id = exchanges.user_id AND sequence = audit_sequence
        JOIN points_records lot ON lot.id = points_record_id
        WHERE exchanges.created_at >= $1 AND exchanges.created_at < $2 GROUP BY 1
    )
    SELECT coalesce(sum(issued), 0)::bigint AS issued,
           coalesce(sum(redeemed), 0)::bigint AS redeemed,
           coalesce(sum(exchanges), 0)::bigint AS exchanges,
           coalesce(sum(members), 0)::bigint AS seen, sum(point_seconds) AS point_seconds
    FROM log FULL JOIN seen USING (day) FULL JOIN paid USING (day)
"""
_DISTINCT = "SELECT count(DISTINCT user_id) FROM member_days WHERE day > $1 AND day <= $2"
_KPIS = """query ($from: Date!, $to: Date!) { kpis(from: $from, to: $to) {
  exchangeRate pointsIssued pointsRedeemed averageExchangeCycleDays days { exchanges activeUsers }
} }"""
Found = tuple[int, int, int, int]
"""Points issued and redeemed, exchanges, and days on which members were seen."""


def run_kpis(bench: Bench, *, rounds: int) -> list[Ratio]:
    """A year of a mall in which all members do something, and one day of it."""
    last = local_day(datetime.now(UTC), _ZONE) - timedelta(days=1)
    first = last - timedelta(days=DAYS - 1)
    asyncio.run(_fill(bench, first))
    rebuild_s = _rebuild(bench)
    print(f"  kpis rebuild of {bench.users:,} members took {rebuild_s:.1f} s", flush=True)
    token = issue_token(SECRET, "bench-operator", [Role.OPERATOR])
    year: list[tuple[float, float]] = []
    for _ in range(rounds + 1):
        took_ms, found = asyncio.run(_ask_ms(bench, first, last, token))
        plain_ms, expected = asyncio.run(_plain_ms(bench, first, last, with_window=True))
        if found != expected:
            raise RuntimeError(f"kpis said {found}, the plain statement {expected}")
        year.append((took_ms, plain_ms))
    day = [asyncio.run(_day_ms(bench, last - timedelta(days=n))) for n in range(rounds + 1)]
    members = f"of {bench.users:,} members, plain sums"
    # The first reads what the others find in memory.
    return [_ratio(f"kpis of a year {members}", year[1:]), _ratio(f"a day {members}", day[1:])]


def _ratio(name: str, pairs: Sequence[tuple[float, float]]) -> Ratio:
    for ours, plain in pairs:
        print(f"  {name}: {ours:,.0f} ms against {plain:,.0f} ms", flush=True)
    ratios = tuple(ours / plain for ours, plain in pairs)
    ours, plain = (median(column) for column in zip(*pairs, strict=True))
    return Ratio(name, ours, plain, median(ratios), ratios, unit=" ms")


async def _fill(bench: Bench, first: date) -> None:
    connection = await connect(bench.database_url)
    try:
        await connection.execute(f"SET timezone = '{_ZONE.key}'")
        for statement in _FILL:
            sql = statement.format(users=bench.users)
            await connection.execute(sql, day_start(first, _ZONE), timeout=_LONGEST_S)
        await connection.execute(f"VACUUM ANALYZE {_FILLED}", timeout=_LONGEST_S)
    finally:
        await connection.close()


def _rebuild(bench: Bench) -> float:
    """Keep every day and month by the command; seconds that it took."""
    environment = {**os.environ, **bench.environment}
    began_s = perf_counter()
    command = [sys.executable, "cli.py", "kpis", "rebuild"]
    nowhere = subprocess.DEVNULL
    subprocess.run(command, cwd=_ROOT, env=environment, check=True, stdout=nowhere, stderr=nowhere)
    return perf_counter() - began_s


async def _ask_ms(bench: Bench, first: date, last: date, token: str) -> tuple[float, Found]:
    """Ask as an operator does, over HTTP."""
    bodies: list[dict[str, Any]] = []

    def check(body: bytes) -> bool:
        bodies.append(orjson.loads(body))
        return "errors" not in bodies[-1]

    variables = {"from": first.isoformat(), "to": last.isoformat()}
    request = post("/graphql", orjson.dumps({"query": _KPIS, "variables": variables}), token)
    once = iter([request])
    answers = await drive(bench.ports[:1], once.__next__, check, connections=1, duration_s=60)
    if answers.bad_count:
        raise RuntimeError(f"bad answers, the first: {answers.bad}")
    kpis = bodies[0]["data"]["kpis"]
    exchanges, seen = (
        sum(each[name] for each in kpis["days"]) for name in ("exchanges", "activeUsers")
    )
    return answers.latencies_ms[0], (kpis["pointsIssued"], kpis["pointsRedeemed"], exchanges, seen)


async def _plain_ms(
    bench: Bench, first: date, last: date, *, with_window: bool
) -> tuple[float, Found]:
    """Count the days in one statement, and who was there in the month that ends with them."""
    connection = await connect(bench.database_url)
    try:
        await connection.execute("SET jit = off")
        began_s = perf_counter()
        row = await _count(connection, first, last)
        if with_window:
            since = last - timedelta(days=WINDOW_DAYS)
            await connection.fetchval(_DISTINCT, since, last, timeout=_LONGEST_S)
        took_ms = (perf_counter() - began_s) * 1_000
    finally:
        await connection.close()
    return took_ms, (row["issued"], row["redeemed"], row["exchanges"], row["seen"])


async def _count(connection: asyncpg.Connection, first: date, last: date) -> asyncpg.Record:
    since, until = day_start(first, _ZONE), day_start(last + timedelta(days=1), _ZONE)
    asked = (since, until, first, last, _ZONE.key)
    row = await connection.fetchrow(_PLAIN, *asked, timeout=_LONGEST_S)
    assert row is not None  # an aggregate always has one
    return row


async def _day_ms(bench: Bench, day: date) -> tuple[float, float]:
    """Keep a day as the nightly job does, commit included; and count it plainly."""
    settings = StoreSettings(
        database_url=bench.database_url, redis_url=bench.environment["MALL_REDIS_URL"]
    )
    async with open_stores(settings) as stores:
        async with transaction(stores.bulk) as session:  # who connects first pays for that
            await keep_day(session, day, datetime.now(UTC), _ZONE)
        began_s = perf_counter()
        async with transaction(stores.bulk) as session:
            await keep_day(session, day, datetime.now(UTC), _ZONE)
        took_ms = (perf_counter() - began_s) * 1_000
    plain_ms, _ = await _plain_ms(bench, day, day, with_window=False)
    return took_ms, plain_ms


def main() -> None:
    """Run it alone."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.kpis")
    parser.add_argument("--members", type=int, default=200_000)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="mall-bench-") as directory:
        Path(directory).chmod(0o755)
        print(f"Filling a mall with {options.members:,} members ...", flush=True)
        with bench(Path(directory), users=options.members, items=1, processes=1) as running:
            for ratio in run_kpis(running, rounds=options.rounds):
                print(ratio)


if __name__ == "__main__":
    main()
