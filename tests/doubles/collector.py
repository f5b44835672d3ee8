"""A double of an OpenTelemetry collector: takes traces over OTLP/HTTP and keeps their spans."""

import gzip
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span


class Collector:
    """The spans that were sent, and all of it as it came, to search for what must not be there."""

    def __init__(self) -> None:
        self.url = ""
        self.spans: list[Span] = []
        self.raw = b""

    def take(self, body: bytes) -> None:
        """Decode what one request carries."""
        self.raw += body
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
            for scope in resource.scope_spans:
                self.spans += scope.spans

    def named(self, name: str) -> list[Span]:
        """The spans of that name."""
        return [span for span in self.spans if span.name == name]


@contextmanager
def collecting() -> Iterator[Collector]:
    """A collector that listens on loopback until the block ends."""
    collector = Collector()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            is_right = (
                self.path == "/v1/traces"
                and self.headers["content-type"] == "application/x-protobuf"
            )
            if is_right:
                is_packed = self.headers.get("content-encoding") == "gzip"
                collector.take(gzip.decompress(body) if is_packed else body)
            self.send_response(200 if is_right else 400)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        collector.url = f"http://127.0.0.1:{server.server_address[1]}"
        thread = Thread(target=server.serve_forever)
        thread.start()
        try:
            yield collector
        finally:
            server.shutdown()
            thread.join()
