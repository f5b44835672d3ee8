"""Who decides what is traced: the mall, not whoever sends a `traceparent`."""

import pytest
from opentelemetry.sdk.trace import TracerProvider

from services.monitoring.otlp import OtlpTracer, sampler_of

_LUCKY = f"{1:032x}"
"""Of all ids one that every sampler by id takes."""
_CALLS = 200


def _traced(share: float, sampled: str | None) -> int:
    """How many of 200 requests are traced, where their caller says `01`, `00`, or nothing."""
    tracer = OtlpTracer(TracerProvider(sampler=sampler_of(share)))
    headers = {} if sampled is None else {"traceparent": f"00-{_LUCKY}-{1:016x}-{sampled}"}
    count = 0
    for _ in range(_CALLS):
        with tracer.serving(headers) as trace_id:
            assert sampled is None or trace_id == _LUCKY
            count += tracer.here() is not None
    return count


@pytest.mark.parametrize("sampled", [None, "01"])
def test_the_share_is_that_of_the_mall(sampled: str | None) -> None:
    """None, all, or some of those that ask for it by an id that they chose."""
    assert _traced(0, sampled) == 0
    assert 0 < _traced(0.5, sampled) < _CALLS  # but once in 2 to the 199th
    assert _traced(1, sampled) == _CALLS


def test_what_its_caller_does_not_trace_is_not() -> None:
    """Half a trace is of no use."""
    assert _traced(1, "00") == 0


def test_below_what_is_traced_everything_is() -> None:
    """An operation below its request, a batch below an operation: no lots are drawn again."""
    tracer = OtlpTracer(TracerProvider(sampler=sampler_of(0.5)))
    for _ in range(_CALLS):
        with tracer.serving({"traceparent": f"00-{_LUCKY}-{1:016x}-01"}):
            place = tracer.here()
            if place is not None:
                with tracer.settling("exchanges", [place]):
                    assert tracer.here() is not None
