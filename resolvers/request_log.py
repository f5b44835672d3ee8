"""Who asks, on every line that is logged meanwhile; and one line for each request that was served.

Nothing a client wrote goes into a line but its request id and the name of its operation, both cut
down to what names are made of: no variables, no texts of queries, no addresses, no headers.
"""

import itertools
import re
import secrets
import time
from typing import Any, Final

import structlog
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from services.monitoring.log_context import add_facts

_log: structlog.stdlib.BoundLogger = structlog.get_logger()

_HEADER: Final = b"x-request-id"
_REQUEST_ID: Final = re.compile(rb"[A-Za-z0-9._:=+/-]{1,64}")
_PROBES: Final = frozenset({"/livez", "/readyz", "/health", "/metrics"})
"""Asked every few seconds by machines: their lines would hide all others."""


class RequestLog:
    """Names every request, and logs those that ended."""

    def __init__(self, *, is_on: bool) -> None:
        """Without being `is_on` requests still have ids; no line is written of each."""
        self._is_on = is_on
        self._prefix = secrets.token_hex(8)
        self._numbers = itertools.count(1)

    async def serve(self, app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
        """Let the application serve one request or socket under its id."""
        request_id = self._request_id(scope)
        add_facts(request_id=request_id)
        if scope["type"] != "http":
            await app(scope, receive, send)
            return
        status, echo = 0, (_HEADER, request_id.encode())

        async def send_named(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message["headers"], echo]
            await send(message)

        started_s = time.perf_counter()
        try:
            await app(scope, receive, send_named)
        finally:
            if self._is_on and scope["path"] not in _PROBES:
                duration_ms = round((time.perf_counter() - started_s) * 1000, 1)
                _log.info("request", **_about(scope), status=status, duration_ms=duration_ms)

    def _request_id(self, scope: Scope) -> str:
        """The client's, or its proxy's, if it is one that can be searched for; else a new one."""
        for name, value in scope["headers"]:
            if name == _HEADER and _REQUEST_ID.fullmatch(value):
                return value.decode()
        return f"{self._prefix}-{next(self._numbers):x}"


def _about(scope: Scope) -> dict[str, Any]:
    """Which page it was: by its name, for an address may hold anything. GraphQL says it itself."""
    if scope["path"] == "/graphql":
        return {}
    endpoint = scope.get("endpoint")
    return {"page": getattr(endpoint, "__name__", None)}
