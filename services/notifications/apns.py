"""APNs over HTTP/2 with provider tokens, through httpx2. Why not apns2: `docs/decisions/0016`."""

import re
import time
from collections.abc import Callable
from uuid import UUID, uuid5

import httpx2
import orjson
from h2.exceptions import H2Error

from services.notifications.apns_answers import ApnsAnswer, is_token_expired, outcome_of
from services.notifications.apns_connections import ApnsConnections
from services.notifications.apns_token import ApnsKey, ApnsToken
from services.notifications.providers import DeviceGone, Outcome, PushMessage, RetryLater
from settings import NotificationSettings

_PUSHES = UUID("6a2b5a0e-4c0f-4f57-9a63-1f0f5b9a4b7e")
_DEVICE_TOKEN = re.compile(r"[0-9A-Fa-f]{1,200}")  # of no fixed length, says Apple


class ApnsChannel:
    """The way to APNs: many streams over one connection, a new one after any trouble."""

    def __init__(
        self,
        settings: NotificationSettings,
        topic: str,
        key: ApnsKey,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Connect to nothing yet. `clock` tells Unix time."""
        self._endpoint = settings.apns_endpoint
        self._topic = topic
        self._lifetime_s = settings.push_lifetime_s
        self._clock = clock
        self._token = ApnsToken(key, clock)
        self._connections = ApnsConnections(settings)

    async def deliver(self, message: PushMessage) -> Outcome:
        """Hand a message to APNs; never raises for what APNs or the network does."""
        if not _DEVICE_TOKEN.fullmatch(message.token):
            return DeviceGone("BadDeviceToken")  # what APNs would say; it would be a path there
        body = _body_of(message)
        token = self._token.current()
        try:
            answer = await self._post(message, body, token)
            if is_token_expired(answer) and (token := self._token.renewed(token)):
                answer = await self._post(message, body, token)
        except (httpx2.HTTPError, H2Error, OSError) as error:
            return RetryLater(None, f"APNs: {type(error).__name__}", is_outage=True)
        return outcome_of(answer, self._clock())

    async def aclose(self) -> None:
        """Close the connections."""
        await self._connections.aclose()

    async def _post(self, message: PushMessage, body: bytes, token: str) -> ApnsAnswer:
        url = f"{self._endpoint}/3/device/{message.token}"
        headers = self._headers(message, body, token)
        answer = await self._connections.post(url, body, headers)
        return ApnsAnswer(
            answer.status_code,
            answer.headers.get("apns-id", headers["apns-id"]),
            answer.headers.get("retry-after"),
            answer.content,
        )

    def _headers(self, message: PushMessage, body: bytes, token: str) -> dict[str, str]:
        expiration = int(self._clock()) + self._lifetime_s if self._lifetime_s else 0
        return {
            "authorization": f"bearer {token}",
            "content-type": "application/json",
            "apns-topic": self._topic,
            "apns-push-type": "alert",
            "apns-priority": "10",
            "apns-expiration": str(expiration),
            "apns-collapse-id": message.collapse_id,
            "apns-id": _apns_id(message, body),
        }


def _body_of(message: PushMessage) -> bytes:
    # "aps" last: data of that name must not replace what is shown.
    alert = {"title": message.title, "body": message.body}
    return orjson.dumps({**message.data, "aps": {"alert": alert}})


def _apns_id(message: PushMessage, body: bytes) -> str:
    """Name a push: a repeat bears the same id, a changed text or another device another one."""
    content = body.hex()
    return str(uuid5(_PUSHES, f"{message.token} {message.collapse_id} {content}"))
