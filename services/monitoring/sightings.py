"""What a process notices while it serves: collected, and raised beside the requests.

Nobody who is served waits for it, and a storm of sightings is one transaction a second. What a
process has not yet written when it is killed is lost: the next slow exchange says it again.
"""

import asyncio
import time
from collections.abc import Generator
from contextlib import contextmanager, suppress

import structlog

from models.stores import Sessions
from services.backoff import pause_s
from services.calendar import Clock
from services.errors import said
from services.monitoring.alerts import AlertKind, Sighting, merged, raise_alerts
from services.monitoring.log_context import detached
from services.monitoring.rules import Thresholds
from services.transaction import transaction

_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 1.0, 30.0
_LONGEST_CLOSING_S = 2.0

_log = structlog.get_logger(__name__)


class Sightings:
    """Collects sightings, one of each kind with its count, and raises alerts of them."""

    def __init__(self, sessions: Sessions, clock: Clock, thresholds: Thresholds) -> None:
        """Nothing is noticed yet."""
        self._sessions = sessions
        self._clock = clock
        self._slow_exchange_s = thresholds.slow_exchange_s
        self._push_provider_down_s = thresholds.push_provider_down_s
        self._waiting: dict[AlertKind, Sighting] = {}
        self._raising: asyncio.Task[None] | None = None

    def note(self, sighting: Sighting) -> None:
        """Let operators know of it soon. Never raises, and waits for nothing."""
        self._waiting = merged([*self._waiting.values(), sighting])
        if self._raising is None:
            self._raising = detached(self._run())

    @contextmanager
    def of_slow_exchanges(self) -> Generator[None]:
        """Note the exchange that is placed meanwhile, should it take too long, however it ends."""
        started_s = time.perf_counter()
        try:
            yield
        finally:
            took_s = time.perf_counter() - started_s
            if took_s > self._slow_exchange_s:
                message = f"An exchange took {took_s:.1f} s"
                self.note(
                    Sighting(AlertKind.SLOW_EXCHANGE, message, {"duration_s": round(took_s, 3)})
                )

    def note_outage(self, provider: str, down_s: float) -> None:
        """Note that a push provider has been down for so long, should that be too long."""
        if down_s >= self._push_provider_down_s:
            message = f"The push provider {provider} has been down for {down_s:,.0f} s"
            facts = {"providers": [provider], "down_s": round(down_s)}
            self.note(Sighting(AlertKind.PUSH_PROVIDER_DOWN, message, facts))

    async def aclose(self) -> None:
        """Raise what is waiting, as far as that is quick."""
        if self._raising is not None:
            self._raising.cancel()
            await asyncio.wait({self._raising})
        if self._waiting:
            with suppress(TimeoutError):
                async with asyncio.timeout(_LONGEST_CLOSING_S):
                    await self._raise()

    async def _run(self) -> None:
        failures = 0
        try:
            while self._waiting:
                failures = 0 if await self._raise() else failures + 1
                await asyncio.sleep(
                    pause_s(
                        max(1, failures), 0.5, first_s=_FIRST_PAUSE_S, longest_s=_LONGEST_PAUSE_S
                    )
                )
        finally:
            self._raising = None

    async def _raise(self) -> bool:
        """Whether it could be written; else it waits with what comes."""
        noticed, self._waiting = self._waiting, {}
        try:
            async with transaction(self._sessions) as session:
                await raise_alerts(session, list(noticed.values()), self._clock())
        except BaseException as error:
            self._waiting = merged([*noticed.values(), *self._waiting.values()])
            if not isinstance(error, Exception):
                raise
            _log.warning("alerts_not_raised", kinds=list(noticed), error=said(error))
            return False
        return True
