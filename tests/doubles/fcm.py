"""A double of FCM HTTP v1 and of Google's token endpoint: HTTPS on loopback."""

import asyncio
import json
import secrets
import ssl
import time
from collections.abc import Callable
from urllib.parse import parse_qs

import jwt

from tests.doubles.fcm_answers import ACCESS_TOKEN_EXPIRED, ANSWERS, complaint
from tests.doubles.listening import (
    DRIP,
    RESET,
    SLOW,
    Answer,
    Listening,
    Record,
    Script,
    Seen,
    reset,
)

_SCOPE = "https://www.googleapis.com/auth/firebase.messaging"
_GRANT = "urn:ietf:params:oauth:grant-type:jwt-bearer"
# google-auth writes this whatever the token URI of the account is.
_AUDIENCE = "https://oauth2.googleapis.com/token"
LIFETIME_S = 3_599


class FcmDouble(Listening):
    """Takes pushes of one project from one service account."""

    def __init__(
        self,
        tls: ssl.SSLContext,
        project: str,
        account: str,
        public_key,
        record: Record | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        super().__init__(tls, clock)
        self.project, self.account, self._public_key = project, account, public_key
        self.script = Script()
        self.record = record or Record()
        self.token_endpoint = "success"  # or "refused", "unavailable", SLOW, "slow_unavailable"
        self.tokens_asked = 0
        self._tokens: dict[str, float] = {}

    def expire_tokens(self) -> None:
        """Refuse every access token given out so far."""
        self._tokens.clear()

    async def serve(self, number, reader, writer) -> None:
        """HTTP/1.1 with connections that are kept."""
        while True:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            request, *lines = head.rstrip().split("\r\n")
            method, path, _ = request.split(" ")
            headers = {k.lower(): v.strip() for k, _, v in (line.partition(":") for line in lines)}
            body = await reader.readexactly(int(headers.get("content-length", 0)))
            if path == "/token":
                answer = await self._token(headers, body)
            elif method == "POST" and path == f"/v1/projects/{self.project}/messages:send":
                answer = await self._send(number, headers, body, writer)
            else:
                answer = ANSWERS["unknown_project"]
            if answer is None:
                return
            writer.write(self._written(answer))
            await writer.drain()

    async def _token(self, headers, body: bytes) -> Answer:
        self.tokens_asked += 1
        if self.token_endpoint.startswith(SLOW):
            await asyncio.sleep(self.slow_s)
        if self.token_endpoint.endswith("unavailable"):
            return Answer(503, {"error": "temporarily_unavailable"})
        form = {name: values[0] for name, values in parse_qs(body.decode()).items()}
        if self.token_endpoint == "refused" or not self._vouches(form):
            return Answer(400, {"error": "invalid_grant", "error_description": "Invalid JWT"})
        token = f"ya29.{secrets.token_urlsafe(24)}"
        self._tokens[token] = self.clock() + LIFETIME_S
        said = {"access_token": token, "expires_in": LIFETIME_S, "token_type": "Bearer"}
        return Answer(200, said)

    def _vouches(self, form: dict[str, str]) -> bool:
        try:
            claims = jwt.decode(
                form["assertion"],
                self._public_key,
                ["RS256"],
                audience=_AUDIENCE,
                issuer=self.account,
                options={"require": ["iss", "aud", "iat", "exp"]},
            )
        except (jwt.InvalidTokenError, KeyError):
            return False
        lasts_s = claims["exp"] - claims["iat"]
        return form.get("grant_type") == _GRANT and claims["scope"] == _SCOPE and lasts_s <= 3_600

    async def _send(self, number, headers, body: bytes, writer) -> Answer | None:
        bearer = headers.get("authorization", "").removeprefix("Bearer ")
        if self._tokens.get(bearer, 0.0) <= self.clock():
            return ACCESS_TOKEN_EXPIRED
        message = json.loads(body)
        token = message.get("message", {}).get("token", "")
        behaviour = self.script.next(token)
        key = message.get("message", {}).get("android", {}).get("collapse_key", "")
        self.record.add(Seen("fcm", number, token, key, behaviour, headers, message))
        if behaviour == SLOW:
            await asyncio.sleep(self.slow_s)
        if behaviour == RESET:
            return reset(writer)
        if behaviour == DRIP:
            return await self._drip(writer)
        refused = ANSWERS.get(behaviour) or complaint(message)
        name = f"projects/{self.project}/messages/{secrets.token_hex(8)}"
        return refused or Answer(200, {"name": name})

    async def _drip(self, writer) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 10000\r\n\r\n")
        for _ in range(10_000):
            writer.write(b" ")
            await writer.drain()
            await asyncio.sleep(0.05)

    def _written(self, answer: Answer) -> bytes:
        text = answer.said if isinstance(answer.said, str) else json.dumps(answer.said)
        body = text.encode()
        lines = [
            f"HTTP/1.1 {answer.status} Said",
            "Content-Type: application/json; charset=UTF-8",
            f"Content-Length: {len(body)}",
        ]
        if answer.status == 302:
            lines.append(f"Location: {self.url}/elsewhere")
        if (wait := answer.retry_after(self.clock())) is not None:
            lines.append(f"Retry-After: {wait}")
        return "\r\n".join([*lines, "", ""]).encode() + body
