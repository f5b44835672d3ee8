"""What both doubles share: a TLS listener that can be closed and opened again, scripts, records."""

import asyncio
import contextlib
import json
import socket
import ssl
import struct
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from email.utils import formatdate
from pathlib import Path
from typing import Any, TextIO

SLOW, RESET, GOAWAY, DRIP = "slow", "reset", "goaway", "drip"
"""What a script may say beside the names of answers."""
ASKED_WAIT_S = 120


@dataclass(frozen=True)
class Answer:
    """A status, what is said of it, and how long to stay away (in seconds, or until a date)."""

    status: int
    said: Any = None
    retry_after_s: int | None = None
    as_date: bool = False

    def retry_after(self, now: float) -> str | None:
        """The header, as seconds or as an HTTP date."""
        if self.retry_after_s is None:
            return None
        wait_s = self.retry_after_s
        return formatdate(now + wait_s, usegmt=True) if self.as_date else str(wait_s)


@dataclass
class Script:
    """How the double behaves to each device token: one name after another, the last for ever."""

    by_token: dict[str, list[str]] = field(default_factory=dict)
    default: str = "success"

    def set(self, token: str, *names: str) -> None:
        """Behave to `token` like this, from now on."""
        self.by_token[token] = list(names)

    def next(self, token: str) -> str:
        """How to behave to `token` this time."""
        names = self.by_token.get(token) or [self.default]
        return names.pop(0) if len(names) > 1 else names[0]


@dataclass(frozen=True)
class Seen:
    """One request for a push that reached the double, and how it behaved."""

    provider: str
    connection: int
    token: str
    collapse_id: str
    behaviour: str
    headers: dict[str, str]
    body: Any


class Record:
    """Everything seen; appended to a file as well, a line of JSON each, when there is one."""

    def __init__(self, file: Path | None = None) -> None:
        self.seen: list[Seen] = []
        self._file: TextIO | None = file.open("a", buffering=1) if file else None

    def add(self, seen: Seen) -> None:
        """Keep it. With a file only there: a benchmark's million would not fit into memory."""
        if self._file is None:
            self.seen.append(seen)
        else:
            self._file.write(json.dumps(asdict(seen)) + "\n")

    def of(self, token: str) -> list[Seen]:
        """What was seen for a device token."""
        return [seen for seen in self.seen if seen.token == token]

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()


class Listening(ABC):
    """A TLS listener on loopback that counts its connections."""

    def __init__(self, tls: ssl.SSLContext, clock: Callable[[], float] = time.time) -> None:
        self._tls = tls
        self.clock = clock
        self.port = 0
        self.connections = 0
        self.slow_s = 30.0
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._writers: set[asyncio.StreamWriter] = set()

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"https://127.0.0.1:{self.port}"

    async def start(self) -> None:
        """Listen; on the same port as before, if there was one."""
        self._server = await asyncio.start_server(
            self._accepted, "127.0.0.1", self.port, ssl=self._tls, backlog=256
        )
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Refuse connections, and drop those there are."""
        if self._server is not None:
            self._server.close()
        for writer in list(self._writers):
            writer.transport.abort()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def later(self, coroutine) -> None:
        """Do something beside, as long as the double runs."""
        task = asyncio.create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    @abstractmethod
    async def serve(self, number: int, reader, writer) -> None:
        """Speak the protocol on one connection."""

    async def _accepted(self, reader, writer) -> None:
        # Not left to asyncio, which would log what becomes of a connection that is reset.
        self.connections += 1
        self.later(self._guarded(self.connections, reader, writer))

    async def _guarded(self, number, reader, writer) -> None:
        self._writers.add(writer)
        try:
            with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
                await self.serve(number, reader, writer)
        finally:
            self._writers.discard(writer)
            writer.transport.abort()


def reset(writer: asyncio.StreamWriter) -> None:
    """End a connection with RST, like a host that crashed."""
    sock = writer.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
