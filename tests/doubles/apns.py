"""A double of APNs: HTTP/2 over TLS with ALPN, provider tokens and the headers Apple documents."""

import asyncio
import json
import re
import ssl
import time
from collections.abc import Callable
from typing import Any
from uuid import UUID

import h2.config
import h2.connection
import h2.errors
import h2.events
import h2.exceptions
import h2.settings
import jwt

from tests.doubles.listening import (
    ASKED_WAIT_S,
    GOAWAY,
    RESET,
    SLOW,
    Answer,
    Listening,
    Record,
    Script,
    Seen,
    reset,
)

GONE_AT_MS = 1_790_000_000_123
_PATH = re.compile(r"/3/device/([^/?]+)")
_PUSH_TYPES = {"alert", "background", "voip", "complication", "fileprovider", "mdm", "liveactivity"}
STREAM_RESET = "stream_reset"


def _refusal(status: int, reason: str, **more) -> Answer:
    return Answer(status, {"reason": reason}, **more)


ANSWERS = {
    "unregistered": Answer(410, {"reason": "Unregistered", "timestamp": GONE_AT_MS}),
    "expired_device_token": Answer(410, {"reason": "ExpiredToken", "timestamp": GONE_AT_MS}),
    "bad_token": _refusal(400, "BadDeviceToken"),
    "other_topic": _refusal(400, "DeviceTokenNotForTopic"),
    "malformed": _refusal(400, "PayloadEmpty"),
    "bad_topic": _refusal(400, "TopicDisallowed"),
    "idle_timeout": _refusal(400, "IdleTimeout"),
    "too_big": _refusal(413, "PayloadTooLarge"),
    "invalid_provider_token": _refusal(403, "InvalidProviderToken"),
    "expired_provider_token": _refusal(403, "ExpiredProviderToken"),
    "too_many_token_updates": _refusal(429, "TooManyProviderTokenUpdates"),
    "too_many_seconds": _refusal(429, "TooManyRequests", retry_after_s=ASKED_WAIT_S),
    "too_many_date": _refusal(429, "TooManyRequests", retry_after_s=ASKED_WAIT_S, as_date=True),
    "internal": _refusal(500, "InternalServerError"),
    "unavailable": _refusal(503, "ServiceUnavailable", retry_after_s=ASKED_WAIT_S),
    "shutdown": _refusal(503, "Shutdown"),
    "not_json": Answer(502, "<html>Bad Gateway</html>"),
}


