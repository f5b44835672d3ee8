"""What one connection follows, and what that may cost.

An operation is counted when it begins; a subscription does its work anew with every change, and
changes are not the asker's. So what each costs is bounded, and what they cost together.
"""

from collections import Counter
from collections.abc import Generator
from contextlib import contextmanager
from typing import Final

from resolvers.shared_streams import StreamKey
from resolvers.transport_errors import COST_LIMITED, OperationRefused

MOST_TOGETHER: Final = 2_000
"""What all of a connection may; 80 ms of a process for a change that all of them show."""


class Following:
    """The subscriptions of one connection."""

    def __init__(self) -> None:
        """None yet."""
        self.streams = Counter[StreamKey]()
        """Those that run once for all."""
        self._cost = 0

    @contextmanager
    def holding(self, cost: int) -> Generator[None]:
        """Count a subscription for as long as it is open; raises OperationRefused for too much."""
        if self._cost + cost > MOST_TOGETHER:
            message = f"Subscriptions of one connection cost {MOST_TOGETHER:,} together at most"
            numbers = {"requested": self._cost + cost, "maximum": MOST_TOGETHER}
            raise OperationRefused(COST_LIMITED, message, {"cost": numbers})
        self._cost += cost
        try:
            yield
        finally:
            self._cost -= cost
