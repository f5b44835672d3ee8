"""What an answer of APNs means for the push and for the device.

The protocol: https://developer.apple.com/documentation/usernotifications/handling-notification-responses-from-apns
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, cast

import orjson

from services.notifications.providers import (
    DeviceGone,
    Outcome,
    PayloadRejected,
    RetryLater,
    Sent,
)
from services.notifications.retry_after import retry_after_s

_OK, _FORBIDDEN, _TOO_MANY_REQUESTS = 200, 403, 429
_NOT_OUR_DEVICE = frozenset({"BadDeviceToken", "DeviceTokenNotForTopic"})
# Wrong settings of ours: no push is at fault, and putting them right makes it deliverable.
_OUR_SETTINGS = frozenset({"BadTopic", "MissingTopic", "TopicDisallowed"})


@dataclass(frozen=True, slots=True)
class ApnsAnswer:
    """One answer of APNs as it came over the wire."""

    status: int
    apns_id: str
    retry_after: str | None
    body: bytes


def outcome_of(answer: ApnsAnswer, now: float) -> Outcome:
    """Decide what becomes of a push; `now` is Unix time."""
    if answer.status == _OK:
        return Sent(answer.apns_id)
    said = _read(answer.body)
    return _final(answer.status, _reason(said), said) or _for_later(answer, _reason(said), now)


def is_token_expired(answer: ApnsAnswer) -> bool:
    """Tell whether another provider token may help."""
    if answer.status != _FORBIDDEN:
        return False
    return _reason(_read(answer.body)) == "ExpiredProviderToken"


def _final(status: int, reason: str, said: Mapping[str, Any]) -> Outcome | None:
    match status:
        case 410:
            return DeviceGone(reason or "Gone", _gone_since(said))
        case 400 if reason in _NOT_OUR_DEVICE:
            return DeviceGone(reason)
        case 400 if reason in _OUR_SETTINGS or reason == "IdleTimeout":
            return None
        case 400 | 413:
            return PayloadRejected(reason or str(status))
        case _:
            return None


def _for_later(answer: ApnsAnswer, reason: str, now: float) -> RetryLater:
    said = f"APNs answered {answer.status} {reason}".rstrip()
    wait_s = retry_after_s(answer.retry_after, now)
    # 429 is about one device, or about our making tokens: other pushes go through.
    is_outage = answer.status != _TOO_MANY_REQUESTS and reason != "IdleTimeout"
    return RetryLater(wait_s, said, is_outage=is_outage)


def _gone_since(said: Mapping[str, Any]) -> datetime | None:
    """When APNs last knew the device to be gone, which it says in milliseconds."""
    milliseconds = said.get("timestamp")
    try:
        return datetime.fromtimestamp(float(cast("float", milliseconds)) / 1000, UTC)
    except (TypeError, ValueError, OverflowError, OSError):
        return None


def _reason(said: Mapping[str, Any]) -> str:
    return str(said.get("reason", ""))


def _read(body: bytes) -> Mapping[str, Any]:
    try:
        said = orjson.loads(body)
    except orjson.JSONDecodeError:
        return {}
    return cast("Mapping[str, Any]", said) if isinstance(said, dict) else {}
