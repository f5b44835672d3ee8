"""What a token may say about its bearer, and how it is read."""

import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import cast

from services.calendar import TIME_ZONES

_LONGEST_SUBJECT = 255
_LONGEST_NAME = 64
_LAST_INSTANT_S = 253_402_300_799  # the end of year 9999, the last that datetime knows
_LOCALES = {"zh": "zh-CN", "en": "en"}
_UNSTORABLE = {"Cc", "Cs"}  # control characters (PostgreSQL refuses NUL) and lone surrogates


class TokenInvalid(Exception):
    """The token proves nothing. ``reason`` is for the log: a client must not learn from it."""

    def __init__(self, reason: str) -> None:
        """Keep the reason."""
        super().__init__(reason)
        self.reason = reason


class Role(StrEnum):
    """What a caller may be."""

    MEMBER = "member"
    SERVICE = "service"
    OPERATOR = "operator"


@dataclass(frozen=True, slots=True)
class Claims:
    """What a verified token says. Instants are in epoch seconds, without any leeway.

    ``issued_at`` is None where the token does not say it: nobody knows then how old its name is.
    """

    subject: str
    roles: frozenset[Role]
    name: str | None
    locale: str | None
    timezone: str | None
    expires_at: float
    issued_at: float | None = None

    @property
    def is_member(self) -> bool:
        """Whether the bearer is (also) a member: staff and other systems are not."""
        return Role.MEMBER in self.roles


def read_claims(payload: Mapping[str, object], now: float, leeway_s: float) -> Claims:
    """Read what a correctly signed token says at ``now``, in epoch seconds.

    Raises TokenInvalid when it is expired, not valid yet, or lacks what it must say.
    """
    return Claims(
        subject=_subject(payload.get("sub")),
        roles=_roles(payload.get("roles", [])),
        name=_name(payload.get("preferred_username")) or _name(payload.get("name")),
        locale=_locale(payload.get("locale")),
        timezone=_timezone(payload.get("zoneinfo")),
        expires_at=_expiry_if_current(payload, now, leeway_s),
        issued_at=_instant(payload, "iat"),
    )


def _expiry_if_current(payload: Mapping[str, object], now: float, leeway_s: float) -> float:
    expires_at = _instant(payload, "exp")
    if expires_at is None:
        raise TokenInvalid("no exp")
    if expires_at + leeway_s <= now:
        raise TokenInvalid("expired")
    for claim in ("nbf", "iat"):
        begins_at = _instant(payload, claim)
        if begins_at is not None and begins_at - leeway_s > now:
            raise TokenInvalid(f"{claim} lies in the future")
    return expires_at


def _instant(payload: Mapping[str, object], claim: str) -> float | None:
    value = payload.get(claim)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TokenInvalid(f"{claim} is no number")
    # JSON as Python reads it knows NaN, Infinity and integers beyond any float.
    if not 0 <= value <= _LAST_INSTANT_S:
        raise TokenInvalid(f"{claim} is no instant")
    return float(value)


def _subject(value: object) -> str:
    if not isinstance(value, str) or not 0 < len(value) <= _LONGEST_SUBJECT:
        raise TokenInvalid("sub is missing, empty or too long")
    if storable(value) != value:
        raise TokenInvalid("sub has characters that cannot be stored")
    return value


def _roles(value: object) -> frozenset[Role]:
    names = cast("list[object]", value) if isinstance(value, list) else None
    if names is None or not all(isinstance(name, str) for name in names):
        raise TokenInvalid("roles is no list of strings")
    return frozenset(role for role in Role if role in names)


def _name(value: object) -> str | None:
    if not isinstance(value, str):
        return None
    return storable(value).strip()[:_LONGEST_NAME].strip() or None


def _locale(value: object) -> str | None:
    if not isinstance(value, str):
        return None
    return _LOCALES.get(value.replace("_", "-").split("-")[0].lower())


def _timezone(value: object) -> str | None:
    return value if isinstance(value, str) and value in TIME_ZONES else None


def storable(text: str) -> str:
    """The text without control characters and lone surrogates."""
    return "".join(letter for letter in text if unicodedata.category(letter) not in _UNSTORABLE)
