"""What is counted and timed: every metric of a process, with its labels (docs/monitoring.md).

Money is counted when it is committed (`services.announcements`), by whoever committed it, so that
the counters grow by what the tables say. What commands on the console do is not among it.
"""

from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from typing import Any, NamedTuple

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
)

from models.catalogue import ExchangeItemType
from services.announcements import noted
from services.limits.rates import RATES
from services.monitoring.labels import (
    MOST_NAMES,
    NO_OPERATION,
    BoundedLabels,
    operation_label,
)

MOST_SOURCES = 50
"""Sources of points that other systems name which get a label of their own."""
OTHER = "other"
EXCHANGES = "exchanges"
"""The desk at which exchanges are placed."""
_DURATIONS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 5.0, 10.0)
_JOB_DURATIONS_S = (0.01, 0.05, 0.25, 1.0, 5.0, 30.0, 120.0, 600.0, 3_600.0)
_BATCH_SIZES = (1, 2, 4, 8, 16, 32, 64, 128)
FAILED = "failed"
_FAILURES = frozenset({"INTERNAL", "SERVICE_UNAVAILABLE"})


# A second series for every counter, which processes that share their values do not have.
disable_created_metrics()


class JobOutcome(StrEnum):
    """What became of a row: done; to be tried again; given up; or none of its own doing."""

    DONE = "done"
    FAILED = "failed"
    DEAD = "dead"
    PUT_OFF = "put_off"
    INTERRUPTED = "interrupted"


class Request(NamedTuple):
    """One GraphQL request that ended; a subscription that began."""

    name: str | None
    root_fields: Sequence[str]
    kind: str | None
    duration_s: float
    code: str | None
    is_known: bool


def outcome_of(code: str | None) -> str:
    """Whether it was answered, refused for what was asked, or failed for what the mall could not.

    By the code of its first error. A Problem is an answer.
    """
    if code is None:
        return "ok"
    return FAILED if code in _FAILURES else "refused"


