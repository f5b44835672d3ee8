"""How long points live (`domain.md`, Points)."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal
from zoneinfo import ZoneInfo

from services.calendar import SpanUnit, add_span

EXPIRING_SOON_DAYS = 7
"""Points that expire within this many days are worth a warning."""

REMINDER_DAYS = (7, 3, 1)
"""How many days before points expire their member is reminded."""

_LONGEST = {"days": 36_500, "months": 1_200, "years": 100}


@dataclass(frozen=True, slots=True)
class Lifetime:
    """How long a lot can be spent, in calendar time of the mall; `never` ignores `value`."""

    unit: SpanUnit | Literal["never"]
    value: int = 0


DEFAULT_LIFETIME = Lifetime("months", 12)

SOURCE_LIFETIMES: Mapping[str, Lifetime] = {}
"""Sources whose points live longer or shorter than the default."""


class LifetimeInvalid(ValueError):
    """A configured `expiry` is not `{type: days|months|years, value}` or `{type: never}`."""


def parse_lifetime(config: Any) -> Lifetime:
    """Read `{"type": "days", "value": 30}` or `{"type": "never"}`; raises LifetimeInvalid."""
    unit = config.get("type") if isinstance(config, dict) else None
    if unit == "never":
        return Lifetime("never")
    value = config.get("value") if isinstance(config, dict) else None
    # In a tuple, for it is asked of any JSON, and a list cannot be looked up in a mapping.
    if unit not in tuple(_LONGEST) or type(value) is not int or not 1 <= value <= _LONGEST[unit]:
        raise LifetimeInvalid(f"not a lifetime: {config!r}")
    return Lifetime(unit, value)


def expiry_of(
    source: str, granted_at: datetime, zone: ZoneInfo, own: Lifetime | None = None
) -> datetime | None:
    """When points granted at `granted_at` end: by their own lifetime, or their source's."""
    lifetime = own or SOURCE_LIFETIMES.get(source, DEFAULT_LIFETIME)
    if lifetime.unit == "never":
        return None
    return add_span(granted_at, lifetime.value, lifetime.unit, zone)
