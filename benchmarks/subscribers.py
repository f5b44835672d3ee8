"""Many subscribers that cost little: one socket each, what arrives is looked at and dropped."""

import asyncio
import base64
import os
import re
import time
from collections.abc import Iterable, Sequence
from functools import partial
from itertools import cycle

import orjson

_POINTS = re.compile(rb'"points":(\d+)')
_TEXT, _CLOSE = 0x81, 0x88
_SHORT, _MEDIUM = 126, 127
_GREETED_WITHIN_S = 60.0


class Arrivals:
    """What frames said of the first on the board, and when they came."""

    def __init__(self) -> None:
        """Nothing has come yet."""
        self.frames = 0
        self.longest_frame = b""
        self.seen: list[list[tuple[float, int]]] = []
        """A list a subscriber: when (`time.perf_counter`) the first had how many points."""

    def forget(self) -> None:
        """Begin anew, with the same subscribers."""
        self.frames = 0
        for seen in self.seen:
            seen.clear()


class _Subscriber(asyncio.Protocol):
    """Shakes hands, says what it has to say, and notes every frame that tells of a board."""

    def __init__(self, path: str, says: Sequence[object], arrivals: Arrivals) -> None:
        self._path, self._says, self._arrivals = path, says, arrivals
        self._seen: list[tuple[float, int]] = []
        arrivals.seen.append(self._seen)
        self._buffer = b""
        self._is_open = False
        self.told: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        key = base64.b64encode(os.urandom(16)).decode()
        transport.write(
            f"GET {self._path} HTTP/1.1\r\nHost: mall\r\nUpgrade: websocket\r\n"
            f"Connection: Upgrade\r\nSec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n"
            "Sec-WebSocket-Protocol: graphql-transport-ws\r\n\r\n".encode()
        )

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if not self._is_open:
            head, separator, self._buffer = self._buffer.partition(b"\r\n\r\n")
            if not separator:
                self._buffer = head
                return
            if b" 101 " not in head:
                raise RuntimeError(f"no WebSocket: {head!r}")
            self._is_open = True
            for message in self._says:
                self.transport.write(masked(orjson.dumps(message)))
            if not self._says and not self.told.done():
                self.told.set_result(None)
        while (frame := self._take()) is not None:
            self._note(*frame)

    def _take(self) -> tuple[int, bytes] | None:
        """The next frame, which a server never masks; None while it is not all there."""
        if len(self._buffer) < 2:
            return None
        opcode, length, begin = self._buffer[0], self._buffer[1], 2
        if length >= _SHORT:
            begin = 4 if length == _SHORT else 10
            length = int.from_bytes(self._buffer[2:begin])
        if len(self._buffer) < begin + length:
            return None
        frame, self._buffer = self._buffer[begin : begin + length], self._buffer[begin + length :]
        return opcode, frame

    def _note(self, opcode: int, frame: bytes) -> None:
        points = _POINTS.search(frame)
        if opcode == _CLOSE or (points is None and b'"errors"' in frame):
            raise RuntimeError(f"a subscriber was refused: {frame!r}")
        if points is None:
            return
        arrivals = self._arrivals
        arrivals.frames += 1
        if not self._seen or self._seen[-1][1] != int(points[1]):
            self._seen.append((time.perf_counter(), int(points[1])))
        arrivals.longest_frame = max(arrivals.longest_frame, frame, key=len)
        if not self.told.done():
            self.told.set_result(None)


def masked(payload: bytes) -> bytes:
    """A text frame of a client; masked with nothing, which costs nothing."""
    length = len(payload)
    if length < _SHORT:
        head = bytes((_TEXT, 0x80 | length))
    else:
        head = bytes((_TEXT, 0x80 | _SHORT)) + length.to_bytes(2)
    return head + bytes(4) + payload


async def subscribe(
    ports: Sequence[int], path: str, says: Iterable[Sequence[object]], arrivals: Arrivals
) -> list[asyncio.Transport]:
    """Connect one for each of `says`, spread evenly over the ports; returns when all were told.

    Those who say nothing are only connected. Raises TimeoutError.
    """
    loop = asyncio.get_running_loop()
    subscribers: list[_Subscriber] = []
    for port, said in zip(cycle(ports), says, strict=False):
        _, subscriber = await loop.create_connection(
            partial(_Subscriber, path, said, arrivals), "127.0.0.1", port
        )
        subscribers.append(subscriber)
    async with asyncio.timeout(_GREETED_WITHIN_S):
        await asyncio.gather(*(subscriber.told for subscriber in subscribers))
    return [subscriber.transport for subscriber in subscribers]
