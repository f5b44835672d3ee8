"""Who is connected to be told of changes, over sockets and streams: so many each, no more."""

from collections.abc import Generator
from contextlib import AbstractContextManager, contextmanager
from ipaddress import ip_address

import structlog

from schema.context import Context
from services.errors import MallError
from services.limits.limiter import Limiter
from services.limits.networks import network_of
from services.limits.rates import take_of
from services.live.leases import Leases
from settings import ServerSettings

_log: structlog.stdlib.BoundLogger = structlog.get_logger()


class TooManyConnections(MallError):
    """The user, or the address of nobody in particular, has `limit` connections open."""

    def __init__(self, limit: int) -> None:
        super().__init__(str(limit))
        self.limit = limit


class Connections:
    """Counts the connections of each user, and of each address those of nobody in particular."""

    def __init__(self, leases: Leases, settings: ServerSettings, limiter: Limiter) -> None:
        """`settings` say how many each may have, `limiter` how often they may come."""
        self._leases = leases
        self._limiter = limiter
        self._per_user = settings.connections_per_user
        self._per_address = settings.connections_per_address
        self._is_proxy_noted = False

    def __len__(self) -> int:
        """How many connections to this process are open."""
        return len(self._leases)

    async def admit(self, context: Context) -> AbstractContextManager[float | None]:
        """Take a place, which is held until the block ends that is returned.

        The block begins with when the viewer's token expires (epoch seconds), None for nobody's.
        Raises TooManyConnections when they have as many as allowed, LimitExceeded when they come
        back too often.
        """
        viewer, holder = context.viewer, holder_of(context)
        await self._limiter.take([take_of("connections", holder)], moves_value=False)
        limit = self._per_user if viewer is not None else self._per_address
        if not await self._leases.take(holder, limit):
            if viewer is None:
                self._note_proxy(context.remote_address)
            raise TooManyConnections(limit)
        return self._held(holder, viewer.token_expires_at_s if viewer else None)

    def _note_proxy(self, address: str | None) -> None:
        """Say once that all may share the limit of a proxy that is not set up (running.md)."""
        if not self._is_proxy_noted and _is_private(address):
            self._is_proxy_noted = True
            _log.warning("private_address_at_limit", address=address, limit=self._per_address)

    @contextmanager
    def _held(self, holder: str, ends_at_s: float | None) -> Generator[float | None]:
        try:
            yield ends_at_s
        finally:
            self._leases.give_back(holder)


def holder_of(context: Context) -> str:
    """Whose connection it is: the user's, or the address's of those who do not say who they are."""
    if context.viewer is not None:
        return f"user:{context.viewer.user_id}"
    return network_of(context.remote_address)


def _is_private(address: str | None) -> bool:
    try:
        parsed = ip_address(address or "")
    except ValueError:
        return False
    return (getattr(parsed, "ipv4_mapped", None) or parsed).is_private
