"""The connection to APNs that is in use, and those that only finish what they have begun."""

import ssl
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import httpx2
import structlog

from settings import NotificationSettings

_log = structlog.stdlib.get_logger(__name__)

_KEPT_IDLE_S = 60.0
# Streams share one connection; httpx2 opens the second only when the first is spoiled.
_LIMITS = httpx2.Limits(
    max_connections=2, max_keepalive_connections=2, keepalive_expiry=_KEPT_IDLE_S
)


class _Client:
    """An httpx2 client and how many requests it has under way."""

    def __init__(self, http: httpx2.AsyncClient) -> None:
        self.http = http
        self.under_way = 0
        self.is_retired = False


class ApnsConnections:
    """Lends the client in use; after any trouble the next request gets a new one.

    httpx2 does not recover by itself: a spoiled connection keeps its place in the pool until it
    expires, and a request given up for its timeout leaves its stream open, until APNs allows no
    more of them.
    """

    def __init__(self, settings: NotificationSettings) -> None:
        """Connect to nothing yet."""
        ca_file = settings.push_ca_file
        # Built once: it is what makes a client expensive.
        self._tls = ssl.create_default_context(cafile=str(ca_file) if ca_file else None)
        self._timeout = httpx2.Timeout(
            settings.push_timeout_s, connect=settings.push_connect_timeout_s
        )
        self._current: _Client | None = None

    @asynccontextmanager
    async def borrow(self) -> AsyncGenerator[httpx2.AsyncClient]:
        """Lend the client for one request; whatever is raised within retires it."""
        client = self._in_use()
        client.under_way += 1
        try:
            yield client.http
        except BaseException as error:
            self._retire(client, error)
            raise
        finally:
            client.under_way -= 1
            if client.is_retired and client.under_way == 0:
                await client.http.aclose()

    async def aclose(self) -> None:
        """Close the client in use; the retired ones close themselves."""
        if self._current is not None:
            await self._current.http.aclose()

    def _in_use(self) -> _Client:
        if self._current is None or self._current.is_retired:
            self._current = _Client(self._new_client())
        return self._current

    def _new_client(self) -> httpx2.AsyncClient:
        return httpx2.AsyncClient(
            verify=self._tls, http1=False, http2=True, limits=_LIMITS, timeout=self._timeout
        )

    @staticmethod
    def _retire(client: _Client, error: BaseException) -> None:
        if not client.is_retired:
            client.is_retired = True
            _log.info("apns_connection_replaced", problem=type(error).__name__)
