"""The provider token with which APNs knows us: signed by ourselves, valid for an hour.

Apple: https://developer.apple.com/documentation/usernotifications/establishing-a-token-based-connection-to-apns
"""

from collections.abc import Callable
from dataclasses import dataclass

import jwt
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey

# Apple refuses a token older than an hour, and a provider that makes a new one more often than
# every 20 minutes.
_RENEWED_AFTER_S = 2_400.0
_BETWEEN_RENEWALS_S = 1_200.0


@dataclass(frozen=True, slots=True)
class ApnsKey:
    """A .p8 key and what Apple calls it."""

    key: EllipticCurvePrivateKey
    key_id: str
    team_id: str


class ApnsToken:
    """Signed when first needed, anew every 40 minutes, or when APNs says that it has ended."""

    def __init__(self, key: ApnsKey, clock: Callable[[], float]) -> None:
        """Sign nothing yet. `clock` tells Unix time."""
        self._key = key
        self._clock = clock
        self._token: str | None = None
        self._signed_at = 0.0
        self._signed_on_demand_at: float | None = None

    def current(self) -> str:
        """Return a token that APNs should accept."""
        age_s = self._clock() - self._signed_at
        # One from the future was signed before the clock was put right.
        if self._token is None or not 0 <= age_s < _RENEWED_AFTER_S:
            self._token = self._sign()
        return self._token

    def renewed(self, rejected: str) -> str | None:
        """Return another than the one APNs calls expired; None when that was tried just now.

        Then not the token is to blame, and making more of them would be held against us.
        """
        if self._token is not None and self._token != rejected:
            return self._token  # one of many requests that failed together has done it
        now = self._clock()
        last = self._signed_on_demand_at
        if last is not None and 0 <= now - last < _BETWEEN_RENEWALS_S:
            return None
        self._signed_on_demand_at = now
        self._token = self._sign()
        return self._token

    def _sign(self) -> str:
        self._signed_at = self._clock()
        claims = {"iss": self._key.team_id, "iat": int(self._signed_at)}
        return jwt.encode(claims, self._key.key, "ES256", headers={"kid": self._key.key_id})
