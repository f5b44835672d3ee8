"""How long requests took and how many we failed, by day: counted in each web process, kept in one
table (`docs/kpis.md`, API).

A request costs an addition in memory. What was counted is written down every few seconds in one
statement, and at the end of the process; one that is killed loses the last seconds.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import date

import structlog
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from models.kpis import RequestCount
from models.stores import Sessions
from services.bulk import insert_rows
from services.calendar import local_day
from services.errors import ServiceUnavailable
from services.kpis.durations import bucket_of, quantile_s
from services.kpis.rates import share
from services.mall import Mall
from services.transaction import transaction

WRITTEN_EVERY_S = 10.0
_P95 = 0.95
_COLUMNS = ("day", "bucket", "requests", "failures")
_ADD = (
    "ON CONFLICT (day, bucket) DO UPDATE SET"
    " requests = request_counts.requests + excluded.requests,"
    " failures = request_counts.failures + excluded.failures"
)
_READ = text(
    """
    SELECT bucket, sum(requests)::bigint AS requests, sum(failures)::bigint AS failures
    FROM request_counts WHERE day BETWEEN CAST(:first AS date) AND CAST(:last AS date)
    GROUP BY bucket
    """
)
_log: structlog.stdlib.BoundLogger = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Service:
    """How the API served: `p95_s`, and the share of requests that we did not fail.

    None where nothing was asked.
    """

    p95_s: float | None
    availability: float | None


class RequestCounts:
    """What one process has counted and not written down yet."""

    def __init__(self) -> None:
        """Nothing was asked yet."""
        self._requests = Counter[int]()
        self._failures = Counter[int]()

    def count(self, duration_s: float, *, is_failure: bool) -> None:
        """Count a request that was answered."""
        bucket = bucket_of(duration_s)
        self._requests[bucket] += 1
        if is_failure:
            self._failures[bucket] += 1

    async def write(self, sessions: Sessions, day: date) -> None:
        """Write down what was counted, as of that day; raises ServiceUnavailable, and keeps it."""
        requests, self._requests = self._requests, Counter()
        failures, self._failures = self._failures, Counter()
        # In one order: processes that write at once wait for each other, and not in a circle.
        rows = [(day, bucket, requests[bucket], failures[bucket]) for bucket in sorted(requests)]
        try:
            async with transaction(sessions) as session:
                await session.execute(text("SET LOCAL synchronous_commit = off"))
                await insert_rows(session, RequestCount, _COLUMNS, rows, suffix=_ADD)
        except BaseException:
            self._requests += requests
            self._failures += failures
            raise

    def __bool__(self) -> bool:
        return bool(self._requests)


@asynccontextmanager
async def open_request_counts(mall: Mall) -> AsyncGenerator[RequestCounts]:
    """Counts that are written down for as long as the block lasts, and at its end."""
    counts = RequestCounts()
    writer = asyncio.create_task(_write_on_and_on(mall, counts))
    try:
        yield counts
    finally:
        writer.cancel()
        await asyncio.wait({writer})
        await _write(mall, counts)


async def _write_on_and_on(mall: Mall, counts: RequestCounts) -> None:
    while True:
        await asyncio.sleep(WRITTEN_EVERY_S)
        await _write(mall, counts)


async def _write(mall: Mall, counts: RequestCounts) -> None:
    if not counts:
        return
    try:
        await counts.write(mall.stores.write, local_day(mall.clock(), mall.zone))
    except ServiceUnavailable as error:
        _log.warning("requests_not_written_down", error=repr(error))


async def read_service(session: AsyncSession, first: date, last: date) -> Service:
    """How the API served on the days from `first` to `last`."""
    rows = (await session.execute(_READ, {"first": first, "last": last})).all()
    requests = sum(row.requests for row in rows)
    succeeded = requests - sum(row.failures for row in rows)
    p95_s = quantile_s({row.bucket: row.requests for row in rows}, _P95)
    return Service(p95_s, share(succeeded, requests))
