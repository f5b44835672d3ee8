"""How the mall does, in one word and for whoever asks every second (`docs/alerts.md`, Health)."""

import asyncio
import time
from collections.abc import Awaitable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

import structlog
from sqlalchemy.ext.asyncio import AsyncSession

from models.stores import Stores
from services.calendar import Clock
from services.errors import said
from services.monitoring.alerts import AlertKind
from services.monitoring.browse import NotedAlert, recent_alerts
from services.monitoring.figures import Figures, read_figures
from services.monitoring.log_context import detached
from services.monitoring.rules import Thresholds, judge
from services.transaction import reading

GOOD_FOR_S = 2.0
"""How old the answer may be: however many ask, the stores are asked so often at most."""
_LONGEST_PROBE_S = 2.0
_FIGURES_OF_MEMBERS = frozenset({"largest_gains_1h"})

_log = structlog.get_logger(__name__)


class HealthStatus(StrEnum):
    """How the mall does (`contract.graphql`, HealthStatus)."""

    HEALTHY = "healthy"
    WARNING = "warning"
    CRITICAL = "critical"


@dataclass(frozen=True, slots=True)
class Health:
    """The status, the figures it stands on, and what is wrong, in words."""

    status: HealthStatus
    metrics: Mapping[str, Any]
    alerts: Sequence[str]
    checked_at: datetime


def status_of(stores_away: Collection[str], kinds: Collection[str]) -> HealthStatus:
    """What it all comes to: critical is what members' points are not safe or reachable with."""
    if stores_away or AlertKind.LEDGER_DRIFT in kinds:
        return HealthStatus.CRITICAL
    return HealthStatus.WARNING if kinds else HealthStatus.HEALTHY


class HealthCheck:
    """Asks the stores for everybody who wants to know, once every `GOOD_FOR_S`."""

    def __init__(self, stores: Stores, clock: Clock, thresholds: Thresholds) -> None:
        """Nothing is known yet."""
        self._stores = stores
        self._clock = clock
        self._thresholds = thresholds
        self._latest: Health | None = None
        self._checked_at_s = -GOOD_FOR_S
        self._checking: asyncio.Task[Health] | None = None

    async def latest(self) -> Health:
        """How the mall does, as of `GOOD_FOR_S` ago at most."""
        if self._latest is not None and time.monotonic() - self._checked_at_s < GOOD_FOR_S:
            return self._latest
        if self._checking is None:
            self._checking = detached(self._check())
        return await asyncio.shield(self._checking)

    async def _check(self) -> Health:
        try:
            database, redis = await asyncio.gather(
                _probed(self._read()), _probed(self._stores.redis.ping())
            )
            self._latest = self._health(database, is_redis_there=redis is not None)
            self._checked_at_s = time.monotonic()
            return self._latest
        finally:
            self._checking = None

    async def _read(self) -> tuple[Figures, list[NotedAlert]]:
        async with reading(self._stores.read) as session:
            return await read_figures(session, self._clock()), await _open(session)

    def _health(
        self, database: tuple[Figures, list[NotedAlert]] | None, *, is_redis_there: bool
    ) -> Health:
        away = [
            name
            for name, is_there in (("postgresql", database), ("redis", is_redis_there))
            if not is_there
        ]
        figures, alerts = database or (None, [])
        wrong = {alert.kind: alert.message for alert in alerts}
        if figures is not None:  # alerts are raised by workers: there may be none to raise any
            judged = judge(figures, self._thresholds).seen
            wrong = {each.kind: each.message for each in judged} | wrong
        said_of = (f"{kind}: {message}" for kind, message in wrong.items())
        return Health(
            status=status_of(away, wrong),
            metrics=_shown(figures),
            alerts=(*(f"{name} is away" for name in away), *said_of),
            checked_at=self._clock(),
        )


async def _open(session: AsyncSession) -> list[NotedAlert]:
    return await recent_alerts(session, include_resolved=False)


async def _probed(question: Awaitable[Any]) -> Any | None:
    """The answer; None from a store that gives none in time."""
    try:
        async with asyncio.timeout(_LONGEST_PROBE_S):
            return await question
    except Exception as error:  # noqa: BLE001 — whatever keeps a store from answering, it is away
        _log.warning("store_away", cause=said(error))
        return None


def _shown(figures: Figures | None) -> dict[str, Any]:
    """The figures by name, without those of single members."""
    if figures is None:
        return {}
    shown = asdict(figures) | {"measured_at": _written(figures.measured_at)}
    return {name: value for name, value in shown.items() if name not in _FIGURES_OF_MEMBERS}


def _written(instant: datetime | None) -> str | None:
    return None if instant is None else instant.isoformat()
