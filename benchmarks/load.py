"""A load generator that costs little: one socket per connection, requests as ready bytes.

It shares the machine with what it measures, so it must not be what is measured.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import cycle

NextRequest = Callable[[], bytes]
"""Makes the next whole HTTP/1.1 request; raises StopIteration when there is none."""

Check = Callable[[bytes], bool]
"""Whether the body of an answer is what was asked for."""


@dataclass(slots=True)
class Answers:
    """What came back: how many good answers, in which time, and the first bad ones."""

    good: int = 0
    bad: list[bytes] = field(default_factory=list[bytes])
    bad_count: int = 0
    latencies_ms: list[float] = field(default_factory=list[float])
    duration_s: float = 0.0

    @property
    def per_second(self) -> float:
        """Good answers per second."""
        return self.good / self.duration_s

    def percentile_ms(self, share: float) -> float:
        """The latency below which that share of the answers lies."""
        ordered = sorted(self.latencies_ms)
        return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


class _Connection(asyncio.Protocol):
    """Sends a request, reads its answer, checks it, sends the next."""

    def __init__(
        self, next_request: NextRequest, check: Check, answers: Answers, end_s: float
    ) -> None:
        self._next_request, self._check = next_request, check
        self._answers, self._end_s = answers, end_s
        self._buffer, self._sent_at_s, self._is_waiting = b"", 0.0, False
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._send()

    def _send(self) -> None:
        try:
            request = self._next_request()
        except StopIteration:
            self._transport.close()
            return
        self._sent_at_s, self._is_waiting = time.perf_counter(), True
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head, separator, body = self._buffer.partition(b"\r\n\r\n")
        if not separator or len(body) < _content_length(head):
            return
        self._buffer, self._is_waiting = b"", False
        self._note(head, body)
        if time.perf_counter() < self._end_s:
            self._send()
        else:
            self._transport.close()

    def _note(self, head: bytes, body: bytes) -> None:
        self._answers.latencies_ms.append((time.perf_counter() - self._sent_at_s) * 1000)
        if head.startswith(b"HTTP/1.1 200") and self._check(body):
            self._answers.good += 1
            return
        self._answers.bad_count += 1
        if len(self._answers.bad) < 3:
            self._answers.bad.append(head[:40] + b" " + body[:300])

    def connection_lost(self, exc: Exception | None) -> None:
        if self._is_waiting:
            self._answers.bad_count += 1
            self._answers.bad.append(f"connection lost: {exc!r}".encode())
        if not self.done.done():
            self.done.set_result(None)


def _content_length(head: bytes) -> int:
    lowered = head.lower()
    start = lowered.index(b"content-length:") + 15
    end = lowered.find(b"\r\n", start)
    return int(lowered[start:] if end < 0 else lowered[start:end])


async def drive(
    ports: Sequence[int],
    next_request: NextRequest,
    check: Check,
    *,
    connections: int,
    duration_s: float,
) -> Answers:
    """Keep `connections` busy for `duration_s`, spread evenly over the ports of this machine."""
    answers, loop = Answers(), asyncio.get_running_loop()
    started_at_s = time.perf_counter()
    end_s = started_at_s + duration_s
    protocols: list[_Connection] = []
    for port, _ in zip(cycle(ports), range(connections), strict=False):
        _, protocol = await loop.create_connection(
            lambda: _Connection(next_request, check, answers, end_s), "127.0.0.1", port
        )
        protocols.append(protocol)
    await asyncio.gather(*(protocol.done for protocol in protocols))
    answers.duration_s = time.perf_counter() - started_at_s
    return answers


def post(path: str, body: bytes, token: str | None = None) -> bytes:
    """A whole POST of JSON."""
    authorization = f"Authorization: Bearer {token}\r\n" if token else ""
    head = (
        f"POST {path} HTTP/1.1\r\nHost: mall\r\nContent-Type: application/json\r\n"
        f"{authorization}Content-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def get(path: str) -> bytes:
    """A whole GET."""
    return f"GET {path} HTTP/1.1\r\nHost: mall\r\n\r\n".encode()
