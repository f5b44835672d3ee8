"""Who asks, on every line that is logged meanwhile; and one line for each request that was served.

Nothing a client wrote goes into a line but its request id and the name of its operation, both cut
down to what names are made of: no variables, no texts of queries, no addresses, no headers.
"""

import itertools
import re
import secrets
import time
from collections.abc import Awaitable
from contextvars import ContextVar
from typing import Any, Final

import structlog
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from resolvers.attempts import Asked, Observation, Permit
from services.monitoring.log_context import add_facts
from services.monitoring.metrics import Metrics, Request, outcome_of
from services.monitoring.tracing import Tracer

_log: structlog.stdlib.BoundLogger = structlog.get_logger()

_HEADER: Final = b"x-request-id"
_REQUEST_ID: Final = re.compile(rb"[A-Za-z0-9._:=+/-]{1,64}")
_TRACE_HEADERS: Final = (b"traceparent", b"tracestate")
_LONGEST_NAME: Final = 64
_PROBES: Final = frozenset({"/livez", "/readyz", "/health", "/metrics"})
"""Asked every few seconds by machines: their lines would hide all others."""


class _Served:
    """An HTTP request that is being served, and what became of the operation in it."""

    __slots__ = ("outcome", "status")

    def __init__(self) -> None:
        self.status: int | None = None
        self.outcome: dict[str, Any] = {}


_served: ContextVar[_Served | None] = ContextVar("served", default=None)


class RequestLog:
    """Names every request, measures it, and logs those that ended."""

    def __init__(
        self, metrics: Metrics, tracer: Tracer | None = None, *, is_on: bool = True
    ) -> None:
        """Without being `is_on` requests still have ids; no line is written of each."""
        self._metrics = metrics
        self._tracer = tracer
        self._is_on = is_on
        self._prefix = secrets.token_hex(8)
        self._numbers = itertools.count(1)

    async def serve(self, app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
        """Let the application serve one request or socket under its id."""
        request_id = self._request_id(scope)
        add_facts(request_id=request_id)
        if self._tracer is None:
            await self._serve(request_id, app, scope, receive, send)
            return
        with self._tracer.serving(_headers_of(scope)) as trace_id:
            add_facts(trace_id=trace_id)
            await self._serve(request_id, app, scope, receive, send)

    async def _serve(
        self, request_id: str, app: ASGIApp, scope: Scope, receive: Receive, send: Send
    ) -> None:
        if scope["type"] != "http":
            await app(scope, receive, send)
            return
        served, echo = _Served(), (_HEADER, request_id.encode())
        _served.set(served)

        async def send_named(message: Message) -> None:
            if message["type"] == "http.response.start":
                served.status = message["status"]
                message["headers"] = [*message.get("headers", ()), echo]
            await send(message)

        started_s = time.perf_counter()
        try:
            await app(scope, receive, send_named)
        finally:
            if self._is_on and scope["path"] not in _PROBES:
                self._log(scope, served, time.perf_counter() - started_s)

    def _request_id(self, scope: Scope) -> str:
        """The client's, or its proxy's, if it is one that can be searched for; else a new one."""
        for name, value in scope["headers"]:
            if name == _HEADER and _REQUEST_ID.fullmatch(value):
                return value.decode()
        return f"{self._prefix}-{next(self._numbers):x}"

    def _log(self, scope: Scope, served: _Served, duration_s: float) -> None:
        about = served.outcome
        if not about:  # by its name, for an address may hold anything
            about = {"page": getattr(scope.get("endpoint"), "__name__", None)}
        _log.info("request", **about, status=served.status, duration_ms=_milliseconds(duration_s))

    def naming(self, permit: Permit) -> Permit:
        """Lets the lines of an operation bear its name, then asks whether it may begin."""

        def name_it(context: Any, asked: Asked) -> Awaitable[Any]:
            name = (asked.name or "_".join(asked.root_fields))[:_LONGEST_NAME]
            add_facts(operation=name)
            if self._tracer is not None:
                self._tracer.begin_operation(name, asked.kind.value)
            return permit(context, asked)

        return name_it

    def observe(self, seen: Observation) -> None:
        """Measure what ended. Over HTTP the line is written when the answer has been sent."""
        kind = None if seen.kind is None else seen.kind.value
        if self._tracer is not None:
            self._tracer.end_operation(seen.code)
        name, fields, _, duration_s, code, is_known = seen
        self._metrics.count_request(Request(name, fields, kind, duration_s, code, is_known))
        if not self._is_on:
            return
        outcome = {"kind": kind, "outcome": outcome_of(code), "code": code}
        served = _served.get()
        if served is not None:
            served.outcome = outcome
        else:
            _log.info("operation", **outcome, duration_ms=_milliseconds(duration_s))


def _headers_of(scope: Scope) -> dict[str, str]:
    """What a trace is continued by."""
    return {
        name.decode("latin-1"): value.decode("latin-1")
        for name, value in scope["headers"]
        if name in _TRACE_HEADERS
    }


def _milliseconds(duration_s: float) -> float:
    return round(duration_s * 1000, 1)
