"""Spans, sent to an OpenTelemetry collector over OTLP/HTTP. Loaded only where one is set.

No span holds what a client wrote but names of operations: no parameters, no variables, no headers.
"""

import asyncio
from collections.abc import AsyncGenerator, Generator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from contextvars import ContextVar
from typing import Any

from opentelemetry import context as contexts
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.sdk.trace.sampling import ParentBased, Sampler, SamplingResult, TraceIdRatioBased
from opentelemetry.trace import (
    Link,
    NonRecordingSpan,
    Span,
    SpanContext,
    SpanKind,
    StatusCode,
    format_trace_id,
    get_current_span,
    set_span_in_context,
)
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncEngine

_SEND_TIMEOUT_S = 5.0
_LONGEST_STATEMENT = 2_000
_MOST_LINKS = 128

_operation: ContextVar[Span | None] = ContextVar("operation_span", default=None)


@asynccontextmanager
async def open_otlp(
    endpoint: str | None, share: float, engine: AsyncEngine
) -> AsyncGenerator["OtlpTracer"]:
    """A tracer that sends to the collector; without an endpoint to that of OTEL's own variables."""
    url = None if endpoint is None else f"{endpoint.rstrip('/')}/v1/traces"
    exporter = OTLPSpanExporter(endpoint=url, timeout=_SEND_TIMEOUT_S)
    provider = TracerProvider(
        sampler=sampler_of(share),
        resource=Resource.create({"service.name": "points-mall"}),
        shutdown_on_exit=False,
    )
    provider.add_span_processor(BatchSpanProcessor(exporter))
    tracer = OtlpTracer(provider)
    tracer.watch(engine)
    try:
        yield tracer
    finally:
        await asyncio.to_thread(provider.shutdown)


def sampler_of(share: float) -> Sampler:
    """What traces that share of requests, and never more, whatever their callers ask for.

    A caller that traces nothing is not traced here either; what lies below a span of ours is as it.
    """
    return ParentBased(TraceIdRatioBased(share), remote_parent_sampled=_Drawn(share))


class _Drawn(Sampler):
    """Draws lots: a decision by the trace's id would be that of whoever made the id up."""

    def __init__(self, share: float) -> None:
        self._ratio, self._ids = TraceIdRatioBased(share), RandomIdGenerator()

    def should_sample(
        self, parent_context: Any, trace_id: int, name: str, *rest: Any, **options: Any
    ) -> SamplingResult:
        del trace_id
        drawn = self._ids.generate_trace_id()
        return self._ratio.should_sample(parent_context, drawn, name, *rest, **options)

    def get_description(self) -> str:
        return f"Drawn{{{self._ratio.rate}}}"


class OtlpTracer:
    """Opens spans (`services.monitoring.tracing.Tracer`)."""

    def __init__(self, provider: TracerProvider) -> None:
        """Spans go where the provider sends them."""
        self._tracer = provider.get_tracer("points-mall")
        self._propagator = TraceContextTextMapPropagator()

    @contextmanager
    def serving(self, headers: Mapping[str, str]) -> Generator[str]:
        """A request or a socket, below what its `traceparent` says; begins with the trace's id."""
        above = self._propagator.extract(headers, contexts.Context())
        with self._tracer.start_as_current_span("request", above, SpanKind.SERVER) as span:
            yield format_trace_id(span.get_span_context().trace_id)

    def begin_operation(self, name: str, kind: str) -> None:
        """A GraphQL operation, until `end_operation` in the same task."""
        attributes = {"graphql.operation.name": name, "graphql.operation.type": kind}
        span = self._tracer.start_span(f"{kind} {name}", attributes=attributes)
        contexts.attach(set_span_in_context(span))
        _operation.set(span)

    def end_operation(self, code: str | None) -> None:
        """The operation that was begun is over, with an error of that code; or none was begun."""
        span = _operation.get()
        if span is None:
            return
        if code is not None:
            span.set_status(StatusCode.ERROR, code)
        span.end()
        _operation.set(None)

    def here(self) -> SpanContext | None:
        """Where we are, to be linked to from elsewhere; None where nothing is traced."""
        span = get_current_span()
        return span.get_span_context() if span.is_recording() else None

    @contextmanager
    def settling(self, desk: str, places: Sequence[SpanContext]) -> Generator[None]:
        """A batch of a group commit, linked to where its requests came from.

        Traced where one of those is: it belongs to the trace of the first.
        """
        if not places:
            yield
            return
        attributes = {"mall.desk": desk, "mall.requests": len(places)}
        links = [Link(place) for place in places[:_MOST_LINKS]]
        above = set_span_in_context(NonRecordingSpan(places[0]), contexts.Context())
        with self._tracer.start_as_current_span(
            f"settle {desk}", above, attributes=attributes, links=links
        ):
            yield

    @contextmanager
    def working(self, job: str, rows: int) -> Generator[None]:
        """A run of a job."""
        attributes = {"mall.job": job, "mall.rows": rows}
        with self._tracer.start_as_current_span(
            f"job {job}", contexts.Context(), SpanKind.CONSUMER, attributes
        ):
            yield

    def watch(self, engine: AsyncEngine) -> None:
        """Open a span for each statement of what is traced."""
        event.listen(engine.sync_engine, "before_cursor_execute", self._begin_statement)
        event.listen(engine.sync_engine, "after_cursor_execute", self._end_statement)
        event.listen(engine.sync_engine, "handle_error", self._fail_statement)

    def _begin_statement(self, _connection: Any, _cursor: Any, text: str, *rest: Any) -> None:
        if not get_current_span().is_recording():
            return
        attributes = {"db.system.name": "postgresql", "db.query.text": text[:_LONGEST_STATEMENT]}
        words = text.split(maxsplit=1)
        name = words[0].upper() if words else "statement"
        span = self._tracer.start_span(name, kind=SpanKind.CLIENT, attributes=attributes)
        rest[1].mall_span = span  # the execution's own context, after its parameters

    def _end_statement(self, _connection: Any, _cursor: Any, _text: str, *rest: Any) -> None:
        _end(rest[1])

    def _fail_statement(self, failed: Any) -> None:
        _end(failed.execution_context, type(failed.original_exception).__name__)


def _end(execution: Any, error: str | None = None) -> None:
    span: Span | None = getattr(execution, "mall_span", None)
    if span is None:
        return
    if error is not None:
        span.set_status(StatusCode.ERROR, error)
    span.end()
    execution.mall_span = None
