"""FCM HTTP v1 through pyfcm, tamed: its threads are ours, it never sleeps and tries nothing twice.

What of pyfcm is replaced, and why, stands in `docs/decisions/0016`.
"""

import asyncio
import base64
import hashlib
import re
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, cast

import requests
import urllib3
from google.oauth2.service_account import Credentials
from pyfcm import FCMNotification
from requests.adapters import HTTPAdapter
from requests.auth import AuthBase

from services.notifications.fcm_access_token import AccessTokenUnavailable, FcmAccessToken
from services.notifications.fcm_answers import FcmAnswer, is_access_token_refused, outcome_of
from services.notifications.providers import Outcome, PushMessage, RetryLater
from settings import NotificationSettings

FCM_SCOPES = ("https://www.googleapis.com/auth/firebase.messaging",)
_LARGEST_ANSWER_BYTES = 65_536
_WEB_PUSH_TOPIC = re.compile(r"[A-Za-z0-9_-]{1,32}")  # RFC 8030, 5.4


class FcmChannel:
    """The way to FCM: blocking requests in a bounded pool of threads of its own."""

    def __init__(
        self,
        settings: NotificationSettings,
        credentials: Credentials,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Connect to nothing yet. `clock` tells Unix time."""
        self._client = _TamedFcm(settings, credentials, clock)
        # Not asyncio's own threads: a slow provider would hold up whoever else uses those.
        self._threads = ThreadPoolExecutor(settings.fcm_threads, thread_name_prefix="fcm")
        self._lifetime_s = settings.push_lifetime_s
        self._timeout_s = settings.push_timeout_s

    async def deliver(self, message: PushMessage) -> Outcome:
        """Hand a message to FCM; never raises for what FCM or the network does."""
        loop = asyncio.get_running_loop()
        push = loop.run_in_executor(self._threads, self._deliver, message)
        # A thread's own limits are per step: connecting, each read, and the same for the token.
        await asyncio.wait((push,), timeout=self._timeout_s)
        if push.done():
            return push.result()
        push.cancel()  # if no thread has come to it yet, none shall
        return RetryLater(None, "FCM: TimeoutError", is_outage=True)

    async def aclose(self) -> None:
        """Close the connections. What a cancelled caller left under way ends within its time."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        self._client.close()

    def _deliver(self, message: PushMessage) -> Outcome:
        try:
            return self._client.notify(**self._arguments(message))
        except AccessTokenUnavailable as error:
            return RetryLater(None, str(error), is_outage=True)
        except (requests.RequestException, urllib3.exceptions.HTTPError, OSError) as error:
            return RetryLater(None, f"FCM: {type(error).__name__}", is_outage=True)

    def _arguments(self, message: PushMessage) -> dict[str, Any]:
        return {**_message_of(message, self._lifetime_s), "timeout": self._timeout_s}


class _TamedFcm(FCMNotification):
    """pyfcm's messages and endpoint, without its retries, its sleeping and its verdicts."""

    def __init__(
        self,
        settings: NotificationSettings,
        credentials: Credentials,
        clock: Callable[[], float],
    ) -> None:
        # One adapter for the sessions of all threads: its pool of connections is theirs together.
        adapter = HTTPAdapter(pool_connections=1, pool_maxsize=settings.fcm_threads, max_retries=0)
        # pyfcm's annotation names another class; it wants any credentials that say their project.
        super().__init__(credentials=cast("Any", credentials), adapter=adapter)
        self.FCM_END_POINT_BASE = f"{settings.fcm_endpoint}/v1/projects"
        self._adapter = adapter
        self._sessions = threading.local()
        self._ca_file: str | bool = str(settings.push_ca_file) if settings.push_ca_file else True
        self._connect_timeout_s = settings.push_connect_timeout_s
        self._clock = clock
        limits_s = (settings.push_connect_timeout_s, settings.push_timeout_s)
        self._access_token = FcmAccessToken(credentials, self._ca_file, limits_s, clock)

    @property
    def requests_session(self) -> requests.Session:
        """This thread's session; pyfcm's would fetch a token in every thread."""
        session = getattr(self._sessions, "session", None)
        if session is None:
            session = self._sessions.session = requests.Session()
            session.mount("https://", self._adapter)
        return session

    def send_request(self, payload: Any = None, timeout: Any = None) -> FcmAnswer:
        """Send once; once more with a new access token when Google refuses the one we have."""
        token = self._access_token.current()
        answer = self._post(payload, token, timeout)
        if is_access_token_refused(answer):
            answer = self._post(payload, self._access_token.renewed(token), timeout)
        return answer

    def parse_response(self, response: FcmAnswer) -> Outcome:
        """Keep what pyfcm's errors would hide: Retry-After and what FCM says of the token."""
        return outcome_of(response, self._clock())

    def close(self) -> None:
        """Close the connections."""
        self._access_token.close()
        self._adapter.close()

    def _post(self, payload: bytes, token: str, timeout_s: float) -> FcmAnswer:
        deadline = time.monotonic() + timeout_s
        with self.requests_session.post(
            self.fcm_end_point,
            data=payload,
            headers={"Content-Type": "application/json"},
            auth=_Bearer(token),
            timeout=(self._connect_timeout_s, timeout_s),
            verify=self._ca_file,
            allow_redirects=False,
            stream=True,
        ) as response:
            body = _read(response, deadline)
            return FcmAnswer(response.status_code, response.headers.get("Retry-After"), body)


class _Bearer(AuthBase):
    """The header Authorization; said in any other way, requests lets ~/.netrc replace it."""

    def __init__(self, token: str) -> None:
        self._token = token

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = f"Bearer {self._token}"
        return request


def _read(response: requests.Response, deadline: float) -> bytes:
    """Read as it arrives: a timeout of requests is per read, and a drip would hold the thread."""
    body = b""
    while piece := response.raw.read1(_LARGEST_ANSWER_BYTES, decode_content=True):
        body += piece
        if len(body) > _LARGEST_ANSWER_BYTES:
            raise requests.exceptions.ContentDecodingError("longer than any answer of FCM")
        if time.monotonic() > deadline:
            raise requests.exceptions.ReadTimeout("the answer never ends")
    return body


def _message_of(message: PushMessage, lifetime_s: int) -> dict[str, Any]:
    """Arguments of pyfcm's notify; a repeat replaces the push on its way and on the screen."""
    tag = {"tag": message.collapse_id}
    return {
        "fcm_token": message.token,
        "notification_title": message.title,
        "notification_body": message.body,
        "data_payload": dict(message.data),
        "android_config": {
            "collapse_key": message.collapse_id,
            "ttl": f"{lifetime_s}s",
            "notification": tag,
        },
        "webpush_config": {
            "headers": {"Topic": _topic_of(message.collapse_id), "TTL": str(lifetime_s)},
            "notification": tag,
        },
        "apns_config": {"headers": {"apns-collapse-id": message.collapse_id}},
    }


def _topic_of(collapse_id: str) -> str:
    """A web push topic has 32 characters of base64url at most: what does not fit is digested."""
    if _WEB_PUSH_TOPIC.fullmatch(collapse_id):
        return collapse_id
    digest = hashlib.sha256(collapse_id.encode()).digest()
    return base64.urlsafe_b64encode(digest)[:32].decode()
