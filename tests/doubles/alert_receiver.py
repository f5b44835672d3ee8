"""Who takes alerts: webhooks over HTTP, each checked as its service would, and a mail server."""

import asyncio
import base64
import hashlib
import hmac
import json
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

from pydantic import SecretStr

from settings import AlertingSettings

CHANNELS = ("webhook", "dingtalk", "slack", "mail")
WEBHOOK_SECRET, DINGTALK_SECRET = "webhook secret", "SEC dingtalk"


@dataclass
class Received:
    """One notice that was taken: by which channel, its id and its body."""

    channel: str
    delivery_id: str
    body: Any


@dataclass
class AlertReceiver:
    """Takes notices at `/webhook`, `/dingtalk` and `/slack`, and by SMTP; every third it does not.

    `refuses_every` 0: takes all; 1: none. `wrong` holds what no receiver would have believed.
    """

    refuses_every: int = 3
    hangs: bool = False
    taken: list[Received] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    asked: Counter[str] = field(default_factory=Counter)
    port: int = 0
    smtp_port: int = 0
    _servers: list[asyncio.Server] = field(default_factory=list)
    _tasks: list[asyncio.Task[None]] = field(default_factory=list)

    async def __aenter__(self) -> Self:
        for serve in (self._http, self._smtp):
            self._servers.append(
                await asyncio.start_server(partial(self._accept, serve), "127.0.0.1", 0)
            )
        self.port, self.smtp_port = (server.sockets[0].getsockname()[1] for server in self._servers)
        return self

    async def __aexit__(self, *_: object) -> None:
        for server in self._servers:
            server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _accept(
        self, serve: Any, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self._tasks.append(asyncio.create_task(self._guarded(serve, reader, writer)))

    async def _guarded(
        self, serve: Any, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        try:
            with suppress(OSError, asyncio.IncompleteReadError):
                await serve(reader, writer)
                await writer.drain()
        finally:
            writer.close()

    def as_channels(self, **thresholds: float) -> AlertingSettings:
        """Settings by which all channels lead here."""
        url = f"http://127.0.0.1:{self.port}"
        return AlertingSettings(
            alert_thresholds=thresholds,
            alert_webhook_url=SecretStr(f"{url}/webhook"),
            alert_webhook_secret=SecretStr(WEBHOOK_SECRET),
            alert_dingtalk_url=SecretStr(f"{url}/dingtalk?access_token=t"),
            alert_dingtalk_secret=SecretStr(DINGTALK_SECRET),
            alert_slack_url=SecretStr(f"{url}/slack"),
            alert_mail_to="a@mall.test, b@mall.test",
            alert_mail_from="mall@mall.test",
            alert_smtp_host="127.0.0.1",
            alert_smtp_port=self.smtp_port,
            alert_smtp_security="none",
            alert_timeout_s=1,
        )

    def of(self, channel: str) -> list[Received]:
        """What one channel took."""
        return [each for each in self.taken if each.channel == channel]

    def _refuses(self, channel: str) -> bool:
        self.asked[channel] += 1
        return self.refuses_every > 0 and self.asked[channel] % self.refuses_every == 0

    async def _http(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        headers = dict(line.lower().split(": ", 1) for line in head[1:] if line)
        body = await reader.readexactly(int(headers["content-length"]))
        target = urlsplit(head[0].split()[1])
        channel = target.path.strip("/")
        if self.hangs:
            await asyncio.sleep(60)
        status, answer = self._answer(channel, headers, target.query, body)
        writer.write(
            f"HTTP/1.1 {status} X\r\ncontent-length: {len(answer)}\r\nconnection: close\r\n"
            f"location: /elsewhere\r\n\r\n{answer}".encode()
        )

    def _answer(
        self, channel: str, headers: dict[str, str], query: str, body: bytes
    ) -> tuple[int, str]:
        if channel not in ("webhook", "dingtalk", "slack"):
            self.wrong.append(channel)
            return 404, ""
        if self._refuses(channel):
            return (200, '{"errcode": 130101}') if channel == "dingtalk" else (302, "")
        said = json.loads(body)
        if channel == "webhook":
            self._check_webhook(headers, body)
            delivery_id = said["deliveryId"]
        elif channel == "dingtalk":
            self._check_dingtalk(query)
            delivery_id = said["markdown"]["text"].split("Delivery ")[1]
        else:
            delivery_id = said["text"].split("Delivery ")[1]
        self.taken.append(Received(channel, delivery_id, said))
        return 200, '{"errcode": 0, "errmsg": "ok"}' if channel == "dingtalk" else "ok"

    def _check_webhook(self, headers: dict[str, str], body: bytes) -> None:
        signed = headers["mall-timestamp"].encode() + b"." + body
        digest = hmac.new(WEBHOOK_SECRET.encode(), signed, hashlib.sha256).hexdigest()
        if headers["mall-signature"] != f"sha256={digest}":
            self.wrong.append("signature of the webhook")
        if headers["mall-delivery"] != json.loads(body)["deliveryId"]:
            self.wrong.append("delivery id")

    def _check_dingtalk(self, query: str) -> None:
        given = {name: values[0] for name, values in parse_qs(query).items()}
        signed = f"{given['timestamp']}\n{DINGTALK_SECRET}".encode()
        digest = hmac.new(DINGTALK_SECRET.encode(), signed, hashlib.sha256).digest()
        if base64.b64decode(given["sign"]) != digest or given["access_token"] != "t":
            self.wrong.append("signature of DingTalk")

    async def _smtp(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        def say(line: str) -> None:
            writer.write(f"{line}\r\n".encode())

        if self.hangs:
            await asyncio.sleep(60)
        say("220 here")
        is_refused = self._refuses("mail")
        while line := (await reader.readline()).decode().strip():
            verb = line.split()[0].upper()
            if verb == "DATA":
                say("354 go on")
                data = (await reader.readuntil(b"\r\n.\r\n")).decode()
                self._take_mail(data)
                say("250 taken")
            elif verb == "QUIT":
                say("221 bye")
                break
            else:
                say("451 later" if verb == "MAIL" and is_refused else "250 fine")

    def _take_mail(self, data: str) -> None:
        delivery_id = data.split("Message-ID: <")[1].split("@", maxsplit=1)[0]
        self.taken.append(Received("mail", delivery_id, data))