class ApnsDouble(Listening):
    """Takes pushes for one app from the holder of one key."""

    def __init__(
        self,
        tls: ssl.SSLContext,
        public_key,
        key_id: str,
        team_id: str,
        topic: str,
        record: Record | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        super().__init__(tls, clock)
        self._public_key, self.key_id, self.team_id, self.topic = public_key, key_id, team_id, topic
        self.script = Script()
        self.record = record or Record()
        self.provider_tokens: list[str] = []
        self._expired: set[str] = set()
        self._claims: dict[str, dict[str, Any] | None] = {}  # checked once, like the real one
        self.most_streams = 0

    def expire_tokens(self) -> None:
        """Call every provider token seen so far expired."""
        self._expired |= set(self.provider_tokens)

    async def serve(self, number, reader, writer) -> None:
        """Speak HTTP/2 on one connection."""
        await _Connection(self, number, reader, writer).run()

    def judge(self, headers: dict[str, str], body: bytes) -> Answer | None:
        """What APNs would refuse, like the real one: None when it takes it."""
        if headers[":method"] != "POST":
            return _refusal(405, "MethodNotAllowed")
        path = _PATH.fullmatch(headers[":path"])
        if path is None:
            return _refusal(404, "BadPath")
        return (
            self._judge_provider_token(headers.get("authorization", ""))
            or self._judge_headers(headers)
            or _judge_payload(body)
            or (None if re.fullmatch("[0-9a-f]+", path[1]) else ANSWERS["bad_token"])
        )

    def _judge_provider_token(self, authorization: str) -> Answer | None:
        token = authorization.removeprefix("bearer ")
        if token not in self._claims:
            self._claims[token] = self._verified(token)
        claims = self._claims[token]
        if claims is None:
            return ANSWERS["invalid_provider_token"]
        if token not in self.provider_tokens:
            self.provider_tokens.append(token)
        is_of_the_last_hour = -60 <= self.clock() - claims["iat"] <= 3_600
        if token in self._expired or not is_of_the_last_hour:
            return ANSWERS["expired_provider_token"]
        return None

    def _verified(self, token: str) -> dict[str, Any] | None:
        try:
            claims = jwt.decode(token, self._public_key, ["ES256"], options={"verify_iat": False})
        except jwt.InvalidTokenError:
            return None
        is_ours = claims.get("iss") == self.team_id and set(claims) == {"iss", "iat"}
        return (
            claims if is_ours and jwt.get_unverified_header(token)["kid"] == self.key_id else None
        )

    def _judge_headers(self, headers: dict[str, str]) -> Answer | None:
        if headers.get("apns-topic") != self.topic:
            return ANSWERS["bad_topic"]
        if headers.get("apns-push-type") not in _PUSH_TYPES:
            return _refusal(400, "InvalidPushType")
        if headers.get("apns-priority") not in {"1", "5", "10"}:
            return _refusal(400, "BadPriority")
        if not headers.get("apns-expiration", "").isdecimal():
            return _refusal(400, "BadExpirationDate")
        if not 0 < len(headers.get("apns-collapse-id", "").encode()) <= 64:
            return _refusal(400, "BadCollapseId")
        try:
            UUID(headers.get("apns-id", ""))
        except ValueError:
            return _refusal(400, "BadMessageId")
        return None


def _judge_payload(body: bytes) -> Answer | None:
    if not body:
        return ANSWERS["malformed"]
    if len(body) > 4_096:
        return ANSWERS["too_big"]
    try:
        alert = json.loads(body)["aps"]["alert"]
    except (ValueError, KeyError, TypeError):
        return ANSWERS["malformed"]
    return None if set(alert) == {"title", "body"} else ANSWERS["malformed"]


class _Connection:
    """One HTTP/2 connection and the streams on it."""

    def __init__(self, double: ApnsDouble, number: int, reader, writer) -> None:
        self._double, self._number, self._reader, self._writer = double, number, reader, writer
        config = h2.config.H2Configuration(client_side=False, header_encoding="utf-8")
        self._h2 = h2.connection.H2Connection(config)
        self._open: dict[int, tuple[dict[str, str], bytearray]] = {}

    async def run(self) -> None:
        assert self._writer.get_extra_info("ssl_object").selected_alpn_protocol() == "h2"
        self._h2.initiate_connection()
        self._h2.update_settings({h2.settings.SettingCodes.MAX_CONCURRENT_STREAMS: 1_000})
        self._flush()
        while data := await self._reader.read(65_536):
            for event in self._h2.receive_data(data):
                if isinstance(event, h2.events.ConnectionTerminated):
                    return
                self._take(event)
            self._flush()
            await self._writer.drain()

    def _take(self, event) -> None:
        if isinstance(event, h2.events.RequestReceived):
            self._open[event.stream_id] = (dict(event.headers), bytearray())
            self._double.most_streams = max(self._double.most_streams, len(self._open))
        elif isinstance(event, h2.events.DataReceived):
            self._open[event.stream_id][1].extend(event.data)
            self._h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        elif isinstance(event, h2.events.StreamEnded):
            self._answer(event.stream_id)
        elif isinstance(event, h2.events.StreamReset):
            self._open.pop(event.stream_id, None)

    def _answer(self, stream: int) -> None:
        headers, body = self._open[stream]
        refused = self._double.judge(headers, bytes(body))
        token = headers[":path"].rpartition("/")[2]
        # Who is not let in never reaches a device.
        behaviour = self._double.script.next(token) if refused is None else "refused"
        self._double.record.add(_seen(self._number, token, behaviour, headers, bytes(body)))
        if behaviour == SLOW:
            self._double.later(self._answer_later(stream, headers))
        elif behaviour == RESET:
            reset(self._writer)
        elif behaviour == STREAM_RESET:
            self._h2.reset_stream(stream, h2.errors.ErrorCodes.INTERNAL_ERROR)
        elif behaviour == GOAWAY:
            self._go_away(stream)
        else:
            answer = refused or ANSWERS.get(behaviour, Answer(200))
            self._write(stream, headers.get("apns-id", ""), answer)

    async def _answer_later(self, stream: int, headers: dict[str, str]) -> None:
        await asyncio.sleep(self._double.slow_s)
        if stream in self._open and not self._writer.is_closing():
            self._write(stream, headers.get("apns-id", ""), Answer(200))
            self._flush()

    def _go_away(self, stream: int) -> None:
        # Neither this stream nor those still open are answered.
        said = json.dumps({"reason": "Shutdown"}).encode()
        self._h2.close_connection(
            h2.errors.ErrorCodes.NO_ERROR, said, last_stream_id=max(stream - 2, 0)
        )
        self._flush()
        self._writer.close()

    def _write(self, stream: int, apns_id: str, answer: Answer) -> None:
        headers = [(":status", str(answer.status)), ("apns-id", apns_id)]
        if (wait := answer.retry_after(self._double.clock())) is not None:
            headers.append(("retry-after", wait))
        text = answer.said if isinstance(answer.said, str) else json.dumps(answer.said)
        has_body = answer.said is not None
        try:
            self._h2.send_headers(stream, headers, end_stream=not has_body)
            if has_body:
                self._h2.send_data(stream, text.encode(), end_stream=True)
        except h2.exceptions.ProtocolError:
            return  # it went away meanwhile
        self._open.pop(stream, None)

    def _flush(self) -> None:
        if data := self._h2.data_to_send():
            self._writer.write(data)


def _seen(number: int, token: str, behaviour: str, headers: dict[str, str], body: bytes) -> Seen:
    collapse_id = headers.get("apns-collapse-id", "")
    try:
        said = json.loads(body)
    except ValueError:
        said = body.decode(errors="replace")
    return Seen("apns", number, token, collapse_id, behaviour, headers, said)
