"""`make bench`: every benchmark, and a report of their ratios.

Numbers of one machine say little; ratios between two things measured in turn on it say more.
"""

import argparse
import tempfile
from pathlib import Path

from benchmarks.broadcast import BroadcastFound, run_broadcast
from benchmarks.exchanges import run_exchanges, sign_everyone_in
from benchmarks.experiments import run_experiments
from benchmarks.expiry import run_expiry
from benchmarks.imports import run_imports
from benchmarks.kpis import run_kpis
from benchmarks.leaderboard import run_leaderboard
from benchmarks.live import run_live
from benchmarks.movements import movement_requests
from benchmarks.ranks import run_ranks
from benchmarks.ratio import Ratio
from benchmarks.reads import run_reads
from benchmarks.recommendations import Found, run_recommendations
from benchmarks.search import run_search
from benchmarks.servers import Bench, bench
from benchmarks.statements import count_statements

ITEMS = 1_000
CATALOGUE, MEMBERS = 10_000, 200_000
"""Of the mall that recommends."""
MOVEMENTS_PER_SECOND = 200
"""Of the mall while many watch a board."""


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make bench")
    parser.add_argument("--users", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=10, help="of each half of a round")
    parser.add_argument("--lines", type=int, default=1_000_000, help="of each imported file")
    parser.add_argument(
        "--recipients", type=int, default=0, help="of a broadcast; left out unless it is given"
    )
    parser.add_argument("--lots", type=int, default=0, help="to expire; without it none are")
    parser.add_argument("--subscribers", type=int, default=1_000, help="who watch a board")
    parser.add_argument("--watchers", type=int, default=2_000, help="who watch their own rank")
    parser.add_argument(
        "--interactions", type=int, default=1_000_000, help="to recommend by; 0 leaves it out"
    )
    parser.add_argument(
        "--counted", type=int, default=200_000, help="members of key figures; 0 leaves them out"
    )
    return parser.parse_args()


def main() -> None:
    """Run them all."""
    options = _options()
    with tempfile.TemporaryDirectory(prefix="mall-bench-") as directory:
        Path(directory).chmod(0o755)  # the database server may run as a user of its own
        print(f"Filling a mall with {options.users:,} members and {ITEMS:,} items ...", flush=True)
        with bench(Path(directory), users=options.users, items=ITEMS) as running:
            ratios = _run(running, options.rounds, options.seconds)
            requests = movement_requests(running)
            live = run_live(
                running,
                requests,
                subscribers=options.subscribers,
                per_second=MOVEMENTS_PER_SECOND,
                duration_s=options.seconds,
            )
            ranks = run_ranks(
                running,
                requests,
                watchers=options.watchers,
                per_second=MOVEMENTS_PER_SECOND,
                duration_s=options.seconds,
            )
            statements = count_statements(running)
            broadcast = _broadcast(running, Path(directory), options.recipients)
            expiry = (
                run_expiry(running, lots=options.lots, duration_s=options.seconds)
                if options.lots
                else None
            )
            imports = run_imports(running, Path(directory), lines=options.lines)
    recommended = _recommendations(options.interactions, options.rounds, options.seconds)
    ratios += _kpis(options.counted, options.rounds)
    print("\nratio to the baseline (median of the rounds' ratios)")
    for ratio in ratios:
        print(f"  {ratio}")
    print(f"\nlive: {live}\nranks: {ranks}")
    if recommended is not None:
        print(f"\nrecommendations: {recommended}")
    print("\nimports: rate as a share of a bare COPY of the same file")
    for imported in imports:
        print(f"  {imported}")
    if broadcast is not None:
        print("\npushes: rate as a share of a bare loop with the same clients")
        print(f"  {broadcast}")
    if expiry is not None:
        print("\nexpiry: rate as a share of one plain statement")
        print(f"  {expiry}")
    print("\nSQL statements of an operation, BEGIN and COMMIT included")
    for name, count in statements.items():
        print(f"  {name:<24} {count}")


def _broadcast(running: Bench, directory: Path, recipients: int) -> BroadcastFound | None:
    """A broadcast to that many, who are members of the mall already; None for nobody."""
    if not recipients:
        return None
    told = min(recipients, running.users)
    return run_broadcast(running, directory, recipients=told, delivered=told)


def _recommendations(interactions: int, rounds: int, duration_s: int) -> Found | None:
    """What a member is recommended, in a mall of its own: its prices are spread."""
    if not interactions:
        return None
    with tempfile.TemporaryDirectory(prefix="mall-bench-") as directory:
        Path(directory).chmod(0o755)
        with bench(Path(directory), users=MEMBERS, items=CATALOGUE, processes=1) as running:
            return run_recommendations(
                running,
                items=CATALOGUE,
                interactions=interactions,
                rounds=rounds,
                duration_s=duration_s,
            )


def _kpis(members: int, rounds: int) -> list[Ratio]:
    """Key figures of a year, in a mall of their own: its members have a past."""
    if not members:
        return []
    with tempfile.TemporaryDirectory(prefix="mall-bench-") as directory:
        Path(directory).chmod(0o755)
        with bench(Path(directory), users=members, items=1, processes=1) as running:
            return run_kpis(running, rounds=rounds)


def _run(running: Bench, rounds: int, duration_s: int) -> list[Ratio]:
    sign_everyone_in(running)
    several = {"rounds": rounds, "duration_s": duration_s}
    return [
        run_exchanges(running, "exchanges against pgbench, 1,000 items", items=ITEMS, **several),
        run_exchanges(running, "exchanges against pgbench, one item", items=1, **several),
        run_reads(running, "balance", **several),
        run_reads(running, "tasks", **several),
        *run_leaderboard(running, **several),
        run_experiments(running, rounds=rounds),
        *run_search(running, **several),  # last: it adds items
    ]


if __name__ == "__main__":
    main()
