"""Traces of what was done for a request or a job, where somebody collects them.

Without a collector there is no tracer, and what makes and sends spans is not even loaded.
"""

import os
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import AbstractContextManager, asynccontextmanager
from importlib import import_module
from typing import Any, Protocol

from sqlalchemy.ext.asyncio import AsyncEngine

from settings import Settings

_EXPORTING = "services.monitoring.otlp"
_STANDARD_VARIABLES = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")


class Tracer(Protocol):
    """Opens spans. What is begun within a span, in its task or one that it began, is below it."""

    def serving(self, headers: Mapping[str, str]) -> AbstractContextManager[str]:
        """A request or a socket, below what its `traceparent` says; begins with the trace's id."""
        ...

    def begin_operation(self, name: str, kind: str) -> None:
        """A GraphQL operation, until `end_operation` in the same task."""
        ...

    def end_operation(self, code: str | None) -> None:
        """The operation that was begun is over, with an error of that code; or none was begun."""
        ...

    def here(self) -> object | None:
        """Where we are, to be linked to from elsewhere; None where nothing is traced."""
        ...

    def settling(self, desk: str, places: Sequence[object]) -> AbstractContextManager[None]:
        """A batch of a group commit, linked to where its requests came from."""
        ...

    def working(self, job: str, rows: int) -> AbstractContextManager[None]:
        """A run of a job."""
        ...


@asynccontextmanager
async def open_tracer(settings: Settings, engine: AsyncEngine) -> AsyncGenerator[Tracer | None]:
    """A tracer that also tells of each statement of the engine; None where nobody collects.

    What it has not sent yet it sends at the end, for some seconds at most.
    """
    endpoint = settings.observation.otlp_endpoint
    if endpoint is None and not any(map(os.environ.get, _STANDARD_VARIABLES)):
        yield None
        return
    exporting: Any = import_module(_EXPORTING)
    async with exporting.open_otlp(endpoint, settings.observation.trace_share, engine) as tracer:
        yield tracer
