"""Which metrics there are, and what jobs, pushes and batches leave in them."""

import asyncio
from collections.abc import Sequence

from prometheus_client import CollectorRegistry
from sqlalchemy.ext.asyncio import AsyncSession

from jobs.runner import MOST_ATTEMPTS, Runner
from services.exchange.place import exchange_request
from services.group_commit import GroupCommit
from services.mall import Mall
from services.monitoring.labels import MOST_NAMES
from services.monitoring.log_context import add_facts, facts
from services.monitoring.metrics import Metrics, Request
from services.monitoring.shared_figures import figure_families
from tests.clock import MovableClock
from tests.factories import add_item, add_user, execute, give_points
from tests.jobs.asking import JOBS, ask, prepare
from tests.jobs.due import run_due

MEASURED = {
    "database_connections": "gauge",
    "exchange_duration_seconds": "histogram",
    "graphql_connections": "gauge",
    "graphql_documents": "counter",
    "graphql_errors": "counter",
    "graphql_request_duration_seconds": "histogram",
    "graphql_watched": "gauge",
    "group_commit_batch_size": "histogram",
    "job_duration_seconds": "histogram",
    "jobs": "counter",
    "limit_refusals": "counter",
    "limits_counted_alone": "gauge",
    "points_exchanged": "counter",
    "points_issued": "counter",
    "push_records": "counter",
    "pushes": "counter",
}
"""Rules and boards of operators are written against these names."""


def _kinds(registry: CollectorRegistry) -> dict[str, str]:
    return {family.name: family.type for family in registry.collect()}


def test_the_names_stay() -> None:
    """Of what processes measure; a renamed metric silences every rule about it."""
    assert _kinds(Metrics().registry) == MEASURED


def test_figures_that_are_not_known_are_missing() -> None:
    """Not 0: nobody is alarmed by what nobody could read."""
    assert _kinds(figure_families(None)) == {"points_mall_figures_up": "gauge"}


def _sample(mall: Mall, name: str, **labels: str) -> float | None:
    return mall.metrics.registry.get_sample_value(name, labels)


async def test_rows_of_jobs_are_counted_by_what_became_of_them(
    mall: Mall, clock: MovableClock
) -> None:
    """Once each, however often a message comes; failed until it is given up."""
    await prepare(mall)
    runner = Runner(mall, JOBS)
    good, bad, talked, stepped = [
        *await ask(mall, "trace", [1]),
        *(await ask(mall, "trace", [-1]))[1:],
        *(await ask(mall, "talk", [3]))[2:],
        *(await ask(mall, "steps", [4]))[3:],
    ]
    for _ in range(2):
        await runner.run("trace", [good])
        await runner.run("talk", [talked])
        await runner.run("steps", [stepped])
    for attempts in (0, MOST_ATTEMPTS - 1):
        again = "UPDATE outbox SET due_at = :now, attempts = :attempts WHERE id = :id"
        await execute(mall, again, now=clock(), attempts=attempts, id=bad)
        await runner.run("trace", [bad])
    counted = {
        (sample.labels["job"], sample.labels["outcome"]): sample.value
        for family in mall.metrics.registry.collect()
        for sample in family.samples
        if sample.name == "jobs_total"
    }
    assert counted == {
        ("trace", "done"): 1,
        ("talk", "done"): 1,
        ("steps", "done"): 1,
        ("trace", "failed"): 1,
        ("trace", "dead"): 1,
    }


async def test_pushes_are_counted_as_the_table_has_them(mall: Mall) -> None:
    """Those that are suppressed when they are planned, too; queued ones not yet."""
    member = await add_user(mall, "alice")
    await give_points(mall, member, 1_000)
    item_id = await add_item(mall)
    request = exchange_request(member, item_id, "key", None, is_verified=False)
    await mall.exchanges.submit(request)
    await run_due(mall)
    rows = await execute(
        mall, "SELECT type, status, count(*) FROM push_records GROUP BY type, status"
    )
    assert rows
    for kind, status, count in rows:
        assert _sample(mall, "push_records_total", kind=kind, status=status) == count


async def test_a_batch_bears_nothing_of_who_came_first(mall: Mall) -> None:
    """Its lines are about many."""
    seen: list[object] = []

    async def settle(_session: AsyncSession, requests: Sequence[int]) -> Sequence[int]:
        seen.append(dict(facts()))
        return requests

    desk = GroupCommit(mall.stores.write, settle, mall.metrics.desk("test"))

    async def ask_as(user: int) -> None:
        add_facts(user=user)
        await desk.submit(user)
        assert facts() == {"user": user}

    await asyncio.gather(*(ask_as(user) for user in range(3)))
    assert seen == [{}]
    assert _sample(mall, "group_commit_batch_size_sum", desk="test") == 3
    assert _sample(mall, "group_commit_batch_size_count", desk="test") == 1


def test_ten_thousand_names_make_few_series() -> None:
    """Whoever makes them up shows by the field they ask for; nobody is lost."""
    metrics = Metrics()
    for number in range(10_000):
        field = ("me", "items")[number % 2]
        metrics.count_request(Request(f"N{number}", (field,), "query", 0.01, None, True))
    metrics.count_request(Request(None, (), None, 0.01, "GRAPHQL_PARSE_FAILED", False))
    counts = {
        sample.labels["operation"]: sample.value
        for family in metrics.registry.collect()
        for sample in family.samples
        if sample.name == "graphql_request_duration_seconds_count"
    }
    assert len(counts) == MOST_NAMES + 3
    assert counts["me"] + counts["items"] == 10_000 - MOST_NAMES
    assert counts["none"] == 1
