"""A clock that stands still."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta


@dataclass
class MovableClock:
    """Tells `now` until a test moves it. Starts at noon of a Friday in Shanghai."""

    now: datetime = datetime(2026, 11, 20, 4, 0, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now

    def advance(self, **span: float) -> datetime:
        """Move by a timedelta's arguments; returns the new present."""
        self.now += timedelta(**span)
        return self.now
