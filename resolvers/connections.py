"""Who is connected to be told of changes, over sockets and streams: so many a user, no more."""

from collections import Counter
from collections.abc import Generator
from contextlib import contextmanager

from schema.context import Context
from services.errors import MallError


class TooManyConnections(MallError):
    """The user has `limit` connections open to this process."""

    def __init__(self, limit: int) -> None:
        super().__init__(str(limit))
        self.limit = limit


class Connections:
    """Counts each user's connections to this process; those of other processes it cannot see."""

    def __init__(self, limit: int) -> None:
        """`limit` is how many a user may have."""
        self._limit = limit
        self._open = Counter[int]()

    def __len__(self) -> int:
        """How many connections of signed-in users are open."""
        return self._open.total()

    @contextmanager
    def admit(self, context: Context) -> Generator[float | None]:
        """Hold a place; yields when the viewer's token expires (epoch seconds), None for nobody's.

        Raises TooManyConnections when the viewer has as many as allowed.
        """
        viewer = context.viewer
        if viewer is None:  # who they are, and so how many they have, cannot be known
            yield None
            return
        user_id = viewer.user_id
        if self._open[user_id] >= self._limit:
            raise TooManyConnections(self._limit)
        self._open[user_id] += 1
        try:
            yield viewer.token_expires_at_s
        finally:
            self._open[user_id] -= 1
            if not self._open[user_id]:
                del self._open[user_id]
