"""A breaker: stops hammering a provider that is down, and finds out when it is back.

Rule: `domain.md`, Notifications ("a breaker stops hammering a dead provider").
"""

from collections.abc import Callable
from dataclasses import dataclass

import structlog

# Its answer is near: who has to wait for it does not wait for another whole rest.
_WHILE_PROBED_S = 2.0

OutageListener = Callable[[str, float], None]
"""Told the name of a provider that is down, and for how many seconds it has been; never raises."""

_log = structlog.stdlib.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Attempt:
    """Leave to ask the provider once. Whoever got it tells `settle` how it went."""

    number: int
    is_probe: bool


@dataclass(frozen=True, slots=True)
class Open:
    """No leave: ask again after `after_s`."""

    after_s: float


def unheard(_name: str, _down_s: float) -> None:
    """Nobody has to know."""


class Breaker:
    """Opens after so many failures in a row, lets one probe through when its time is over.

    Failures of attempts that were under way together count as one: a lost connection fails a
    hundred requests at once and still says one thing. Not for several threads.
    """

    def __init__(
        self,
        name: str,
        failures_to_open: int,
        open_s: float,
        clock: Callable[[], float],
        on_outage: OutageListener = unheard,
    ) -> None:
        """Begin closed. `clock` tells seconds and never goes back.

        `on_outage` is called when it opens, and with every probe that fails.
        """
        self._name = name
        self._failures_to_open = failures_to_open
        self._open_s = open_s
        self._clock = clock
        self._on_outage = on_outage
        self._down_since: float | None = None
        self._attempts = 0
        self._failures = 0
        self._attempts_at_failure = 0
        self._open_until: float | None = None
        self._probe: Attempt | None = None

    def admit(self) -> Attempt | Open:
        """Give leave to ask the provider, or say how long there will be none."""
        if self._open_until is None:
            return self._attempt(is_probe=False)
        rest_s = self._open_until - self._clock()
        if rest_s > 0:
            return Open(rest_s)
        if self._probe is not None:
            return Open(_WHILE_PROBED_S)
        self._probe = self._attempt(is_probe=True)
        return self._probe

    def settle(
        self, attempt: Attempt, *, failed: bool | None, after_s: float | None = None
    ) -> None:
        """Say how an attempt went; None when it came to no end.

        After a failure the breaker stays open for `after_s`, if the provider asked for more than
        the breaker would give it.
        """
        if attempt is self._probe:
            self._probe = None
        if failed is None:
            return
        if not failed:
            self._note_success(attempt)
        elif attempt.is_probe or attempt.number > self._attempts_at_failure:
            self._note_failure(after_s)

    def rest(self, attempt: Attempt, after_s: float) -> None:
        """Say that the provider is well and wants no more for `after_s`: all wait, then one probes.

        No failure: it does not add up to an outage.
        """
        if attempt is self._probe:
            self._probe = None
        until = self._clock() + after_s
        if self._open_until is None:
            _log.warning("push_provider_rests", provider=self._name, rest_s=after_s)
        self._open_until = max(self._open_until or until, until)

    def _attempt(self, *, is_probe: bool) -> Attempt:
        self._attempts += 1
        return Attempt(self._attempts, is_probe)

    def _note_success(self, attempt: Attempt) -> None:
        if self._open_until is None:
            self._failures = 0
        elif attempt.is_probe:  # what began before it opened does not tell how things are now
            self._failures, self._open_until, self._down_since = 0, None, None
            _log.info("push_provider_back", provider=self._name)

    def _note_failure(self, after_s: float | None) -> None:
        self._failures += 1
        self._attempts_at_failure = self._attempts
        if self._failures < self._failures_to_open:
            return
        rest_s = max(self._open_s, after_s or 0.0)
        if self._open_until is None:
            _log.warning("push_provider_down", provider=self._name, open_s=rest_s)
        now = self._clock()
        self._open_until = now + rest_s
        self._down_since = now if self._down_since is None else self._down_since
        self._on_outage(self._name, now - self._down_since)
