"""The header Retry-After: how long a provider wants to be left alone."""

import re
from datetime import UTC
from email.utils import parsedate_to_datetime

LONGEST_S = 86_400.0
"""More than a day is a provider's mistake: a push that late is worth nothing."""

_SECONDS = re.compile(r"[0-9]{1,9}")


def retry_after_s(header: str | None, now: float) -> float | None:
    """Seconds to wait from `now` (Unix time), between 0 and LONGEST_S.

    Understands seconds and HTTP dates (RFC 9110, 10.2.3). None when there is nothing to
    understand.
    """
    if header is None:
        return None
    text = header.strip()
    wait_s = float(text) if _SECONDS.fullmatch(text) else _until(text, now)
    return None if wait_s is None else min(max(wait_s, 0.0), LONGEST_S)


def _until(date: str, now: float) -> float | None:
    try:
        moment = parsedate_to_datetime(date)
        # An HTTP date is in GMT, whether it says so or not.
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() - now
    except (ValueError, OverflowError, OSError):
        return None
