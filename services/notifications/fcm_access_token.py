"""The OAuth access token with which a service account calls FCM: one for all threads."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from threading import Lock
from typing import Any

import google.auth.transport.requests
import requests
from google.auth.exceptions import GoogleAuthError, TransportError
from google.auth.transport import Request, Response
from google.oauth2.service_account import Credentials

_OK = 200
# Asked for anew before it ends: a token must outlive the request that carries it.
_RENEWED_BEFORE_END_S = 300.0


class AccessTokenUnavailable(Exception):
    """Google gave no access token: it is away, or refuses the service account."""


class FcmAccessToken:
    """Fetched when first needed, renewed in time, or when Google says that it has ended."""

    def __init__(
        self,
        credentials: Credentials,
        ca_file: str | bool,
        timeout_s: tuple[float, float],
        clock: Callable[[], float],
    ) -> None:
        """Fetch nothing yet. `timeout_s` is that of connecting and that of each read."""
        self._credentials = credentials
        self._request = _PromptRequest(ca_file, timeout_s)
        self._clock = clock
        self._lock = Lock()
        self._tried = 0
        self._token: str | None = None
        self._renew_at = 0.0
        self._failure: str | None = None

    def current(self) -> str:
        """Return a token that is good for a while; raises AccessTokenUnavailable."""
        token = self._token
        if token is not None and self._clock() < self._renew_at:
            return token
        return self._fetch_once(rejected=token)

    def renewed(self, rejected: str) -> str:
        """Return another than the one that was rejected; raises AccessTokenUnavailable."""
        return self._fetch_once(rejected)

    def close(self) -> None:
        """Close the connection to Google's token endpoint."""
        self._request.close()

    def _fetch_once(self, rejected: str | None) -> str:
        tried_before = self._tried
        with self._lock:
            if self._token is not None and self._token != rejected:
                return self._token
            # Who waited for another's failure shares it: else each thread would wait in turn for
            # an endpoint that is away.
            if self._tried == tried_before or self._failure is None:
                self._fetch()
            if self._failure is not None or self._token is None:
                raise AccessTokenUnavailable(self._failure)
            return self._token

    def _fetch(self) -> None:
        try:
            self._credentials.refresh(self._request)
        except (GoogleAuthError, requests.RequestException, ValueError) as error:
            cause = error.__cause__  # of the network, with addresses of objects in its text
            self._failure = f"no access token: {type(cause).__name__ if cause else error}"
        else:
            self._failure = None
            self._keep(self._credentials.token, _seconds_left(self._credentials.expiry))
        self._tried += 1

    def _keep(self, token: str | None, lifetime_s: float) -> None:
        # Of a short-lived token most is used, rather than none.
        margin_s = min(_RENEWED_BEFORE_END_S, lifetime_s / 5)
        self._renew_at = self._clock() + lifetime_s - margin_s
        self._token = token


def _seconds_left(expiry: datetime | None) -> float:
    # google-auth says UTC without saying so.
    return (
        0.0 if expiry is None else (expiry.replace(tzinfo=UTC) - datetime.now(UTC)).total_seconds()
    )


class _PromptRequest(Request):
    """google-auth's transport with our time limits, and without its sleeping between retries."""

    def __init__(self, ca_file: str | bool, timeout_s: tuple[float, float]) -> None:
        self._session = requests.Session()
        self._over_requests = google.auth.transport.requests.Request(self._session)
        self._limits: dict[str, Any] = {"timeout": timeout_s, "verify": ca_file}

    def __call__(
        self,
        url: str,
        method: str = "GET",
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: float | None = None,
        **kwargs: Any,
    ) -> Response:
        answer = self._over_requests(
            url, method, body, headers, allow_redirects=False, **self._limits, **kwargs
        )
        if answer.status != _OK:  # google-auth would sleep in this thread and ask again
            raise TransportError(f"the token endpoint answered {answer.status}")
        return answer

    def close(self) -> None:
        """Close the connection."""
        self._session.close()
