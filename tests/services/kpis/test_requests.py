"""Counting requests: added up over processes, nothing lost while the database is away."""

import asyncio
from datetime import date

import pytest
from graphql import OperationType

from resolvers.attempts import Observation
from resolvers.kpis import count_request
from services.kpis.durations import LARGEST_ERROR
from services.kpis.requests import RequestCounts, Service, open_request_counts, read_service
from services.mall import Mall
from tests.factories import execute

TODAY = date(2026, 11, 20)
ALL = "SELECT sum(requests)::int, sum(failures)::int FROM request_counts WHERE day = :day"


async def service(mall: Mall, first: date = TODAY, last: date = TODAY) -> Service:
    """How the API served."""
    async with mall.stores.read() as session:
        return await read_service(session, first, last)


def seen(
    kind: OperationType | None, code: str | None = None, duration_s: float = 0.01
) -> Observation:
    """An operation that ended."""
    return Observation(None, (), kind, duration_s, code, is_known=True)


async def test_processes_add_up(mall: Mall) -> None:
    """Writing at once, again and again: each request counts once."""
    processes = [RequestCounts() for _ in range(4)]
    for turn in range(5):
        for number, counts in enumerate(processes):
            for duration in range(1, 40):
                counts.count(duration * 0.003, is_failure=duration <= number)
        if turn == 0:
            processes[0].count(0.5, is_failure=False)
        await asyncio.gather(*(counts.write(mall.stores.write, TODAY) for counts in processes))
    assert await execute(mall, ALL, day=TODAY) == [(4 * 5 * 39 + 1, 5 * (0 + 1 + 2 + 3))]
    found = await service(mall)
    assert found.availability == 1 - 30 / 781
    assert found.p95_s == pytest.approx(0.114, rel=LARGEST_ERROR)  # the 742nd of 781


async def test_what_cannot_be_written_is_kept(mall: Mall) -> None:
    """The requests that were answered while the database was away are what it is about."""
    counts = RequestCounts()
    counts.count(0.2, is_failure=True)
    await execute(mall, "ALTER TABLE request_counts RENAME TO gone")
    with pytest.raises(Exception, match="request_counts"):
        await counts.write(mall.stores.write, TODAY)
    counts.count(0.2, is_failure=False)
    await execute(mall, "ALTER TABLE gone RENAME TO request_counts")
    await counts.write(mall.stores.write, TODAY)
    assert await execute(mall, ALL, day=TODAY) == [(2, 1)]
    assert not counts


async def test_the_end_of_a_process_writes_down_what_is_left(mall: Mall) -> None:
    """And a process that served nobody writes nothing."""
    async with open_request_counts(mall):
        pass
    assert await execute(mall, "SELECT * FROM request_counts") == []
    async with open_request_counts(mall) as counts:
        counts.count(0.1, is_failure=False)
    assert await execute(mall, ALL, day=TODAY) == [(1, 0)]


async def test_days_are_apart(mall: Mall) -> None:
    """A period is of its days alone; of a day without requests nothing is said."""
    counts = RequestCounts()
    counts.count(0.1, is_failure=True)
    await counts.write(mall.stores.write, TODAY)
    yesterday = date(2026, 11, 19)
    assert await service(mall, yesterday, yesterday) == Service(None, None)
    assert (await service(mall, yesterday, TODAY)).availability == 0


async def test_what_counts(mall: Mall) -> None:
    """Queries and mutations, and whatever we failed; no subscription, and no nonsense."""
    counts = RequestCounts()
    for each in (
        *(seen(OperationType.QUERY), seen(OperationType.MUTATION, "BAD_USER_INPUT")),
        *(seen(OperationType.QUERY, "INTERNAL"), seen(None, "SERVICE_UNAVAILABLE")),
        *(seen(OperationType.SUBSCRIPTION), seen(None, "GRAPHQL_PARSE_FAILED")),
    ):
        count_request(counts, each)
    await counts.write(mall.stores.write, TODAY)
    assert await execute(mall, ALL, day=TODAY) == [(4, 2)]
    assert (await service(mall)).availability == 0.5
