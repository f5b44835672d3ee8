"""How points expire, as the numbers that the rules themselves use."""

from dataclasses import dataclass

from services.points.expiry import DEFAULT_LIFETIME, REMINDER_DAYS, Lifetime
from services.points.extension_terms import (
    EXTENSION_DAYS,
    EXTENSION_FEE_PERCENT,
    EXTENSION_WINDOW_DAYS,
)


@dataclass(frozen=True, slots=True)
class ExpiryRules:
    """What a member is told about the end of points; all but the first in days and percent."""

    lifetime: Lifetime = DEFAULT_LIFETIME
    reminder_days: tuple[int, ...] = REMINDER_DAYS
    extension_fee_percent: int = EXTENSION_FEE_PERCENT
    extension_days: int = EXTENSION_DAYS
    extension_window_days: int = EXTENSION_WINDOW_DAYS
