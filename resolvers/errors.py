"""What a client may read of an error that is no Problem (`domain.md`, Serving GraphQL)."""

import structlog

from resolvers.connections import TooManyConnections
from resolvers.transport_errors import Description
from services import errors
from services.limits.limiter import LimitExceeded
from services.limits.rates import COSTS
from services.users.captcha import CaptchaUnavailable
from services.users.key_set import KeySetUnavailable

# A connection whose client went away without a word is found out within 40 s (docs/running.md).
_RETRY_AFTER_S = 40

_log: structlog.stdlib.BoundLogger = structlog.get_logger()


def describe_error(error: Exception) -> Description | None:
    """The code and message of an error that clients may know of; None for all others."""
    match error:
        case errors.Unauthenticated():
            return "UNAUTHENTICATED", "Sign in with a valid bearer token", {}
        case errors.Forbidden():
            return "FORBIDDEN", "Your roles do not allow this", {}
        case TooManyConnections():
            message = f"At most {error.limit} connections at once"
            return "RATE_LIMITED", message, {"retryAfter": _RETRY_AFTER_S}
        case LimitExceeded():
            code = "COST_LIMITED" if error.limit in COSTS else "RATE_LIMITED"
            wait = {"retryAfter": error.retry_after_s}
            return code, f"Too much at once: again in {error.retry_after_s} s", wait
        case errors.BadInput():
            return "BAD_USER_INPUT", error.message, {}
        case errors.ServiceUnavailable() | CaptchaUnavailable() | KeySetUnavailable():
            _log.warning("service_unavailable", cause=repr(error.__cause__ or error))
            return "SERVICE_UNAVAILABLE", "Not available for the moment: please try again", {}
        case _:
            return None
