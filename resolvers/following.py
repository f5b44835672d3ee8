"""What is followed, and what that may cost.

An operation is counted when it begins; a subscription does its work anew with every change, and
changes are not the asker's. So what each costs is bounded, and what they cost together: those of a
connection, and those that show one user their own, over all connections of theirs.
"""

from collections import Counter
from collections.abc import Generator
from contextlib import AbstractContextManager, contextmanager
from typing import Final

from resolvers.shared_streams import StreamKey
from resolvers.transport_errors import COST_LIMITED, OperationRefused

MOST_TOGETHER: Final = 2_000
"""What all of a connection may, and all of a user's own: 80 ms for a change that they all show."""


class Following:
    """The subscriptions of one connection."""

    def __init__(self) -> None:
        """None yet."""
        self.streams = Counter[StreamKey]()
        """Those that run once for all."""
        self._costs = Costs("one connection")

    def holding(self, cost: int) -> AbstractContextManager[None]:
        """Count a subscription for as long as it is open; raises OperationRefused for too much."""
        return self._costs.holding("", cost)


class Costs:
    """What open subscriptions cost together, by whose they are."""

    def __init__(self, whose: str) -> None:
        """`whose` is what a refusal calls those who hold them."""
        self._whose = whose
        self._costs = Counter[str]()

    @contextmanager
    def holding(self, holder: str, cost: int) -> Generator[None]:
        """Count a subscription for as long as it is open; raises OperationRefused for too much."""
        together = self._costs[holder] + cost
        if together > MOST_TOGETHER:
            message = f"Subscriptions of {self._whose} cost {MOST_TOGETHER:,} together at most"
            numbers = {"requested": together, "maximum": MOST_TOGETHER}
            raise OperationRefused(COST_LIMITED, message, {"cost": numbers})
        self._costs[holder] = together
        try:
            yield
        finally:
            self._costs[holder] -= cost
            if not self._costs[holder]:
                del self._costs[holder]
