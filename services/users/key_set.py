"""The identity provider's public keys (JWKS)."""

import asyncio
import math
from collections.abc import Callable
from typing import cast

import httpx2
import jwt
import structlog
from jwt.exceptions import PyJWTError

from services.monitoring.log_context import detached
from services.users.claims import TokenInvalid
from settings import AccessSettings

_KEY_TYPES = {"RS256": "RSA", "ES256": "EC"}
KEY_SET_ALGORITHMS = frozenset(_KEY_TYPES)
_REFETCH_PAUSE_S = 10.0  # unknown key ids cost an attacker nothing: they must not set the pace
_RETRY_PAUSE_S = 1.0  # without any key nobody gets in: ask again soon

_log = structlog.stdlib.get_logger(__name__)


class KeySetUnavailable(Exception):
    """The identity provider cannot be asked for the key that a token needs."""


class KeySet:
    """Public keys, fetched when a token needs them and kept while the provider is down."""

    def __init__(self, url: str, access: AccessSettings, monotonic: Callable[[], float]) -> None:
        """Ask for nothing yet. ``monotonic`` tells seconds."""
        self._url = url
        self._cache_s = access.jwks_cache_s
        self._timeout_s = access.jwks_timeout_s
        self._monotonic = monotonic
        self._client = httpx2.AsyncClient(timeout=access.jwks_timeout_s)
        self._keys: tuple[jwt.PyJWK, ...] = ()
        self._fetched_at_s = -math.inf
        self._asked_at_s = -math.inf
        self._fetch: asyncio.Task[None] | None = None
        self._failure: str | None = None

    async def find(self, key_id: str | None, algorithm: str) -> jwt.PyJWK:
        """Return the key of that id, or the algorithm's only key for a token that names none.

        Raises KeySetUnavailable when only the provider could tell and it does not answer,
        TokenInvalid when it answered and has no such key.
        """
        key = self._match(key_id, algorithm)
        if key is None or self._is_old():
            await self._refresh(may_wait=key is None or self._failure is None)
            key = self._match(key_id, algorithm)
        if key is not None:
            return key
        if self._failure is not None:
            raise KeySetUnavailable(self._failure)
        raise TokenInvalid("the key set has no key for this token")

    async def aclose(self) -> None:
        """Drop a fetch in flight and close the connections."""
        if self._fetch is not None:
            self._fetch.cancel()
        await self._client.aclose()

    def _match(self, key_id: str | None, algorithm: str) -> jwt.PyJWK | None:
        fitting = [key for key in self._keys if key.algorithm_name == algorithm]
        if key_id is None:
            return fitting[0] if len(fitting) == 1 else None
        return next((key for key in fitting if key.key_id == key_id), None)

    def _is_old(self) -> bool:
        return self._monotonic() - self._fetched_at_s >= self._cache_s

    async def _refresh(self, *, may_wait: bool) -> None:
        pause_s = _REFETCH_PAUSE_S if self._keys else _RETRY_PAUSE_S
        if self._fetch is None and self._monotonic() - self._asked_at_s >= pause_s:
            self._asked_at_s = self._monotonic()
            self._fetch = detached(self._load())
        # While the provider is known to be down and an older key will do, it is tried in the
        # background: nobody waits for its timeout. The fetch is a task of its own and shielded,
        # so that one caller who goes away does not fail the others.
        if self._fetch is not None and may_wait:
            await asyncio.shield(self._fetch)

    async def _load(self) -> None:
        try:
            # httpx2's timeout is per read: a provider that drips would hold us for ever.
            async with asyncio.timeout(self._timeout_s):
                answer = await self._client.get(self._url)
            self._keys = _read_keys(answer.raise_for_status().json())
        except (httpx2.HTTPError, TimeoutError, ValueError) as error:
            self._failure = f"no key set from {self._url}: {error!r}"
            _log.warning("key_set_unavailable", problem=self._failure, keys_kept=len(self._keys))
        else:
            self._fetched_at_s = self._monotonic()
            self._failure = None
        finally:
            self._fetch = None


def _read_keys(answer: object) -> tuple[jwt.PyJWK, ...]:
    entries = cast("dict[str, object]", answer).get("keys") if isinstance(answer, dict) else None
    entries = cast("list[object]", entries) if isinstance(entries, list) else []
    keys = tuple(key for key in map(_read_key, entries) if key is not None)
    if not keys:
        raise ValueError("the answer holds no usable key")
    return keys


def _read_key(entry: object) -> jwt.PyJWK | None:
    # A set may also hold encryption keys, shared secrets, other curves: RFC 7517, 5 says to pass
    # over what one does not take, and so does it for a broken key among good ones.
    jwk = cast("dict[str, object]", entry) if isinstance(entry, dict) else {}
    algorithm = _algorithm(jwk)
    if algorithm is None:
        return None
    try:
        return jwt.PyJWK(jwk, algorithm)
    except PyJWTError as error:
        _log.info("key_passed_over", key_id=jwk.get("kid"), problem=str(error))
        return None


def _algorithm(jwk: dict[str, object]) -> str | None:
    if jwk.get("use", "sig") != "sig":
        return None
    for algorithm, key_type in _KEY_TYPES.items():
        if jwk.get("kty") == key_type and jwk.get("alg", algorithm) == algorithm:
            return algorithm
    return None
