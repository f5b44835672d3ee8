"""What FCM says, and what it takes: its HTTP v1 as Google documents it and users report it."""

import re
from typing import Any

from tests.doubles.listening import ASKED_WAIT_S, Answer

_FCM_ERROR = "type.googleapis.com/google.firebase.fcm.v1.FcmError"
_BAD_REQUEST = "type.googleapis.com/google.rpc.BadRequest"
_ERROR_INFO = "type.googleapis.com/google.rpc.ErrorInfo"
_MEMBERS = {
    "token": str,
    "topic": str,
    "condition": str,
    "data": dict,
    "notification": dict,
    "android": dict,
    "webpush": dict,
    "apns": dict,
    "fcm_options": dict,
}
_ANDROID = {"collapse_key", "priority", "ttl", "data", "notification", "direct_boot_ok"}
_RESERVED = re.compile(r"from|message_type|(google|gcm)\..*")
_TOPIC = re.compile(r"[A-Za-z0-9_-]{1,32}")


def error(code: int, status: str, message: str, *details: dict[str, Any], **more: Any) -> Answer:
    """An error as Google's APIs write it."""
    said = {"error": {"code": code, "message": message, "status": status}}
    if details:
        said["error"]["details"] = list(details)
    return Answer(code, said, **more)


def fcm_error(code: str) -> dict[str, Any]:
    """The detail that only FCM itself adds."""
    return {"@type": _FCM_ERROR, "errorCode": code}


def bad_field(field: str, description: str) -> dict[str, Any]:
    """The detail that names a field."""
    violation = {"field": field, "description": description}
    return {"@type": _BAD_REQUEST, "fieldViolations": [violation]}


ACCESS_TOKEN_EXPIRED = error(
    401,
    "UNAUTHENTICATED",
    "Request had invalid authentication credentials.",
    {"@type": _ERROR_INFO, "reason": "ACCESS_TOKEN_EXPIRED", "domain": "googleapis.com"},
)
_INVALID = "INVALID_ARGUMENT"
_NO_TOKEN = "The registration token is not a valid FCM registration token"
_BUSY = {"retry_after_s": ASKED_WAIT_S}
ANSWERS = {
    "unregistered": error(
        404, "NOT_FOUND", "Requested entity was not found.", fcm_error("UNREGISTERED")
    ),
    "bad_token": error(400, _INVALID, _NO_TOKEN, fcm_error(_INVALID)),
    "bad_token_field": error(
        400,
        _INVALID,
        "Request contains an invalid argument.",
        fcm_error(_INVALID),
        bad_field("message.token", "Invalid registration token"),
    ),
    "too_big": error(400, _INVALID, "Android message is too big", fcm_error(_INVALID)),
    "bad_ttl": error(
        400, _INVALID, "Invalid TTL", fcm_error(_INVALID), bad_field("message.android.ttl", "")
    ),
    "malformed": error(
        400,
        _INVALID,
        "Invalid JSON payload received. Unknown name",
        bad_field("message", "Unknown name"),
    ),
    "sender_mismatch": error(
        403, "PERMISSION_DENIED", "SenderId mismatch", fcm_error("SENDER_ID_MISMATCH")
    ),
    "permission_denied": error(403, "PERMISSION_DENIED", "Permission denied on the project"),
    "unknown_project": error(404, "NOT_FOUND", "Requested entity was not found."),
    "too_many_seconds": error(
        429, "RESOURCE_EXHAUSTED", "Quota exceeded", fcm_error("QUOTA_EXCEEDED"), **_BUSY
    ),
    "too_many_date": error(
        429,
        "RESOURCE_EXHAUSTED",
        "Quota exceeded",
        fcm_error("QUOTA_EXCEEDED"),
        as_date=True,
        **_BUSY,
    ),
    "internal": error(500, "INTERNAL", "Internal error", fcm_error("INTERNAL")),
    "unavailable": error(503, "UNAVAILABLE", "Unavailable", fcm_error("UNAVAILABLE"), **_BUSY),
    "bad_gateway": Answer(502, "<html>Bad Gateway</html>"),
    "redirect": Answer(302, ""),
    "not_json": Answer(200, "<html>Sign in to this network</html>"),
    "third_party_auth": error(
        401, "UNAUTHENTICATED", "Auth error from APNS", fcm_error("THIRD_PARTY_AUTH_ERROR")
    ),
    "access_token_expired": ACCESS_TOKEN_EXPIRED,
}


def complaint(body: Any) -> Answer | None:
    """What FCM would refuse in a body, like the real one: None when it takes it."""
    message = body.get("message") if isinstance(body, dict) else None
    if not isinstance(message, dict) or not set(body) <= {"message", "validate_only"}:
        return ANSWERS["malformed"]
    if any(not isinstance(message[name], _MEMBERS.get(name, ())) for name in message):
        return ANSWERS["malformed"]
    if sum(target in message for target in ("token", "topic", "condition")) != 1:
        return ANSWERS["malformed"]
    data = message.get("data", {})
    if any(not isinstance(value, str) for value in data.values()):
        return ANSWERS["malformed"]
    if any(_RESERVED.fullmatch(name) for name in data):
        return error(400, _INVALID, "Invalid data payload key", fcm_error(_INVALID))
    return _complaint_of_platforms(message)


def _complaint_of_platforms(message: dict[str, Any]) -> Answer | None:
    if not set(message.get("android", {})) <= _ANDROID:
        return ANSWERS["malformed"]
    if not re.fullmatch(r"\d+(\.\d+)?s", message.get("android", {}).get("ttl", "0s")):
        return ANSWERS["bad_ttl"]
    topic = message.get("webpush", {}).get("headers", {}).get("Topic", "t")
    if not _TOPIC.fullmatch(topic):
        return error(400, _INVALID, "Invalid Topic", bad_field("message.webpush.headers", topic))
    texts = str(message.get("notification", "")) + str(message.get("data", ""))
    return ANSWERS["too_big"] if len(texts.encode()) > 4_096 else None
