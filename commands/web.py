"""How a web process listens: uvicorn, with connections whose client never reads cut off.

uvicorn waits for room before it writes, so such a client costs no more than a transport's buffer;
but it waits for ever, and so does closing, which first has to send what is buffered.
"""

import asyncio
import logging
from functools import partial
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from settings import ServerSettings

GRACE_S = 10
"""For what is under way when the process is told to stop."""
_LONGEST_SILENCE_S = 30
"""Of one of several web processes, until it is replaced. By uvicorn's default (5 s) those that take
longer to import what they serve, on a busy machine, are killed while they start, for ever."""


class _CutOff(asyncio.Protocol):
    """Ends a connection, without waiting for its buffer to be sent, when it has been full too long.

    To be put before a protocol of uvicorn's among the bases of a class.
    """

    transport: Any  # uvicorn's protocols say what theirs is

    def __init__(self, *, send_timeout_s: float, **options: Any) -> None:
        """`send_timeout_s` is how long a full buffer may stay full, or a closed socket open."""
        super().__init__(**options)
        self._send_timeout_s = send_timeout_s
        self._timer: asyncio.TimerHandle | None = None

    def pause_writing(self) -> None:
        """The buffer is full."""
        super().pause_writing()
        self._cut_off_soon()

    def resume_writing(self) -> None:
        """There is room again."""
        self._let_live()
        super().resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone."""
        self._let_live()
        super().connection_lost(exc)

    def _cut_off_soon(self) -> None:
        if self._timer is None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(self._send_timeout_s, self.transport.abort)

    def _let_live(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


class BoundedHttp(_CutOff, HttpToolsProtocol):
    """HTTP whose client is cut off when it does not read."""

    def shutdown(self) -> None:
        """The process stops. A stream would go on to the end of the grace; readers come back."""
        super().shutdown()
        # Only streams have no length that is known beforehand.
        if self.cycle and self.cycle.chunked_encoding and not self.cycle.response_complete:
            self.transport.close()


class BoundedWebSocket(_CutOff, WebSocketsSansIOProtocol):
    """A WebSocket whose client is cut off when it does not read, also when it has to close."""

    def resume_writing(self) -> None:
        """There is room again; one that is being closed has to be gone in time all the same."""
        super().resume_writing()
        if self.transport.is_closing():
            self._cut_off_soon()

    def handle_ping(self) -> None:
        """Answer, but not a client that asks and asks and never reads the answers."""
        if self.writable.is_set():
            super().handle_ping()
        else:
            self.conn.data_to_send()

    def keepalive_timeout(self) -> None:
        """The peer is dead or does not read: closing politely may never end."""
        super().keepalive_timeout()
        self._cut_off_soon()

    async def run_asgi(self) -> None:
        """Serve the socket; when nobody serves it any more it has to go."""
        await super().run_asgi()
        if not self.disconnected:
            self._cut_off_soon()


def web_options(server: ServerSettings) -> dict[str, Any]:
    """What uvicorn is told, wherever the application is served."""
    return {
        "http": partial(BoundedHttp, send_timeout_s=server.send_timeout_s),
        "ws": partial(BoundedWebSocket, send_timeout_s=server.send_timeout_s),
        "ws_max_size": server.socket_frame_max_bytes,
        "ws_ping_interval": server.ping_interval_s,
        "ws_ping_timeout": server.ping_timeout_s,
        # A compressor for each socket would encode anew what is encoded once for all, and take
        # more memory than everything else of a socket.
        "ws_per_message_deflate": False,
        "access_log": False,
        # What it says is logged as what all libraries say (`services.monitoring.logs`). At INFO it
        # names the address of every socket.
        "log_config": None,
        "log_level": max(logging.WARNING, logging.getLevelNamesMapping()[server.log_level.upper()]),
        # Whose X-Forwarded-For is believed; None is uvicorn's own choice: this machine's.
        "forwarded_allow_ips": server.trusted_proxies,
        "timeout_graceful_shutdown": GRACE_S,
        "timeout_worker_healthcheck": _LONGEST_SILENCE_S,
        "date_header": False,
        "server_header": False,
    }
