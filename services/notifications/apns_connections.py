"""The connection to APNs that is in use, and those that only finish what they have begun."""

import asyncio
import ssl

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
    """Posts over the client in use; after any trouble the next request gets a new one.

    httpx2 does not recover by itself: a spoiled connection keeps its place in the pool until it
    expires, and a request given up keeps its stream, until APNs allows no more of them. Nor may a
    request be cancelled while others share its connection: half a frame written spoils it for all.
    So one that takes too long is left behind on its retired client, and cancelled when nobody
    waits for anything there any more.
    """

    def __init__(self, settings: NotificationSettings) -> None:
        """Connect to nothing yet."""
        ca_file = settings.push_ca_file
        # Built once: it is what makes a client expensive.
        self._tls = ssl.create_default_context(cafile=str(ca_file) if ca_file else None)
        self._timeout_s = settings.push_timeout_s
        self._limits_s = httpx2.Timeout(self._timeout_s, connect=settings.push_connect_timeout_s)
        self._current: _Client | None = None
        self._requests: set[asyncio.Task[httpx2.Response]] = set()

    async def post(self, url: str, content: bytes, headers: dict[str, str]) -> httpx2.Response:
        """Post once and wait for the answer at most as long as the settings say.

        Raises TimeoutError and whatever httpx2 raises.
        """
        client = self._in_use()
        request = asyncio.create_task(self._post(client, url, content, headers))
        self._requests.add(request)
        request.add_done_callback(self._forget)
        # httpx2's timeouts are per read: a provider that drips would hold us for ever.
        await asyncio.wait((request,), timeout=self._timeout_s)
        if not request.done():
            self._retire(client, "TimeoutError")
            raise TimeoutError
        return request.result()

    async def aclose(self) -> None:
        """Give up what is under way, and close the client in use; the others close themselves."""
        for request in self._requests:
            request.cancel()
        await asyncio.gather(*self._requests, return_exceptions=True)
        if self._current is not None:
            await self._current.http.aclose()

    async def _post(
        self, client: _Client, url: str, content: bytes, headers: dict[str, str]
    ) -> httpx2.Response:
        client.under_way += 1
        try:
            # Twice: whoever began before this client was retired has given up by then as well.
            async with asyncio.timeout(2 * self._timeout_s):
                return await client.http.post(url, content=content, headers=headers)
        except BaseException as error:
            self._retire(client, type(error).__name__)
            raise
        finally:
            client.under_way -= 1
            if client.is_retired and client.under_way == 0:
                await client.http.aclose()

    def _forget(self, request: asyncio.Task[httpx2.Response]) -> None:
        self._requests.discard(request)
        if not request.cancelled():
            request.exception()  # nobody may be left to be told

    def _in_use(self) -> _Client:
        if self._current is None or self._current.is_retired:
            self._current = _Client(self._new_client())
        return self._current

    def _new_client(self) -> httpx2.AsyncClient:
        return httpx2.AsyncClient(
            verify=self._tls, http1=False, http2=True, limits=_LIMITS, timeout=self._limits_s
        )

    @staticmethod
    def _retire(client: _Client, problem: str) -> None:
        if not client.is_retired:
            client.is_retired = True
            _log.info("apns_connection_replaced", problem=problem)
