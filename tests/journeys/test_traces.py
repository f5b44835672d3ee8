"""Spans of an exchange, as a collector of OpenTelemetry gets them."""

import asyncio
import subprocess
import sys
from dataclasses import replace

from services.bulk import Writes
from services.mall import Mall, open_mall
from services.outbox import enqueue
from services.transaction import transaction
from settings import ObservationSettings
from tests.architecture.source import ROOT
from tests.client import Client
from tests.clock import MovableClock
from tests.databases import SECRET
from tests.doubles.collector import Collector, collecting
from tests.factories import add_item, add_user, give_points
from tests.jobs.due import jobs_named, run_due
from tests.journeys.steps import exchange
from tests.serving import serving

_TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
_PARENT = "00f067aa0ba902b7"


async def _exchange_together(mall: Mall, clock: MovableClock, collector: Collector) -> None:
    """Three members at once, one of whom comes with a trace; then the server stops."""
    names = ["alice", "bob", "carol"]
    for name in names:
        user_id = await add_user(mall, name, last_login_at=mall.clock())
        await give_points(mall, user_id, 1_000)
    item_id = await add_item(mall, type="physical", config={})
    observation = ObservationSettings(otlp_endpoint=collector.url)
    settings = replace(mall.settings, observation=observation)
    shipping = {"recipient": "李雷", "phone": "13800138000", "address": "上海市南京西路1号"}
    async with (
        serving(settings, clock) as address,
        Client(address, SECRET) as traced,
        Client(address, SECRET) as others,
    ):
        traced.http.headers["traceparent"] = f"00-{_TRACE}-{_PARENT}-01"
        asked = [
            exchange(client, name, item_id, shipping=shipping)
            for client, name in zip((traced, others, others), names, strict=True)
        ]
        answers = await asyncio.gather(*asked)
    assert {answer["__typename"] for answer in answers} == {"OneClickExchangeSuccess"}


async def test_an_exchange_is_traced_from_the_request_to_its_statements(
    mall: Mall, clock: MovableClock
) -> None:
    """Below the caller's span; a batch is linked to all whom it settled; nothing personal in it."""
    with collecting() as collector:
        await _exchange_together(mall, clock, collector)
    spans = {span.span_id: span for span in collector.spans}
    requests = collector.named("request")
    assert len(requests) == 3
    [ours] = [span for span in requests if span.trace_id.hex() == _TRACE]
    assert ours.parent_span_id.hex() == _PARENT
    operations = collector.named("mutation oneClickExchange")
    assert {span.parent_span_id for span in operations} == {span.span_id for span in requests}
    batches = collector.named("settle exchanges")
    linked = [link.span_id for batch in batches for link in batch.links]
    assert sorted(linked) == sorted(span.span_id for span in operations)
    of_batches = [s for s in collector.spans if s.parent_span_id in {b.span_id for b in batches}]
    assert "WITH" in {span.name for span in of_batches}, "the writes"
    assert all(spans[span.parent_span_id].trace_id == span.trace_id for span in of_batches)
    for secret in ("eyJ", "南京西路", "李雷", "13800138000"):
        assert secret.encode() not in collector.raw, secret


async def test_a_job_is_traced(mall: Mall) -> None:
    """One span for a run, its statements below."""
    with collecting() as collector:
        observation = ObservationSettings(otlp_endpoint=collector.url)
        async with open_mall(replace(mall.settings, observation=observation), mall.clock) as traced:
            async with transaction(traced.stores.write) as session:
                writes = Writes()
                enqueue(writes, "activate_points", [{}], traced.clock())
                await writes.flush(session)
            assert await run_due(traced, jobs_named("activate_points")) == 1
    [run] = collector.named("job activate_points")
    assert any(span.parent_span_id == run.span_id for span in collector.spans)


def test_without_a_collector_nothing_of_it_is_loaded() -> None:
    """By what a web process or a worker imports; the redis client loads the metrics' half."""
    program = (
        "import sys, app, commands.jobs;"
        "parts = ('opentelemetry.sdk.trace', 'opentelemetry.exporter', 'services.monitoring.otlp');"
        "print([name for name in sys.modules if name.startswith(parts)])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout == "[]\n"
