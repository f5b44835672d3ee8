"""Bearer tokens: issued for development, checked everywhere."""

import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from hashlib import sha256
from typing import cast

import jwt
from jwt.exceptions import PyJWTError
from jwt.types import Options

from services.users.claims import Claims as Claims
from services.users.claims import Role as Role
from services.users.claims import TokenInvalid as TokenInvalid
from services.users.claims import read_claims
from services.users.key_set import KEY_SET_ALGORITHMS, KeySet
from services.users.key_set import KeySetUnavailable as KeySetUnavailable
from settings import AccessSettings

_LONGEST_TOKEN = 8 * 1024
_CACHED_TOKENS = 100_000


class TokenVerifier:
    """Checks bearer tokens against the shared secret, the key set, or both."""

    def __init__(
        self,
        access: AccessSettings,
        *,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Fetch nothing yet. ``clock`` tells epoch seconds, ``monotonic`` paces the key set."""
        self._access = access
        self._clock = clock
        self._key_set = KeySet(access.jwks_url, access, monotonic) if access.jwks_url else None
        self._verified: OrderedDict[bytes, tuple[Claims, float]] = OrderedDict()

    async def verify(self, token: str) -> Claims:
        """Return what the token says.

        Raises TokenInvalid when it proves nothing, KeySetUnavailable when that cannot be told.
        """
        if len(token) > _LONGEST_TOKEN or not token.isascii():
            raise TokenInvalid("too long or not ASCII")
        digest = sha256(token.encode()).digest()
        known = self._verified.get(digest)
        if known is not None and self._clock() < known[1]:
            self._verified.move_to_end(digest)
            return known[0]
        claims, trusted_until = await self._check(token)
        self._remember(digest, claims, trusted_until)
        return claims

    async def aclose(self) -> None:
        """Close the connections to the identity provider."""
        if self._key_set is not None:
            await self._key_set.aclose()

    async def _check(self, token: str) -> tuple[Claims, float]:
        try:
            algorithm, key = await self._find_key(jwt.get_unverified_header(token))
            payload = self._decode(token, algorithm, key)
        except PyJWTError as error:
            raise TokenInvalid(f"{type(error).__name__}: {error}") from error
        now, leeway_s = self._clock(), self._access.jwt_leeway_s
        claims = read_claims(payload, now, leeway_s)
        trusted_until = claims.expires_at + leeway_s
        if algorithm in KEY_SET_ALGORITHMS:
            # A key that the provider withdraws must not live on in what it signed before.
            trusted_until = min(trusted_until, now + self._access.jwks_cache_s)
        return claims, trusted_until

    async def _find_key(self, header: Mapping[str, object]) -> tuple[str, jwt.PyJWK | bytes]:
        # The header only chooses between two stores of keys that never mix: the secret checks
        # HS256 alone, what the key set publishes checks RS256 and ES256 alone.
        algorithm, secret = header.get("alg"), self._access.jwt_secret
        if algorithm == "HS256" and secret:
            return "HS256", secret.get_secret_value().encode()
        if self._key_set is not None and algorithm in ("RS256", "ES256"):
            key_id = cast("str | None", header.get("kid"))  # PyJWT refuses any other type
            return algorithm, await self._key_set.find(key_id, algorithm)
        raise TokenInvalid(f"algorithm {str(algorithm)[:16]!r} is not accepted")

    def _decode(self, token: str, algorithm: str, key: jwt.PyJWK | bytes) -> Mapping[str, object]:
        issuer, audience = self._access.jwt_issuer, self._access.jwt_audience
        options: Options = {
            "enforce_minimum_key_length": True,
            "verify_iss": issuer is not None,
            "verify_aud": audience is not None,
            # Subject and times are read by our own clock and bounds: see read_claims.
            "verify_sub": False,
            "verify_exp": False,
            "verify_nbf": False,
            "verify_iat": False,
        }
        return jwt.decode(
            token, key, algorithms=[algorithm], options=options, issuer=issuer, audience=audience
        )

    def _remember(self, digest: bytes, claims: Claims, trusted_until: float) -> None:
        self._verified[digest] = (claims, trusted_until)
        self._verified.move_to_end(digest)
        if len(self._verified) > _CACHED_TOKENS:
            self._verified.popitem(last=False)


def issue_token(
    secret: str,
    subject: str,
    roles: Iterable[Role],
    *,
    name: str | None = None,
    lifetime_s: int = 30 * 24 * 3600,
    now: float | None = None,
    issuer: str | None = None,
    audience: str | None = None,
) -> str:
    """Sign a token (HS256) as an identity provider would; ``now`` in epoch seconds."""
    issued_at = int(time.time() if now is None else now)
    claims: dict[str, object] = {
        "sub": subject,
        "roles": sorted(roles),
        "preferred_username": name,
        "iat": issued_at,
        "exp": issued_at + lifetime_s,
        "iss": issuer,
        "aud": audience,
    }
    said = {claim: value for claim, value in claims.items() if value is not None}
    return jwt.encode(said, secret, algorithm="HS256")


def bearer_token(authorization: str | None) -> str | None:
    """Return the token of an ``Authorization`` value, None when there is no such value.

    Raises TokenInvalid for another scheme or an empty token.
    """
    if authorization is None:
        return None
    scheme, _, token = authorization.strip().partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise TokenInvalid("not a bearer token")
    return token.strip()