class Metrics:
    """The metrics of one process. Its registry holds them unless processes share theirs."""

    def __init__(self) -> None:
        """Nothing has been counted, and no label seen."""
        self.registry = CollectorRegistry()
        self.samples: list[Callable[[], None]] = []
        """Set gauges to what is so now; called now and then, and before they are read."""
        self._names = BoundedLabels(MOST_NAMES)
        self._sources = BoundedLabels(MOST_SOURCES)
        self._requests: dict[tuple[str, str, str], Any] = {}
        self._make_business()
        self._make_serving()
        self._make_limits()
        self._make_jobs()

    def _make_business(self) -> None:
        self.points_issued = self._counter(
            "points_issued_total", "Points that members earned, by where from.", "source"
        )
        self.points_exchanged = self._counter(
            "points_exchanged_total", "Points that members paid for items.", "item_type"
        )
        for kind in ExchangeItemType:  # so that they are there, at 0, before the first exchange
            self.points_exchanged.labels(kind)
        self.exchange_duration = self._histogram(
            "exchange_duration_seconds",
            "From the request for an exchange to its commit, of those that were settled.",
            _DURATIONS_S,
        )

    def _make_serving(self) -> None:
        self.request_duration = self._histogram(
            "graphql_request_duration_seconds",
            "GraphQL requests, until they were answered; of subscriptions until they began.",
            _DURATIONS_S,
            "operation",
            "kind",
            "outcome",
        )
        self.errors = self._counter(
            "graphql_errors_total", "GraphQL requests that ended in an error, by code.", "code"
        )
        self.documents = self._counter(
            "graphql_documents_total",
            "Documents, by whether they had been parsed and validated before.",
            "cache",
        )
        self._known, self._new = (self.documents.labels(cache) for cache in ("hit", "miss"))
        self.connections = self._gauge("graphql_connections", "Sockets and event streams open.")
        self.watched = self._gauge(
            "graphql_watched", "Different boards, places and balances that are being watched."
        )
        self.batches = self._histogram(
            "group_commit_batch_size",
            "How many requests were settled in one transaction.",
            _BATCH_SIZES,
            "desk",
        )
        self.database_connections = self._gauge(
            "database_connections", "Connections to PostgreSQL.", "state"
        )

    def _make_limits(self) -> None:
        self._refusals = self._counter(
            "limit_refusals_total", "What was refused for being asked too often.", "limit"
        )
        for limit in RATES:  # there at 0, so that the first refusal is an increase
            self._refusals.labels(limit)
        self.counted_alone = self._gauge(
            "limits_counted_alone", "Processes that count limits by themselves: Redis is away."
        )

    def _make_jobs(self) -> None:
        self.jobs = self._counter(
            "jobs_total", "Rows of the outbox that were worked on.", "job", "outcome"
        )
        self.job_duration = self._histogram(
            "job_duration_seconds",
            "Runs of a job, of many rows where it does them together.",
            _JOB_DURATIONS_S,
            "job",
        )
        self.pushes = self._counter(
            "pushes_total", "What providers answered, per device.", "provider", "kind", "outcome"
        )
        self.push_records = self._counter(
            "push_records_total", "Pushes that were sent, failed or suppressed.", "kind", "status"
        )

    def _counter(self, name: str, help_text: str, *labels: str) -> Counter:
        return Counter(name, help_text, labels, registry=self.registry)

    def _histogram(
        self, name: str, help_text: str, buckets: Sequence[float], *labels: str
    ) -> Histogram:
        return Histogram(name, help_text, labels, buckets=buckets, registry=self.registry)

    def _gauge(self, name: str, help_text: str, *labels: str) -> Gauge:
        """One that is added up over the processes that live."""
        return Gauge(name, help_text, labels, registry=self.registry, multiprocess_mode="livesum")

    def hear(self, info: Mapping[Any, Any]) -> None:
        """Count the points that a transaction moved, which is committed by now."""
        announcement = noted(info)
        if announcement is None:
            return
        for source, points in announcement.issued.items():
            self.points_issued.labels(self._sources.of(source, OTHER)).inc(points)
        for kind, points in announcement.exchanged.items():
            self.points_exchanged.labels(kind).inc(points)
        for key, pushes in announcement.pushes.items():
            self.push_records.labels(*key).inc(pushes)

    def count_request(self, request: Request) -> None:
        """Count and time a GraphQL request."""
        operation = (
            NO_OPERATION
            if request.kind is None
            else operation_label(self._names, request.name, request.root_fields)
        )
        key = (operation, request.kind or NO_OPERATION, outcome_of(request.code))
        child = self._requests.get(key)
        if child is None:
            child = self._requests[key] = self.request_duration.labels(*key)
        child.observe(request.duration_s)
        (self._known if request.is_known else self._new).inc()
        if request.code is not None:
            self.errors.labels(request.code).inc()

    def count_refusal(self, limit: str) -> None:
        """Count what a limit, one of `RATES`, refused."""
        self._refusals.labels(limit).inc()

    def desk(self, name: str) -> Callable[[int, Sequence[float]], None]:
        """What counts the batches of one desk (`services.group_commit.Observe`)."""
        sizes = self.batches.labels(name)
        duration = self.exchange_duration if name == EXCHANGES else None

        def observe(size: int, waited_s: Sequence[float]) -> None:
            sizes.observe(size)
            if duration is not None:
                for each_s in waited_s:
                    duration.observe(each_s)

        return observe

    def count_rows(self, job: str, outcome: JobOutcome, rows: int = 1) -> None:
        """Count rows of the outbox that a job has done, or not."""
        self.jobs.labels(job, outcome).inc(rows)

    def time_job(self, job: str, duration_s: float) -> None:
        """Note how long a run of a job took, whatever came of it."""
        self.job_duration.labels(job).observe(duration_s)

    def count_answer(self, platform: str, kind: str, outcome: str) -> None:
        """Count what a provider answered about a push for one device."""
        self.pushes.labels("apns" if platform == "ios" else "fcm", kind, outcome).inc()

    def sample(self) -> None:
        """Set the gauges to what is so now."""
        for sample in self.samples:
            sample()
