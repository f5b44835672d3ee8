"""Figures from the tables, read once for all who scrape (`services.monitoring.figures`)."""

import asyncio
import time
from collections.abc import Iterator

import structlog
from prometheus_client import CollectorRegistry
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from models.stores import Sessions
from services.calendar import Clock
from services.errors import said
from services.monitoring.figures import Figures, read_figures
from services.monitoring.log_context import detached
from services.transaction import is_store_away, reading

GOOD_FOR_S = 15.0
_LONGEST_WAIT_S = 3.0
"""Less than Prometheus waits for an answer."""

_log: structlog.stdlib.BoundLogger = structlog.get_logger()

_GAUGES = (
    ("active_users_24h", "Members who did something in 24 hours."),
    ("expiring_points_7d", "Points that will expire within 7 days."),
    ("exchange_rate", "Share of active members who exchanged points, 0 to 1."),
    ("expiry_rate_30d", "Share of the points that left balances in 30 days by expiring, 0 to 1."),
    ("outbox_lag_seconds", "For how long a job has waited to be sent or begun, at most."),
    ("outbox_waiting_rows", "Jobs that are due, or sent, and not begun."),
    ("failed_jobs", "Jobs that failed for good."),
    ("ledger_violations", "What the last checks of the books found wrong."),
    ("schedule_silence_seconds", "How long ago the scheduler last asked for anything."),
)
_ATTRIBUTES = {
    "outbox_lag_seconds": "outbox_lag_s",
    "outbox_waiting_rows": "outbox_waiting",
    "schedule_silence_seconds": "schedule_silence_s",
}
UP = "points_mall_figures_up"


class SharedFigures:
    """The newest figures of a process, at most `GOOD_FOR_S` old.

    Reading them is one short statement (what is dear a job measures), so each process may have its
    own; but however many scrape, it reads once.
    """

    def __init__(self, sessions: Sessions, clock: Clock) -> None:
        """Nothing has been read."""
        self._sessions, self._clock = sessions, clock
        self._latest: Figures | None = None
        self._read_at_s = -GOOD_FOR_S
        self._reading: asyncio.Task[None] | None = None

    async def latest(self) -> Figures | None:
        """The figures; None while the database is away."""
        if time.monotonic() - self._read_at_s >= GOOD_FOR_S:
            if self._reading is None:
                self._reading = detached(self._read())
            _, slow = await asyncio.wait([self._reading], timeout=_LONGEST_WAIT_S)
            if slow:  # and what there was is too old by now
                self._latest = None
        return self._latest

    async def _read(self) -> None:
        try:
            async with reading(self._sessions) as session:
                self._latest = await read_figures(session, self._clock())
        except Exception as error:  # noqa: BLE001 - what was measured is told all the same
            is_ours = not is_store_away(error)
            _log.warning("figures_not_read", error=said(error), exc_info=is_ours)
            self._latest = None
        finally:
            self._read_at_s = time.monotonic()
            self._reading = None


def figure_families(figures: Figures | None) -> CollectorRegistry:
    """The figures as gauges; one that is not known is not there."""
    registry = CollectorRegistry()
    registry.register(_Gauges(figures))
    return registry


class _Gauges(Collector):
    def __init__(self, figures: Figures | None) -> None:
        self._figures = figures

    def collect(self) -> Iterator[GaugeMetricFamily]:
        up = "Whether the figures from the tables could be read."
        yield GaugeMetricFamily(UP, up, float(self._figures is not None))
        for name, help_text in _GAUGES:
            value = getattr(self._figures, _ATTRIBUTES.get(name, name), None)
            if value is not None:
                yield GaugeMetricFamily(name, help_text, float(value))
