"""A mail server that takes mail over TLS only, and only from who logs in."""

import asyncio
import base64
import ssl
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Self

USERNAME, PASSWORD = "mall", "secret of mail"


@dataclass
class MailServer:
    """TLS from the first byte on where `is_implicit`, else by STARTTLS."""

    context: ssl.SSLContext
    is_implicit: bool
    port: int = 0
    mails: list[str] = field(default_factory=list)
    said: list[str] = field(default_factory=list)
    """The verbs that came before anything was encrypted."""
    _tasks: list[asyncio.Task[None]] = field(default_factory=list)

    async def __aenter__(self) -> Self:
        context = self.context if self.is_implicit else None
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0, ssl=context)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._tasks.append(asyncio.create_task(self._serve(reader, writer)))

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            with suppress(OSError, asyncio.IncompleteReadError):
                await self._talk(reader, writer)
                await writer.drain()
        finally:
            writer.close()

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        is_safe, is_known = self.is_implicit, False
        writer.write(b"220 here\r\n")
        while line := (await reader.readline()).decode().strip():
            verb, _, rest = line.partition(" ")
            if not is_safe:
                self.said.append(verb.upper())
            match verb.upper():
                case "EHLO":
                    offers = "AUTH PLAIN" if is_safe else "STARTTLS"
                    writer.write(f"250-here\r\n250 {offers}\r\n".encode())
                case "STARTTLS":
                    writer.write(b"220 go on\r\n")
                    await writer.start_tls(self.context)
                    is_safe = True
                case "AUTH" if is_safe:
                    expected = base64.b64encode(f"\0{USERNAME}\0{PASSWORD}".encode()).decode()
                    is_known = rest == f"PLAIN {expected}"
                    writer.write(b"235 welcome\r\n" if is_known else b"535 no\r\n")
                case "DATA" if is_known:
                    writer.write(b"354 go on\r\n")
                    self.mails.append((await reader.readuntil(b"\r\n.\r\n")).decode())
                    writer.write(b"250 taken\r\n")
                case "QUIT":
                    writer.write(b"221 bye\r\n")
                    return
                case _:
                    writer.write(b"250 fine\r\n" if is_known else b"530 who are you\r\n")
