"""How long `results` takes over many events, against one plain statement of averages by variant.

`python -m benchmarks.experiments` runs it.
"""

import argparse
import asyncio
import tempfile
from pathlib import Path
from statistics import median
from time import perf_counter

import orjson

from benchmarks.imports import connect
from benchmarks.load import drive, post
from benchmarks.ratio import Ratio
from benchmarks.servers import SECRET, Bench, bench
from services.users.claims import Role
from services.users.tokens import issue_token

EVENTS_A_USER = 10
_LONGEST_S = 600
_FILL = (
    """
    INSERT INTO experiments (key, status, traffic_buckets, variants, salt, started_at)
    VALUES ('bench', 'running', 10000, '[{"key": "A", "weight": 1, "payload": null},
            {"key": "B", "weight": 1, "payload": null}]', 'salt', now())
    """,
    """
    INSERT INTO ab_tests (experiment_id, user_id, variant, design, exposed_at)
    SELECT experiments.id, users.id, (ARRAY['A', 'B'])[users.id % 2 + 1], 1, now()
    FROM experiments, users WHERE key = 'bench'
    """,
    # In the order of time, not of users, as they would come.
    """
    INSERT INTO experiment_events (user_id, event_id, experiment_id, metric, value, recorded_at)
    SELECT users.id, 'bench-' || n, experiments.id, 'spent', random() * 100, now()
    FROM generate_series(1, {events_a_user}) n, users, experiments WHERE key = 'bench'
    """,
    "VACUUM ANALYZE experiment_events",
    "VACUUM ANALYZE ab_tests",
)
_PLAIN = """
    SELECT variant, count(DISTINCT given.user_id), count(*) AS samples, avg(value), var_samp(value)
    FROM experiment_events JOIN ab_tests given USING (experiment_id, user_id)
    WHERE experiment_id = (SELECT id FROM experiments WHERE key = 'bench') AND metric = 'spent'
    GROUP BY variant
"""
_RESULTS = b"""{"query": "{ experiments { key results(metric: \\"spent\\") {
 sampleRatioPValue variants { uniqueUsers totalSamples averageValue conversionRate lift pValue
 sequentialInterval } } } }"}""".replace(b"\n", b"")


def run_experiments(bench: Bench, *, rounds: int) -> Ratio:
    """An operator's question over ten events of every user of the mall, against the plain one."""
    asyncio.run(_fill(bench))
    samples = bench.users * EVENTS_A_USER
    pairs = [
        (asyncio.run(_ours_ms(bench, samples)), asyncio.run(_plain_ms(bench, samples)))
        for _ in range(rounds + 1)
    ][1:]  # the first reads what the others find in memory
    for mine, theirs in pairs:
        print(f"  results: {mine:,.0f} ms against {theirs:,.0f} ms", flush=True)
    ratios = tuple(mine / theirs for mine, theirs in pairs)
    mine, theirs = (median(column) for column in zip(*pairs, strict=True))
    name = f"results over {samples:,} events, plain averages"
    return Ratio(name, mine, theirs, median(ratios), ratios, unit=" ms")


async def _fill(bench: Bench) -> None:
    connection = await connect(bench.database_url)
    try:
        for statement in _FILL:
            await connection.execute(
                statement.replace("{events_a_user}", str(EVENTS_A_USER)), timeout=_LONGEST_S
            )
    finally:
        await connection.close()


async def _ours_ms(bench: Bench, samples: int) -> float:
    def check(body: bytes) -> bool:
        found = {each["key"]: each["results"] for each in orjson.loads(body)["data"]["experiments"]}
        return sum(each["totalSamples"] for each in found["bench"]["variants"]) == samples

    token = issue_token(SECRET, "bench-operator", [Role.OPERATOR])
    once = iter([post("/graphql", _RESULTS, token)])
    answers = await drive(bench.ports[:1], once.__next__, check, connections=1, duration_s=60)
    if answers.bad_count:
        raise RuntimeError(f"bad answers, the first: {answers.bad}")
    return answers.latencies_ms[0]


async def _plain_ms(bench: Bench, samples: int) -> float:
    connection = await connect(bench.database_url)
    try:
        began_s = perf_counter()
        rows = await connection.fetch(_PLAIN, timeout=_LONGEST_S)
        took_ms = (perf_counter() - began_s) * 1_000
    finally:
        await connection.close()
    if sum(row["samples"] for row in rows) != samples:
        raise RuntimeError(f"the plain statement found {rows}, not {samples:,}")
    return took_ms


def main() -> None:
    """Run it alone."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.experiments")
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    users = options.events // EVENTS_A_USER
    with tempfile.TemporaryDirectory(prefix="mall-bench-") as directory:
        Path(directory).chmod(0o755)
        print(f"Filling a mall with {users:,} members ...", flush=True)
        with bench(Path(directory), users=users, items=1, processes=1) as running:
            print(run_experiments(running, rounds=options.rounds))


if __name__ == "__main__":
    main()
