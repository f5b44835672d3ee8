"""What an answer of FCM means for the push and for the device.

The protocol: https://firebase.google.com/docs/reference/fcm/rest/v1/ErrorCode
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, cast

from services.notifications.providers import (
    DeviceGone,
    Outcome,
    PayloadRejected,
    RetryLater,
    Sent,
)
from services.notifications.retry_after import retry_after_s

_FCM_ERROR = "type.googleapis.com/google.firebase.fcm.v1.FcmError"
_BAD_REQUEST = "type.googleapis.com/google.rpc.BadRequest"
_QUOTA_FAILURE = "type.googleapis.com/google.rpc.QuotaFailure"
_OK, _UNAUTHORIZED, _TOO_MANY_REQUESTS = 200, 401, 429


@dataclass(frozen=True, slots=True)
class FcmAnswer:
    """One answer of FCM as it came over the wire."""

    status: int
    retry_after: str | None
    body: bytes


@dataclass(frozen=True, slots=True)
class _Error:
    """What FCM says in the body of a refusal; empty where it says nothing that can be read."""

    code: str  # FCM's own, such as UNREGISTERED; "" where FCM itself did not see the message
    status: str
    message: str
    fields: frozenset[str]
    quotas: tuple[str, ...]

    @property
    def reason(self) -> str:
        return self.code or self.status


def outcome_of(answer: FcmAnswer, now: float) -> Outcome:
    """Decide what becomes of a push; `now` is Unix time."""
    if answer.status == _OK:
        return _sent(answer)
    error = _read_error(answer.body)
    return _final(answer.status, error) or _for_later(answer, error, now)


def is_access_token_refused(answer: FcmAnswer) -> bool:
    """Tell whether another access token may help."""
    # FCM's own 401 is about the credentials for APNs and web push that are stored in Firebase.
    return answer.status == _UNAUTHORIZED and not _read_error(answer.body).code


def _sent(answer: FcmAnswer) -> Outcome:
    name = _object(_parsed(answer.body)).get("name")
    if not isinstance(name, str):
        return RetryLater(None, "FCM answered 200 without a name", is_outage=True)
    return Sent(name)


def _final(status: int, error: _Error) -> Outcome | None:
    match status, error.code:
        case 404, "UNREGISTERED":
            return DeviceGone(error.code)
        case 403, "SENDER_ID_MISMATCH":
            # Registered with another Firebase project than ours: no account of ours reaches it.
            return DeviceGone(error.code)
        case 400, "INVALID_ARGUMENT" if _is_about_the_token(error):
            return DeviceGone(f"{error.code}: {error.message}")
        case ((400 | 413), _):
            return PayloadRejected(f"{error.reason or status}: {error.message}")
        case _:
            return None


def _is_about_the_token(error: _Error) -> bool:
    # FCM often names no field: "The registration token is not a valid FCM registration token".
    # The same code says that a message is too big or a key of its data reserved.
    if error.fields:
        return error.fields == frozenset({"message.token"})
    return "registration token" in error.message.lower()


def _for_later(answer: FcmAnswer, error: _Error, now: float) -> RetryLater:
    reason = f"FCM answered {answer.status} {error.reason}".rstrip()
    wait_s = retry_after_s(answer.retry_after, now)
    if answer.status == _TOO_MANY_REQUESTS:
        # A device has a limit of its own (240 a minute), and must not silence all others.
        return RetryLater(wait_s, reason, is_throttle=not _is_about_a_device(error))
    return RetryLater(wait_s, reason, is_outage=error.code != "THIRD_PARTY_AUTH_ERROR")


def _is_about_a_device(error: _Error) -> bool:
    """Whether a quota is one device's or topic's; what FCM says of it is text only."""
    said = " ".join((error.message, *error.quotas)).lower()
    return "device" in said or "topic" in said


def _read_error(body: bytes) -> _Error:
    error = _object(_object(_parsed(body)).get("error"))
    details = [_object(detail) for detail in _list(error.get("details"))]
    codes = [str(d.get("errorCode", "")) for d in details if d.get("@type") == _FCM_ERROR]
    return _Error(
        code=codes[0] if codes else "",
        status=str(error.get("status", "")),
        message=str(error.get("message", "")),
        fields=frozenset(_violated_fields(details)),
        quotas=tuple(_exceeded_quotas(details)),
    )


def _violated_fields(details: list[Mapping[str, Any]]) -> Iterator[str]:
    for detail in details:
        if detail.get("@type") == _BAD_REQUEST:
            for violation in _list(detail.get("fieldViolations")):
                yield str(_object(violation).get("field", ""))


def _exceeded_quotas(details: list[Mapping[str, Any]]) -> Iterator[str]:
    for detail in details:
        if detail.get("@type") == _QUOTA_FAILURE:
            for violation in map(_object, _list(detail.get("violations"))):
                yield f"{violation.get('subject', '')} {violation.get('description', '')}"


def _parsed(body: bytes) -> object:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None


def _object(value: object) -> Mapping[str, Any]:
    return cast("Mapping[str, Any]", value) if isinstance(value, dict) else {}


def _list(value: object) -> list[Any]:
    return cast("list[Any]", value) if isinstance(value, list) else []
